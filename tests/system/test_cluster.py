"""Three machines around one Valkey: what one says all hear, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ..valkey import valkey
from .cluster import Cluster, Member, progress, publishing
from .load import soon
from .oracle import judge_group

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with valkey("--appendonly", "yes", "--appendfsync", "always") as server:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), server)
        try:
            yield cluster
            cluster.stop()
        finally:
            cluster.remove()


def confirmed(publishers):
    return {
        (epoch, offset): f"{each.name}-{number}"
        for each in publishers
        for number, offset, epoch, _ in each.said
        if isinstance(offset, int)
    }


async def quiet(members, publishers):
    """Wait until all have heard all that was confirmed, and are equally far."""
    ends = {}
    for epoch, offset in confirmed(publishers):
        ends[epoch] = max(ends.get(epoch, 0), offset)

    def settled():
        now = {(member.now.epoch, member.now.offset) for member in members}
        return len(now) == 1 and all(offset >= ends.get(epoch, 0) for epoch, offset in now)

    with contextlib.suppress(AssertionError):  # the oracle says who is late
        await soon(settled, 10)


async def under_load(cluster, group, fault):
    """Make a fault while each machine publishes and has members, and account for everything."""
    members = [
        Member(cluster, machine, f"m{machine}{number}", group)
        for machine in range(3)
        for number in range(3)
    ]
    try:
        await asyncio.gather(*[member.joined() for member in members])
        with publishing(cluster, group) as publishers:
            await progress(members)
            await fault(members)
            await progress(members)
            await asyncio.gather(*[asyncio.to_thread(each.stop) for each in publishers])
        await quiet(members, publishers)
        verdict = judge_group({each.who: each.segments for each in members}, confirmed(publishers))
        assert not verdict.wrong(), "\n".join(verdict.wrong())
        assert verdict.heard
        return members, publishers
    finally:
        for member in members:
            await member.stop()


def test_all_members_hear_all_in_one_order(cluster):
    async def handlers_publish_too(members):
        for number in range(50):
            for member in members:
                await member.socket.send(f"{member.who}-{number}")
            await asyncio.sleep(0)

    members, publishers = asyncio.run(under_load(cluster, "room-order", handlers_publish_too))
    assert all(member.cuts == 0 for member in members)
    assert all(len(said) == 4 for each in publishers for said in each.said)
    assert len(members[0].now.heard) >= 450 + 3 * 10
