"""``DEFAULT_WS_HANDLERS``: which handler a namespace has, and which URL.

Gets the setting as it was written; :mod:`.conf` reads it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import conf_urls
from .conf_problems import Problem, nearest
from .conf_table import NAMESPACE_OPTIONS
from .conf_urls import Url
from .options import NamespaceConfig, Route

__all__ = ["Namespaces", "read", "route_problems"]

_EXAMPLE = 'Set it, for example: DEFAULT_WS_HANDLERS = {"default": "myproject.ws.MyHandler"}.'


@dataclass(frozen=True)
class Namespaces:
    """What the setting says, but for what makes no sense.

    Attributes:
        entries: by namespace.
        urls: those of the namespaces that have their own.
        routes: the same for a gateway.
    """

    entries: dict[str, NamespaceConfig] = field(default_factory=dict)
    urls: dict[str, Url] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)


def read(
    raw: object, found: list[Problem], urlconf: str, prefix: str, others: Sequence[str] = ()
) -> Namespaces:
    """Read the setting.

    Args:
        found: gets what is wrong.
        urlconf: the module that registers the project's path converters.
        prefix: of the paths of pages, like ``/app``, which may or may not stand before the URLs.
        others: names of the project's settings, where the setting is missing.
    """
    namespaces = Namespaces()
    if not isinstance(raw, dict):
        said = "is missing" if raw is None else f"must be a dict, not {raw!r}"
        close = difflib.get_close_matches("DEFAULT_WS_HANDLERS", others, n=1, cutoff=0.8)
        hint = f"There is a setting {close[0]}: is that meant?" if close else _EXAMPLE
        found.append(Problem("E001", f"The setting DEFAULT_WS_HANDLERS {said}.", hint))
        return namespaces
    for name, entry in raw.items():
        if not isinstance(name, str) or not name:
            hint = 'The namespace of a URL without one is "default".'
            message = f"DEFAULT_WS_HANDLERS has {name!r} as a namespace."
            found.append(Problem("E003", message, hint))
            continue
        label = f"DEFAULT_WS_HANDLERS[{name!r}]"
        config = _entry(label, entry, found)
        if config is None:
            continue
        namespaces.entries[name] = config
        if not config.url:
            continue
        try:
            url = namespaces.urls[name] = conf_urls.parse(config.url, urlconf)
        except ValueError as error:
            hint = NAMESPACE_OPTIONS["url"].help
            found.append(Problem("E007", f"{label}: the URL {error}", hint))
            continue
        before = f"(?:{re.escape(prefix)})?" if prefix else ""
        namespaces.routes.append(Route(name, before + url.pattern))
    return namespaces


def _entry(label: str, entry: object, found: list[Problem]) -> NamespaceConfig | None:
    if isinstance(entry, str):
        entry = {"handler": entry}
    if not isinstance(entry, dict) or "handler" not in entry:
        hint = 'Write the dotted path of a handler class, or {"handler": "dotted.path", …}.'
        found.append(Problem("E004", f"{label} names no handler: {entry!r}.", hint))
        return None
    fields: dict[str, Any] = {}
    for key, value in entry.items():
        option = NAMESPACE_OPTIONS.get(key)
        if option is None:
            hint = nearest(key, NAMESPACE_OPTIONS)
            found.append(Problem("E005", f"{label} has an unknown option {key!r}.", hint))
            continue
        try:
            fields[key] = option.kind(value)
        except ValueError as error:
            found.append(Problem("E006", f"{label}: {key} {error}.", option.help))
    return NamespaceConfig(**fields) if "handler" in fields else None


# ---------------------------------------------------------------- who can be reached


def route_problems(raw: object, namespaces: Namespaces, pattern: str) -> Iterator[Problem]:
    """What is wrong with the URLs together.

    Args:
        pattern: ``WEBSOCKET_URL``, which leads to all namespaces without a URL of their own.
    """
    routes = namespaces.routes
    for name, earlier, same in conf_urls.shadowed(routes, namespaces.urls):
        if same:
            yield Problem(
                "E008",
                f"DEFAULT_WS_HANDLERS: {name!r} has the URL of {earlier!r}.",
                "Give each a URL of its own.",
            )
        else:
            yield Problem(
                "W006",
                f"DEFAULT_WS_HANDLERS: {earlier!r} takes the paths of {name!r}.",
                f"The first that matches counts: move {name!r} before {earlier!r}.",
            )
    for name in namespaces.urls:
        if conf_urls.nested_quantifiers(namespaces.urls[name].pattern):
            yield _slow(f"The URL of DEFAULT_WS_HANDLERS[{name!r}]")
    if conf_urls.nested_quantifiers(pattern):
        yield _slow("WEBSOCKET_URL")
    if not isinstance(raw, dict):
        return
    names = list(raw)
    others = [name for name in names if isinstance(name, str) and not _own_url(raw[name])]
    if (
        "default" not in names
        and (others or not names)
        and conf_urls.reaches_default(pattern, routes)
    ):
        yield Problem(
            "E002",
            'DEFAULT_WS_HANDLERS has no "default".',
            'It serves connections whose URL names no namespace. Add a "default" entry.',
        )
    yield from _unreachable([name for name in others if name], pattern, routes)


def _own_url(entry: object) -> bool:
    """Whether it says a URL, be it a wrong one."""
    return isinstance(entry, dict) and "url" in entry


def _slow(what: str) -> Problem:
    return Problem(
        "W008",
        f"{what} repeats within a repetition, like (\\w+)*.",
        "Such an expression can take seconds for a path that somebody makes up, and holds up all "
        "connections meanwhile. Write it without the inner or the outer repetition.",
    )


def _unreachable(names: list[str], pattern: str, routes: list[Route]) -> Iterator[Problem]:
    # What the other groups take may be beyond the samples; then nothing is known of plain words.
    known = any(conf_urls.namespace_samples(pattern, name, []) for name in [*names, "a", ""])
    named = "namespace" in re.compile(pattern).groupindex
    for name in names:
        plain = re.fullmatch(r"\w*", name)
        if conf_urls.namespace_samples(pattern, name, routes):
            continue
        if plain and not known and (named or name == "default"):
            continue
        yield Problem(
            "W001",
            f"No URL leads to the namespace {name!r} of DEFAULT_WS_HANDLERS."
            if plain
            else f"The namespace {name!r} of DEFAULT_WS_HANDLERS cannot be in a URL.",
            'Give it a URL of its own, like {"handler": …, "url": "ws/…/"}, or a WEBSOCKET_URL '
            r"(--websocket-url) whose group 'namespace' takes it; the default one takes \w*.",
        )
