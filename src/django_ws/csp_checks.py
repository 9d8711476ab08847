"""A system check: the page's Content-Security-Policy lets it reach its gateway.

Knows the settings of Django 6 (``SECURE_CSP``) and of django-csp. Only policies that are enforced,
and only those of the settings: what decorators and views add is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured

from . import conf

__all__ = ["check_csp", "matches"]

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}

#: Each scheme that a source may name, and what else that means (CSP3 §6.7.2.8).
_MEANS = {"ws": ("ws", "wss"), "http": ("http", "https")}


def check_csp(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Warn if ``connect-src`` keeps pages from connecting.

    Args:
        app_configs: Django's, not used.
        kwargs: Django's, not used.
    """
    try:
        public = conf.public_url()
    except ImproperlyConfigured:
        return []  # another check says what is wrong
    found: list[CheckMessage] = []
    for name, directives in _policies():
        directive = next(
            (each for each in ("connect-src", "default-src") if each in directives), ""
        )
        sources = directives.get(directive, ["*"])
        if any(matches(source, public) for source in sources):
            continue
        where = _origin(urlsplit(public)) if public else "'self'"
        found.append(
            Warning(
                f"{name} does not let pages connect to the gateway: its {directive} is "
                f"{' '.join(sources) or 'empty'}.",
                hint=f"Add {where} to its connect-src.",
                id="django_ws.W012",
            )
        )
    return found


def matches(source: str, public: str) -> bool:
    """Whether a source of ``connect-src`` covers the gateway (CSP3 §6.7.2).

    Args:
        source: an expression like ``'self'``, ``wss:`` or ``wss://*.example.com:8443/ws/``.
        public: ``PUBLIC_URL``; empty if the gateway is where the pages are.
    """
    if source == "*":
        return True
    if not public:
        return source.lower() == "'self'" or source.lower() in ("ws:", "wss:")
    url = urlsplit(public)
    scheme = url.scheme.replace("http", "ws")
    if source.endswith(":"):
        return scheme in _means(source[:-1].lower())
    expression = urlsplit(source)
    # One without a scheme has that of the page, which no WebSocket has.
    if not expression.netloc or scheme not in _means(expression.scheme):
        return False
    return _host(expression, url) and _port(expression, url, scheme)


def _means(scheme: str) -> tuple[str, ...]:
    return _MEANS.get(scheme, (scheme,))


def _host(expression: SplitResult, url: SplitResult) -> bool:
    wanted = expression.netloc.partition(":")[0].lower()
    host = (url.hostname or "").lower()
    if wanted.startswith("*"):
        return host.endswith(wanted[1:])
    return wanted == host


def _port(expression: SplitResult, url: SplitResult, scheme: str) -> bool:
    _, colon, wanted = expression.netloc.partition(":")
    port = url.port or _PORTS[scheme]
    if colon:
        return wanted in ("*", str(port)) or (wanted == "80" and port == 443)
    return port == _PORTS[scheme]


def _origin(url: SplitResult) -> str:
    return f"{url.scheme.replace('http', 'ws')}://{url.netloc}"


# ---------------------------------------------------------------- where policies stand


def _policies() -> Iterator[tuple[str, Mapping[str, list[str]]]]:
    """Each policy in force: the setting's name, and its sources by directive."""
    if "django.middleware.csp.ContentSecurityPolicyMiddleware" in settings.MIDDLEWARE:
        yield from _policy("SECURE_CSP", getattr(settings, "SECURE_CSP", None))
    if not any(path.startswith("csp.middleware.") for path in settings.MIDDLEWARE):
        return
    four = getattr(settings, "CONTENT_SECURITY_POLICY", None)
    if isinstance(four, Mapping):
        yield from _policy("CONTENT_SECURITY_POLICY", four.get("DIRECTIVES"))
    elif not getattr(settings, "CSP_REPORT_ONLY", False):
        # Before django-csp 4, where there is a default.
        former = {
            "connect-src": getattr(settings, "CSP_CONNECT_SRC", None),
            "default-src": getattr(settings, "CSP_DEFAULT_SRC", ["'self'"]),
        }
        if any(name.startswith("CSP_") for name in dir(settings)):
            yield from _policy("CSP_CONNECT_SRC", former)


def _policy(name: str, directives: object) -> Iterator[tuple[str, Mapping[str, list[str]]]]:
    if not isinstance(directives, Mapping):
        return
    # What is left out of the header: None, False, and no sources at all.
    yield name, {str(each): _sources(given) for each, given in directives.items() if given}


def _sources(given: object) -> list[str]:
    if isinstance(given, str):
        return given.split()
    return sorted(map(str, given)) if isinstance(given, Iterable) else []
