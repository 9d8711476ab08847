"""How keys and channels are named. Pure.

All that belongs to a group lies in one of :data:`BUCKETS` buckets, which in a cluster are hash
tags: so a script may touch all of it, and also the bucket's epoch.
"""

from __future__ import annotations

import zlib
from urllib.parse import quote

__all__ = ["BUCKETS", "COMMON", "SPREAD", "Names"]

#: Enough for the largest cluster that anybody has, and few enough epochs.
BUCKETS = 256

#: The bucket of what is no group's.
COMMON = 0

#: The group in which every gateway hears what concerns all of them. No other one has this name.
SPREAD = ""


class Names:
    """Those of one project.

    Args:
        project: what both halves agree on.
        db: number of the database, since channels know no databases.
    """

    def __init__(self, project: str, db: int = 0) -> None:
        self._keys = f"django_ws:{quote(project, safe='.')}:".encode()
        self._channels = self._keys + (b"%d:" % db)

    def bucket(self, group: str) -> int:
        """Where a group's keys lie."""
        return zlib.crc32(group.encode()) % BUCKETS if group else COMMON

    def _key(self, bucket: int, kind: bytes, name: bytes) -> bytes:
        return b"%b{%d}:%b:%b" % (self._keys, bucket, kind, name)

    def meta(self, group: str) -> bytes:
        """Hash: how far a group has come, and where its history began."""
        return self._key(self.bucket(group), b"m", group.encode())

    def history(self, group: str) -> bytes:
        """List: the newest publications, without a gap."""
        return self._key(self.bucket(group), b"h", group.encode())

    def epoch(self, bucket: int) -> bytes:
        """String: names the memory of a bucket."""
        return self._key(bucket, b"e", b"")

    def present(self, group: str) -> bytes:
        """Hash: who is there, by id; under the empty one how many have ever come."""
        return self._key(self.bucket(group), b"p", group.encode())

    def users(self, group: str) -> bytes:
        """Hash: how many connections each user has there."""
        return self._key(self.bucket(group), b"u", group.encode())

    def live(self) -> bytes:
        """Sorted set: the gateways, by when their leases end."""
        return self._key(COMMON, b"l", b"")

    def ticket(self, nonce: str) -> tuple[int, bytes]:
        """String: it is used; with its bucket."""
        bucket = self.bucket(nonce)
        return bucket, self._key(bucket, b"t", nonce.encode())

    def replies(self, token: str) -> bytes:
        """List: to how many connections something applied, by gateway."""
        return self._key(COMMON, b"r", token.encode())

    def channel(self, group: str) -> bytes:
        """Where a group's publications go."""
        return b"%b{%d}:c:%b" % (self._channels, self.bucket(group), group.encode())

    def group(self, channel: bytes) -> str | None:
        """The group of a channel; ``None`` for another kind."""
        _, found, name = channel[len(self._channels) :].partition(b"}:c:")
        return name.decode() if found else None

    def inbox(self, incarnation: str) -> bytes:
        """Where a gateway is answered."""
        return b"%b{%d}:i:%b" % (self._channels, COMMON, incarnation.encode())
