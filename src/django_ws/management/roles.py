"""What the commands do when the supervisor has started them: be a worker, or serve the pages."""

from __future__ import annotations

import io
import os
import traceback

import msgspec
from django.core.management.base import (
    BaseCommand,
    CommandError,
    OutputWrapper,
    SystemCheckError,
)
from django.db import connections

from .. import conf
from ..conf import Settings
from ..supervisor.control import LAST_WORDS, Channel
from ..supervisor.reload import files_of, loaded_files

__all__ = ["run_pages", "run_worker"]


def run_worker(command: BaseCommand, settings: Settings, channel: Channel) -> int:
    """Check the project, then run handlers until told to stop.

    Returns:
        The exit status.
    """
    channel.send({"op": "doing", "what": "checks the project"})
    try:
        _check(command, first=bool(os.environ.get("DJANGO_WS_FIRST")))
        channel.send({"op": "doing", "what": "imports the handlers"})
        from ..worker.main import run
    except Exception as error:
        channel.send(_failure(error))
        channel.finish(LAST_WORDS)
        return 1
    channel.send({"op": "files", "files": loaded_files()})
    incarnation = os.environ["DJANGO_WS_INCARNATION"]
    return run(settings.worker, incarnation, channel, reload=settings.reload)


def run_pages(settings: Settings, channel: Channel) -> int:
    """Serve the project's pages until told to stop.

    Returns:
        The exit status.
    """
    from .. import publisher
    from ..supervisor import edits
    from ..supervisor.pages import LISTEN_FD, serve

    if settings.reload:
        edits.watch(channel)
    # What views publish goes to this command's own gateway, whatever its flags say.
    sub_sockets = settings.worker.sub_sockets
    publisher.configure(msgspec.structs.replace(conf.publisher(), sub_sockets=sub_sockets))
    return serve(int(os.environ[LISTEN_FD]), channel, settings.worker.limits.drain_seconds)


def _check(command: BaseCommand, *, first: bool) -> None:
    """Do as ``runserver`` does before it serves; warnings only in the first worker."""
    if not first:
        command.stderr = OutputWrapper(io.StringIO())
    command.check(display_num_errors=first)
    if first:
        command.check_migrations()
        command.stdout.flush()
    # Checks may have opened some, and this thread needs none any more.
    connections.close_all()


def _failure(error: Exception) -> dict[str, object]:
    text = str(error)
    if not isinstance(error, CommandError):
        text = "".join(traceback.format_exception(error)).rstrip()
    return {
        "op": "failed",
        "message": text,
        "checks": isinstance(error, SystemCheckError),
        "files": sorted({*files_of(error), *loaded_files()}),
    }
