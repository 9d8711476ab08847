"""Runs a script as ``python script …`` does, for a child of the supervisor.

Executed by its path: ``python boot.py [--gevent] manage.py run_wsserver …``, or ``-m NAME`` in
place of the script. It exists for two things that must happen before any other code is imported:
patching for gevent, and telling the supervisor why a project no longer loads.
"""

from __future__ import annotations

import sys

# Python put this file's directory first; nothing may be imported from there.
if not sys.flags.safe_path:
    del sys.path[0]

if sys.argv[1] == "--gevent":
    del sys.argv[1]
    from gevent import monkey

    monkey.patch_all()

import os
import runpy
import signal
import threading

#: Signals that are the supervisor's business. A terminal's Ctrl-C and some service managers send
#: them to all processes at once, but it is the supervisor that says who stops when.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_signals() -> None:
    """Let the signals pass that the supervisor acts on; it has blocked them in this process."""
    for number in IGNORED:
        # A handler and not SIG_IGN, which processes that hooks execute would inherit.
        signal.signal(number, _pass)
    # Nor shall processes that hooks fork. One that comes in between waits until its end is the
    # usual one.
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_stop_ignoring)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)


def _pass(*_: object) -> None:
    """Only the supervisor acts on it."""


_forking = threading.local()  # the mask of the thread that forks


def _block() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _stop_ignoring() -> None:
    """In a process that a hook has forked: the supervisor knows nothing of it."""
    for number in IGNORED:
        if signal.getsignal(number) is _pass:  # not if the project has its own
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
    _unblock()


def report(exception: BaseException) -> bool:
    """Tell the supervisor why nothing runs. False if it could not be told."""
    import traceback

    # Here, because only the script's own path setup may have made the package importable.
    from django_ws.supervisor.control import LAST_WORDS, Channel
    from django_ws.supervisor.reload import files_of, loaded_files

    channel = Channel.from_env()
    if channel is None:
        return False
    while exception.__traceback__ and exception.__traceback__.tb_frame.f_code.co_filename in (
        __file__,
        "<frozen runpy>",
    ):
        exception.__traceback__ = exception.__traceback__.tb_next
    message: dict[str, object] = {
        "op": "failed",
        "message": "".join(traceback.format_exception(exception)).rstrip(),
        "files": sorted({*files_of(exception), *loaded_files()}),
    }
    told = channel.send(message)
    channel.finish(LAST_WORDS)
    return told


def script_directory(script: str) -> str:
    """Where Python looks first for the script's imports: beside the script, not beside a link."""
    return os.path.dirname(
        os.path.realpath(script) if os.path.islink(script) else os.path.abspath(script)
    )


def main() -> None:
    """Run what the arguments name, as the main program."""
    ignore_signals()
    module = sys.argv[1] == "-m"
    sys.argv = sys.argv[2 if module else 1 :]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd() if module else script_directory(sys.argv[0]))
    try:
        if module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except Exception as exception:
        if not report(exception):
            raise
        sys.exit(1)


if __name__ == "__main__":
    main()
