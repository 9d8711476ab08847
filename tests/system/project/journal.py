"""An append-only record of what the handlers did, shared by all processes."""

import json
import os
import time
from pathlib import Path

# O_APPEND: each line goes in whole, in the order of the writes, whichever process it comes from.
_fd = os.open(
    Path(__file__).resolve().parent / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
)


def note(what, who, *more):
    """Append a line: what happened, to whom, the process, the time, and more."""
    os.write(_fd, (json.dumps([what, who, os.getpid(), time.monotonic(), *more]) + "\n").encode())


def _begin():
    """Say which worker this process belongs to, so that the oracle knows."""
    note("process", os.environ.get("DJANGO_WS_INCARNATION", ""))


_begin()
os.register_at_fork(after_in_child=_begin)
