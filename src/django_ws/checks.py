"""Django system checks: mistakes in settings and handlers, each with what to do.

Ids are ``django_ws.E00x`` for ``DEFAULT_WS_HANDLERS``, ``E01x`` for ``DJANGO_WS``, ``E02x`` for
handler classes, and ``W0xx`` for what keeps nothing from starting; ``W02x`` for what is insecure.
"""

from __future__ import annotations

import difflib
import inspect
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from asgiref.sync import iscoroutinefunction
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections

from . import conf
from .base import WebSocketHandler
from .hook_checks import hook_problems

__all__ = ["check_handlers", "check_settings", "with_flags"]

#: Where this package is.
_HERE = str(Path(__file__).parent)

#: The flags of the command that runs: Django calls registered checks without them.
_flags: ContextVar[Mapping[str, object] | None] = ContextVar("django_ws_flags", default=None)


@contextmanager
def with_flags(flags: Mapping[str, object]) -> Iterator[None]:
    """Within it, :func:`check_settings` goes by these flags, whoever calls it."""
    token = _flags.set(flags)
    try:
        yield
    finally:
        _flags.reset(token)


def check_settings(
    app_configs: object = None, flags: Mapping[str, object] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Check everything that shows without importing the project's handlers.

    Args:
        app_configs: Django's, not used.
        flags: as for :func:`.conf.load`; by default those of :func:`with_flags`.
        kwargs: Django's, not used.
    """
    flags = flags or _flags.get() or {}
    found = [_message(problem) for problem in conf.problems(flags)]
    found.extend(_message(problem) for problem in _databases(conf.mode(flags)))
    found.extend(_message(problem) for problem in _distribution())
    return found


def check_handlers(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Import every handler of ``DEFAULT_WS_HANDLERS`` and check its class."""
    found: dict[tuple[str, str], conf.Problem] = {}
    others: Counter[tuple[str, str]] = Counter()
    for namespace, path in conf.handler_paths().items():
        for problem in _handler(f"DEFAULT_WS_HANDLERS[{namespace!r}]", path):
            # A module that does not load is one mistake, however many handlers it has.
            why = problem.message.partition(" cannot be imported")[2]
            key = (why or problem.message, problem.hint)
            others[key] += key in found
            found.setdefault(key, problem)
    return [_message(problem, others[key]) for key, problem in found.items()]


def _message(problem: conf.Problem, others: int = 0) -> CheckMessage:
    level = Error if problem.fatal else Warning
    more = f" So it is with {others} more." if others else ""
    return level(f"{problem.message}{more}", hint=problem.hint, id=f"django_ws.{problem.id}")


# ---------------------------------------------------------------- surroundings


def _databases(mode: str) -> Iterator[conf.Problem]:
    for alias in connections:
        database = connections.settings[alias]
        if database["ENGINE"].endswith(("sqlite3", "spatialite", "dummy")):
            continue
        age = database["CONN_MAX_AGE"]
        if mode == "pool" and age == 0 and not database["OPTIONS"].get("pool"):
            yield conf.Problem(
                "W003",
                f"The database {alias!r} is connected anew for every message that uses it.",
                'Set its CONN_MAX_AGE (to 60, say), or a connection pool: OPTIONS["pool"].',
            )
        if mode in ("threaded", "gevent") and age != 0:
            yield conf.Problem(
                "W004",
                f"Each browser can hold a connection to the database {alias!r} while it stays.",
                f"Set CONN_MAX_AGE = 0 for {mode} mode, or use --pool.",
            )


def _distribution() -> Iterator[conf.Problem]:
    try:
        metadata.distribution("django-ws")
    except metadata.PackageNotFoundError:
        return
    yield conf.Problem(
        "W005",
        "The unrelated package django-ws is installed; it has the same import name, django_ws.",
        "Run pip uninstall django-ws, then pip install --force-reinstall django-ws-gateway.",
    )


# ---------------------------------------------------------------- handlers


def _handler(label: str, path: str) -> Iterator[conf.Problem]:
    module_path, _, name = path.rpartition(".")
    if not module_path:
        yield conf.Problem(
            "E021",
            f"{label}: {path!r} is no dotted path.",
            'Write the module, too, like "myproject.ws_handlers.Chat".',
        )
        return
    try:
        module = import_module(module_path)
    except (Exception, SystemExit) as error:
        yield _import_problem(f"{label}: {path!r}", module_path, error)
        return
    try:
        handler = getattr(module, name)
    except AttributeError:
        if hasattr(module, "__path__") and find_spec(path) is not None:
            yield _is_module(label, path)
            return
        close = difflib.get_close_matches(name, vars(module), n=1)
        yield conf.Problem(
            "E022",
            f"{label}: the module {module_path} has no {name!r}.",
            f"Did you mean {close[0]!r}?" if close else f"Define it in {module.__file__}.",
        )
        return
    if inspect.ismodule(handler):
        yield _is_module(label, path)
        return
    if not (isinstance(handler, type) and issubclass(handler, WebSocketHandler)):
        # What a view's decorator makes of a class is a function.
        advice = (
            " If it is one, its decorator is for views: take that of django_ws.auth."
            if inspect.isfunction(handler)
            else ""
        )
        yield conf.Problem(
            "E023",
            f"{label}: {path} is no handler class, but {handler!r}.",
            f"Name a subclass of django_ws.base.WebSocketHandler.{advice}",
        )
        return
    yield from _class(f"{label}: {path}", handler)


def _is_module(label: str, path: str) -> conf.Problem:
    hint = f"Write the name of the class, too, like {f'{path}.Chat'!r}."
    return conf.Problem("E022", f"{label}: {path} is a module.", hint)


def _import_problem(label: str, module_path: str, error: BaseException) -> conf.Problem:
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{module_path}.".startswith(f"{error.name}.")
    ):
        return conf.Problem(
            "E021",
            f"{label} cannot be imported: {error}.",
            "Check the spelling, and that the directory is on sys.path (--pythonpath).",
        )
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        # Where a decorator of ours, say, was used wrongly, rather than where it noticed that.
        theirs = [frame for frame in frames if not frame.filename.startswith(_HERE)]
        last = (theirs or frames)[-1]
        file, line = last.filename, last.lineno
    return conf.Problem(
        "E021",
        f"{label} cannot be imported: {type(error).__name__}: {error}.",
        f"See {file}, line {line}.",
    )


def _class(label: str, handler: type[WebSocketHandler]) -> Iterator[conf.Problem]:
    for hook in WebSocketHandler.hooks:
        method = getattr(handler, hook)
        if iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            yield conf.Problem(
                "E024",
                f"{label}: {hook} is an async def, which nothing would await.",
                "Write def; it may block. asgiref.sync.async_to_sync calls what exists only async.",
            )
    yield from hook_problems(label, handler)
    try:
        inspect.signature(handler.__init__).bind(handler)
    except TypeError as error:
        yield conf.Problem(
            "E025",
            f"{label}: instances are made without arguments, but its __init__ does not take that: "
            f"{error}.",
            "Give them defaults; what belongs to a connection is there in on_connect and on_open.",
        )
    except ValueError:
        pass  # a signature that Python cannot tell
