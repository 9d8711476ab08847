"""URLs of WebSockets: a namespace's own, in Django's path syntax, and what a pattern leads to.

Knows Django's converters, but no settings.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from django.urls.converters import get_converters
from django.urls.resolvers import RoutePattern
from django.utils.http import RFC3986_SUBDELIMS
from django.utils.regex_helper import normalize

from .options import Route

__all__ = ["Url", "namespace_samples", "nested_quantifiers", "parse", "reaches_default", "shadowed"]

_PARAMETER = re.compile(r"<(?:(?P<converter>[^>:]+):)?(?P<name>[^>]+)>")

#: What most converters take one of, and no two kinds of converters the same of.
_SAMPLES = (
    *("a", "1", "0000", "A-b_9", "a.b~c", "a/b", "ä"),
    "01234567-89ab-cdef-0123-456789abcdef",
)


class Converter(Protocol):
    """As ``django.urls.register_converter`` takes it."""

    regex: str

    def to_python(self, value: str) -> Any: ...
    def to_url(self, value: Any) -> str: ...


@dataclass(frozen=True)
class Url:
    """A URL in Django's path syntax.

    Attributes:
        text: as it was written, like ``ws/chat/<slug:room>/``.
        pattern: a regular expression for the whole path, its leading slash included.
        converters: by the names of the parameters.
    """

    text: str
    pattern: str
    converters: Mapping[str, Converter]

    def kwargs(self, captured: Mapping[str, str]) -> dict[str, Any]:
        """What a handler gets of what the pattern captured.

        Raises:
            ValueError: A converter does not take it, so the URL does not match.
        """
        return {
            name: self.converters[name].to_python(value) if name in self.converters else value
            for name, value in captured.items()
        }

    def path(self, values: Mapping[str, object]) -> str:
        """The path with these values, quoted.

        Raises:
            ValueError: The URL has no such parameters, or does not take the values.
        """
        if missing := self.converters.keys() - values.keys():
            raise ValueError(f"needs {', '.join(sorted(missing))}")
        if left := values.keys() - self.converters.keys():
            raise ValueError(f"has no {', '.join(sorted(left))}")
        texts: dict[str, str] = {}
        for name, converter in self.converters.items():
            try:
                texts[name] = str(converter.to_url(values[name]))
            except ValueError:
                texts[name] = ""
            if not re.fullmatch(converter.regex, texts[name]):
                raise ValueError(f"does not take {name}={values[name]!r}")
        return "/" + quote(self._filled(texts), safe=f"{RFC3986_SUBDELIMS}/~:@")

    def samples(self) -> list[str]:
        """Paths that it takes; none, if no value is known that its converters take."""
        known = [list(_samples(each.regex)) for each in self.converters.values()]
        longest = max(map(len, known), default=1)
        if not all(known):
            return []
        return [
            "/" + self._filled(dict(zip(self.converters, values, strict=True)))
            for values in itertools.islice(zip(*map(itertools.cycle, known), strict=True), longest)
        ] or ["/" + self.text]

    def _filled(self, texts: Mapping[str, str]) -> str:
        return _PARAMETER.sub(lambda match: texts[match["name"]], self.text)


def parse(text: str, urlconf: str) -> Url:
    """Read a URL in Django's path syntax.

    Args:
        text: like ``ws/chat/<slug:room>/``.
        urlconf: the module that registers the project's converters; imported only if ``text`` has
            one that is not known yet.

    Raises:
        ValueError: It is none; the words complete "the URL …".
    """
    if text.startswith("/"):
        raise ValueError(f"must not begin with a slash, as in Django's path(): {text!r}")
    used = {match["converter"] or "str" for match in _PARAMETER.finditer(text)}
    if urlconf and used - get_converters().keys():
        try:
            import_module(urlconf)
        except Exception as error:
            raise ValueError(
                f"has a converter of its own, but {urlconf} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from None
    return _parse(text)


@lru_cache(maxsize=256)
def _parse(text: str) -> Url:
    try:
        pattern = RoutePattern(text)
        expression = pattern.regex.pattern.removeprefix("^")
    except ImproperlyConfigured as error:
        raise ValueError(f"is no path: {error}") from None
    except re.error as error:
        raise ValueError(f"is no path: {text!r}: {error}") from None
    for warning in pattern.check():
        raise ValueError(f"is no path: {warning.msg}")
    return Url(text, f"/{expression}", dict(pattern.converters))


def _samples(regex: str) -> Iterator[str]:
    made = (form for form, names in normalize(regex) if not names)
    return (each for each in dict.fromkeys([*_SAMPLES, *made]) if re.fullmatch(regex, each))


# ---------------------------------------------------------------- where patterns lead


def shadowed(routes: Sequence[Route], urls: Mapping[str, Url]) -> Iterator[tuple[str, str, bool]]:
    """Which routes no path gets to, as far as sample values tell.

    Returns:
        The namespace, that of the earlier route, and whether they have the same pattern.
    """
    for index, route in enumerate(routes):
        paths = urls[route.namespace].samples()
        for earlier in routes[:index]:
            same = _anonymous(earlier.pattern) == _anonymous(route.pattern)
            if same or (paths and all(re.fullmatch(earlier.pattern, path) for path in paths)):
                yield route.namespace, earlier.namespace, same
                break


def _anonymous(pattern: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(", pattern)


def namespace_samples(pattern: str, namespace: str, routes: Sequence[Route]) -> list[str]:
    """Paths that a pattern leads to a namespace by, but for those that a route takes before it."""
    found = []
    for form, names in normalize(pattern):
        for sample in _SAMPLES:
            path = form % {**dict.fromkeys(names, sample), "namespace": namespace}
            match = re.fullmatch(pattern, path)
            if (
                match
                and (match.groupdict().get("namespace") or "default") == (namespace or "default")
                and not any(re.fullmatch(route.pattern, path) for route in routes)
            ):
                found.append(path)
    return found


def reaches_default(pattern: str, routes: Sequence[Route]) -> bool:
    """Whether a pattern has paths without a namespace, which lead to the default one."""
    return any(
        not (match := re.fullmatch(pattern, path)) or not match.groupdict().get("namespace")
        for path in namespace_samples(pattern, "", routes)
    )


def nested_quantifiers(pattern: str) -> bool:
    """Whether something is repeated without bound within what is repeated without bound.

    Matching such an expression can take time that grows exponentially with the path.
    """
    # Per open group whether it holds such a repetition; of a group just closed, the same.
    groups, closed, index = [False], False, 0
    while index < len(pattern):
        token = _TOKEN.match(pattern, index)
        assert token is not None  # it takes any character
        index = token.end()
        if token["open"]:
            groups.append(False)
        elif token["close"] and len(groups) > 1:
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
            continue
        elif token["repeat"]:
            if closed:
                return True
            groups[-1] = True
        closed = False
    return False


_TOKEN = re.compile(
    r"""(?xs) \\. | \[\^?\]?(?:\\.|[^\]\\])*\] | (?P<open>\((?:\?(?:P?<\w+>|<?[=!:>]))?)
    | (?P<close>\)) | (?P<repeat>[*+]|\{\d+,\}) | ."""
)
