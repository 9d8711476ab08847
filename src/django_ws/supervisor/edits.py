"""Edits that take effect without a new process: templates, translations, whatever Django watches.

``runserver`` tells by signals (``django.utils.autoreload``) which files its receivers want watched
and that one has changed; a receiver that returns true has dealt with it. This says the same to the
same receivers in each process with the project's code. Its modules are the supervisor's to watch
(:mod:`.reload`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.utils.autoreload import BaseReloader, autoreload_started, file_changed

from .control import Channel

__all__ = ["Edits", "watch"]

#: Seconds between two looks, and how many times as long as a look took at least.
INTERVAL = 0.2
REST = 10.0


class Edits(BaseReloader):
    """What receivers of ``autoreload_started`` take for the reloader.

    Args:
        on_unhandled: called with the path of a changed file that no receiver has dealt with.
    """

    def __init__(self, on_unhandled: Callable[[Path], None]) -> None:
        super().__init__()
        self._on_unhandled = on_unhandled
        self._seen: dict[Path, int] = {}

    def start(self) -> None:
        """Ask what to watch, and note what it looks like now."""
        autoreload_started.send(sender=self)
        self._seen = dict(self._look())

    def look(self) -> None:
        """Tell what has changed, or is new, since the last time."""
        found = dict(self._look())
        changed = [path for path, time_ns in found.items() if self._seen.get(path) != time_ns]
        # A file that is missing may be about to be renamed back: it counts as before until then.
        self._seen.update(found)
        for path in changed:
            if not any(result for _, result in file_changed.send(sender=self, file_path=path)):
                self._on_unhandled(path)

    def _look(self) -> Iterator[tuple[Path, int]]:
        for path in {*self.extra_files, *self._in_directories()}:
            try:
                yield path, path.stat().st_mtime_ns
            except OSError:
                continue

    def _in_directories(self) -> Iterator[Path]:
        for directory, patterns in self.directory_globs.items():
            for pattern in patterns:
                # Modules are the supervisor's, which also knows which of them matter.
                yield from (p for p in directory.glob(pattern) if p.suffix != ".py" and p.is_file())


def watch(channel: Channel | None) -> None:
    """Look for edits in a thread, as long as the process lives.

    Args:
        channel: to the supervisor, who hears of what needs new processes; ``None`` if another
            process tells it.
    """

    def tell(path: Path) -> None:
        if channel is not None:
            channel.send({"op": "edited", "path": str(path)})

    edits = Edits(tell)
    edits.start()
    threading.Thread(target=_go_on, args=(edits,), name="ws-edits", daemon=True).start()


def _go_on(edits: Edits) -> None:
    took = 0.0
    while True:
        time.sleep(max(INTERVAL, REST * took))
        before = time.monotonic()
        edits.look()
        took = time.monotonic() - before
