"""The only reader of Django's settings: turns them, and flags, into the structs of ``options.py``.

A flag beats ``DJANGO_WS``, which beats the default. What is wrong is told as a list of
:class:`Problem`, which the system checks show and :func:`load` raises.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import msgspec
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import conf_gateways, conf_groups, conf_namespaces
from .conf_problems import Problem, nearest
from .conf_table import OPTIONS
from .conf_urls import Url
from .options import (
    DEFAULT_PUSH_SOCKET,
    DEFAULT_SUB_SOCKET,
    DEFAULT_WEBSOCKET_URL,
    MAX_IPC_PATH,
    GatewayConfig,
    GroupConfig,
    Limits,
    NamespaceConfig,
    PublisherConfig,
    Route,
    WorkerConfig,
)
from .transport.files import default_endpoints

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

__all__ = [
    "Problem",
    "Settings",
    "authentication_backends",
    "groups",
    "handler_paths",
    "home",
    "inherit_home",
    "limits",
    "load",
    "mode",
    "namespace",
    "namespace_url",
    "problems",
    "public_url",
    "publisher",
    "requires_login",
    "routes",
    "saves_every_session",
    "script_name",
    "session_cookie_name",
    "session_store",
    "websocket_url",
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the commands go by.

    Attributes:
        max_requests: messages after which a worker is replaced; 0 for never.
        max_rss: MiB of memory above which a worker is replaced; 0 for never.
    """

    gateway: GatewayConfig
    worker: WorkerConfig
    reload: bool
    workers: int = 1
    gateways: int = 1
    wsgi: bool = False
    max_requests: int = 0
    max_rss: int = 0


def load(flags: Mapping[str, object]) -> Settings:
    """Put flags, settings and defaults together.

    Args:
        flags: by the names of :data:`OPTIONS` in lower case; ``None`` for what was not given.

    Raises:
        ImproperlyConfigured: Something is wrong; the text names every mistake and what to do.
    """
    found: list[Problem] = []
    values = _values(flags, found)
    namespaces = _namespaces(found, values.get("WEBSOCKET_URL", DEFAULT_WEBSOCKET_URL))
    if mistakes := [problem for problem in found if problem.fatal]:
        raise ImproperlyConfigured("\n".join(f"{each.message} {each.hint}" for each in mistakes))
    fingerprints = _fingerprints(values, flags, namespaces.routes)
    return _settings(values, namespaces, fingerprints)


def problems(flags: Mapping[str, object]) -> list[Problem]:
    """What is wrong with settings and flags, as far as it shows without importing handlers."""
    found: list[Problem] = []
    values = _values(flags, found)
    _namespaces(found, values.get("WEBSOCKET_URL", DEFAULT_WEBSOCKET_URL))
    return found


def mode(flags: Mapping[str, object]) -> str:
    """The execution mode, also if other settings are wrong."""
    return str(_values(flags, []).get("MODE", "pool"))


def limits() -> Limits:
    """The limits alone, for code that runs a handler without a gateway."""
    return _limits(_values({}, []))


def groups() -> dict[str, GroupConfig]:
    """What is kept of which groups, for code that runs handlers without a gateway.

    Raises:
        ImproperlyConfigured: It is wrong.
    """
    return cast("dict[str, GroupConfig]", _one("GROUPS", {}))


def publisher() -> PublisherConfig:
    """What a process works with that publishes, whatever else is wrong with its settings.

    Raises:
        ImproperlyConfigured: Something that it needs is wrong.
    """
    maximum = _one("MAX_MESSAGE_SIZE", Limits().max_message_size)
    named = _one("PROJECT", None)
    _, default = _default_endpoints({"PROJECT": named} if named else {})
    return PublisherConfig(
        project=str(named or _project()),
        sub_sockets=conf_gateways.endpoints(
            cast("list[str]", _one("SUB_SOCKET", [default])), cast("int", _one("GATEWAYS", 1))
        ),
        max_outgoing=Limits(max_message_size=cast("int", maximum)).max_outgoing,
        on_no_gateway=str(_one("ON_NO_GATEWAY", "raise")),
        groups=cast("dict[str, GroupConfig]", _one("GROUPS", {})),
        engine=str(_one("ENGINE", "")),
    )


def handler_paths() -> dict[str, str]:
    """The handlers' dotted paths by namespace; entries that make no sense are left out."""
    return {name: entry.handler for name, entry in _known_namespaces().entries.items()}


def namespace_url(namespace: str) -> Url | None:
    """A namespace's own URL; ``None`` if it has none, or one that makes no sense."""
    return _known_namespaces().urls.get(namespace)


def routes() -> list[Route]:
    """The namespaces with a URL of their own, as a gateway knows them."""
    return list(_known_namespaces().routes)


def namespace(name: str) -> NamespaceConfig | None:
    """An entry of ``DEFAULT_WS_HANDLERS``; ``None`` if there is no such, or it makes no sense."""
    return _known_namespaces().entries.get(name)


def requires_login() -> bool:
    """Whether the project's views need a login, unless they say otherwise."""
    for path in settings.MIDDLEWARE:
        try:
            middleware = import_string(path)
        except ImportError:
            continue  # fails where requests are served
        if isinstance(middleware, type) and any(
            f"{kind.__module__}.{kind.__qualname__}" == _LOGIN_MIDDLEWARE
            for kind in middleware.__mro__
        ):
            return True
    return False


_LOGIN_MIDDLEWARE = "django.contrib.auth.middleware.LoginRequiredMiddleware"


def public_url() -> str:
    """``DJANGO_WS["PUBLIC_URL"]`` without a slash at its end; empty if it is not set.

    Raises:
        ImproperlyConfigured: It is no URL.
    """
    return str(_one("PUBLIC_URL", "")).rstrip("/")


def websocket_url() -> str:
    """``DJANGO_WS["WEBSOCKET_URL"]`` or the default: here no flag is known.

    Raises:
        ImproperlyConfigured: It is no regular expression.
    """
    return str(_one("WEBSOCKET_URL", DEFAULT_WEBSOCKET_URL))


def authentication_backends() -> list[str]:
    """Dotted paths of the backends that may name a user."""
    return list(settings.AUTHENTICATION_BACKENDS)


def session_cookie_name() -> str:
    """Name of the cookie with the session's key."""
    return settings.SESSION_COOKIE_NAME


def saves_every_session() -> bool:
    """``SESSION_SAVE_EVERY_REQUEST``: a session lives on while its connection is used."""
    return bool(settings.SESSION_SAVE_EVERY_REQUEST)


def script_name() -> str:
    """``FORCE_SCRIPT_NAME`` without a slash at its end; empty without a prefix."""
    return (settings.FORCE_SCRIPT_NAME or "").rstrip("/")


def session_store() -> type[SessionBase] | None:
    """The session engine's store; ``None`` if the project has no sessions."""
    if not apps.is_installed("django.contrib.sessions"):
        # SessionMiddleware works without the app, given an engine that needs no table.
        middleware = "django.contrib.sessions.middleware.SessionMiddleware"
        if middleware not in settings.MIDDLEWARE:
            return None
    return cast("type[SessionBase]", import_module(settings.SESSION_ENGINE).SessionStore)


# ---------------------------------------------------------------- DJANGO_WS and flags


def _own_settings() -> dict[str, Any]:
    value = getattr(settings, "DJANGO_WS", None)
    return value if isinstance(value, dict) else {}


def _one(name: str, default: object) -> object:
    value = _own_settings().get(name)
    try:
        return default if value is None else OPTIONS[name].kind(value)
    except ValueError as error:
        raise ImproperlyConfigured(f'DJANGO_WS["{name}"] {error}.') from None


def _values(flags: Mapping[str, object], found: list[Problem]) -> dict[str, Any]:
    """What flags and ``DJANGO_WS`` say, by the names of :data:`OPTIONS`."""
    raw = getattr(settings, "DJANGO_WS", None)
    if raw is not None and not isinstance(raw, dict):
        hint = 'Make it one, like {"ALLOWED_ORIGINS": ["https://example.com"]}.'
        found.append(Problem("E011", f"DJANGO_WS must be a dict, not {raw!r}.", hint))
    own = _own_settings()
    found.extend(_unknown(own))
    values: dict[str, Any] = {}
    given: set[str] = set()
    for name, option in OPTIONS.items():
        flag = flags.get(name.lower())
        # None switches a limit off; for anything else it is as good as nothing.
        if flag is None and (name not in own or (own[name] is None and not option.limit)):
            continue
        given.add(name)
        label = option.flag if flag is not None else f'DJANGO_WS["{name}"]'
        try:
            values[name] = option.kind(own[name] if flag is None else flag)
        except ValueError as error:
            found.append(Problem(_ids.get(name, "E013"), f"{label} {error}.", option.help))
    found.extend(_together(values, given))
    return values


#: Checks of their own; every other wrong value is E013.
_ids = {
    "WEBSOCKET_URL": "E014",
    "CERTFILE": "E015",
    "KEYFILE": "E015",
    "PUSH_SOCKET": "E016",
    "SUB_SOCKET": "E016",
}


def _unknown(own: Mapping[str, object]) -> Iterator[Problem]:
    for key in own:
        if key not in OPTIONS:
            yield Problem("E012", f"DJANGO_WS has no setting {key!r}.", nearest(key, OPTIONS))


def _together(values: Mapping[str, Any], given: set[str]) -> Iterator[Problem]:
    """What is wrong only with several values together, or not so wrong that nothing starts."""
    if ("CERTFILE" in given) != ("KEYFILE" in given):
        there, missing = sorted(("CERTFILE", "KEYFILE"), key=given.__contains__, reverse=True)
        yield Problem(
            "E017",
            f"{there} is given without {missing}.",
            f"TLS needs both: give --{missing.lower()} (or DJANGO_WS[{missing!r}]), too.",
        )
    default_push, default_sub = _default_endpoints(values)
    push = values.get("PUSH_SOCKET", default_push)
    if push in values.get("SUB_SOCKET", [default_sub]):
        yield Problem(
            "E016", f"PUSH_SOCKET and SUB_SOCKET are the same: {push}.", "Give each one of its own."
        )
    if "ENGINE" in values and "PROJECT" not in given:
        yield Problem(
            "W011",
            "DJANGO_WS has an ENGINE, but no PROJECT.",
            "Name the project: others that share the server are told apart by that.",
        )
    yield from conf_groups.problems(values.get("GROUPS", {}))
    yield from conf_gateways.problems(values, values.get("SUB_SOCKET", [default_sub]))
    # Every worker after the first appends a dot and its incarnation, 16 characters.
    room = MAX_IPC_PATH - 17
    if push.startswith("ipc://") and len(push.removeprefix("ipc://").encode()) > room:
        yield Problem(
            "W002",
            f"The path of PUSH_SOCKET leaves no room for the suffix of further workers: {push}.",
            f"Keep it within {room} bytes, else only one worker can run and none be replaced.",
        )


# ---------------------------------------------------------------- DEFAULT_WS_HANDLERS


def _namespaces(found: list[Problem], pattern: str | None = None) -> conf_namespaces.Namespaces:
    """What ``DEFAULT_WS_HANDLERS`` says; with a pattern also what is wrong with the URLs."""
    raw = getattr(settings, "DEFAULT_WS_HANDLERS", None)
    urlconf = getattr(settings, "ROOT_URLCONF", None) or ""
    namespaces = conf_namespaces.read(
        raw, found, urlconf, script_name(), dir(settings) if raw is None else ()
    )
    if pattern is not None:
        found.extend(conf_namespaces.route_problems(raw, namespaces, pattern))
    return namespaces


@functools.cache
def _known_namespaces() -> conf_namespaces.Namespaces:
    """What the setting says, read once: it is asked for each connection."""
    return _namespaces([])


def _on_setting_changed(**kwargs: object) -> None:
    """Tests change settings; which of them count here is up to :func:`_namespaces`."""
    _known_namespaces.cache_clear()


setting_changed.connect(_on_setting_changed)


# ---------------------------------------------------------------- putting it together


def _settings(
    values: Mapping[str, Any],
    namespaces: conf_namespaces.Namespaces,
    fingerprints: dict[str, str],
) -> Settings:
    debug = bool(settings.DEBUG)
    project = _project()
    push, sub = _default_endpoints(values)
    # Who names the project says by that what belongs together, wherever it lies.
    both = {"project": project, "home": "" if "PROJECT" in values else home(), "debug": debug}
    parts: dict[str, dict[str, Any]] = {
        "gateway": {
            **both,
            "push_socket": push,
            "sub_socket": sub,
            "allowed_hosts": _allowed_hosts(debug),
            "routes": namespaces.routes,
        },
        "worker": {
            **both,
            "push_socket": push,
            "sub_sockets": [sub],
            "namespaces": namespaces.entries,
        },
        "settings": {"reload": debug},
    }
    for name, value in values.items():
        for part in OPTIONS[name].where:
            if part in parts:
                parts[part][name.lower()] = value
    gateway, worker, own = parts["gateway"], parts["worker"], parts["settings"]
    worker["groups"] = gateway.get("groups", {})
    host, port = gateway.pop("address", ("", 8888))
    gateway["host"] = host or ("127.0.0.1" if debug else "0.0.0.0")
    gateway["port"] = port
    if "sub_socket" in worker:
        worker["sub_sockets"] = worker.pop("sub_socket")
        gateway["sub_socket"] = gateway["sub_socket"][0]
    worker["sub_sockets"] = conf_gateways.endpoints(
        worker["sub_sockets"], values.get("GATEWAYS", 1)
    )
    own.pop("public_url", None)
    return Settings(
        gateway=GatewayConfig(**gateway, limits=_limits(values), fingerprints=fingerprints),
        worker=WorkerConfig(**worker, limits=_limits(values), fingerprints=fingerprints),
        **own,
    )


_inherited: str | None = ""


def inherit_home(value: str | None) -> None:
    """Take the supervisor's word for where the project is at home.

    What it starts belongs together, also if a new release lies in a directory of its own.

    Args:
        value: ``None`` for a supervisor of release 0.1, whose gateway has the endpoints of that.
    """
    global _inherited
    _inherited = value


def home() -> str:
    """What tells this project from others of the same name: base directory, settings module."""
    if _inherited:
        return _inherited
    # Overridden settings no longer tell which module they come from.
    module = getattr(settings, "SETTINGS_MODULE", None) or os.environ.get(ENVIRONMENT_VARIABLE, "")
    base = getattr(settings, "BASE_DIR", None)
    if base is None:
        base = os.path.dirname(getattr(sys.modules.get(module), "__file__", None) or "") or "."
    return f"{os.path.realpath(base)} {module}"


def _default_endpoints(values: Mapping[str, Any]) -> tuple[str, str]:
    if _inherited is None:
        return DEFAULT_PUSH_SOCKET, DEFAULT_SUB_SOCKET
    return default_endpoints(values.get("PROJECT") or home())


def _project() -> str:
    """The name that both halves must agree on, where no setting says one."""
    return getattr(settings, "ROOT_URLCONF", None) or "django"


def _fingerprints(
    values: Mapping[str, Any], flags: Mapping[str, object], routes: list[Route]
) -> dict[str, str]:
    """A digest of each setting that only gateways work with, for :class:`.wire.messages.Hello`.

    Empty where a flag decides: each half has flags of its own.
    """
    debug = bool(settings.DEBUG)
    found = {"DEBUG": _digest(debug), "ALLOWED_HOSTS": _digest(_allowed_hosts(debug))}
    for name, value in values.items():
        elsewhere = {"worker", "settings", "publisher"}.intersection(OPTIONS[name].where)
        if not elsewhere or name == "ENGINE":
            found[name] = _digest(value) if flags.get(name.lower()) is None else ""
    if routes:
        # Their order counts.
        listed = json.dumps([[route.namespace, route.pattern] for route in routes])
        found["DEFAULT_WS_HANDLERS (url)"] = _digest(listed)
    return found


def _digest(value: object) -> str:
    # A set of origins has another order in each process.
    value = sorted(value) if isinstance(value, list) else value
    text = json.dumps(value, default=msgspec.to_builtins)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _limits(values: Mapping[str, Any]) -> Limits:
    names = (name for name in values if "limits" in OPTIONS[name].where)
    return Limits(**{name.lower(): values[name] for name in names})


def _allowed_hosts(debug: bool) -> list[str]:
    hosts = list(settings.ALLOWED_HOSTS)
    # As django.http.request.HttpRequest.get_host does.
    return hosts if hosts or not debug else [".localhost", "127.0.0.1", "[::1]"]
