"""The page's policy and its gateway."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings

from django_ws.csp_checks import check_csp, matches

DJANGO = "django.middleware.csp.ContentSecurityPolicyMiddleware"
DJANGO_CSP = "csp.middleware.CSPMiddleware"


@pytest.mark.parametrize(
    ("source", "public", "does"),
    [
        ("'self'", "", True),
        ("*", "", True),
        ("wss:", "", True),
        ("https:", "", False),
        ("'none'", "", False),
        ("*", "wss://ws.example.com", True),
        ("'self'", "wss://ws.example.com", False),
        ("wss:", "wss://ws.example.com", True),
        ("ws:", "wss://ws.example.com", True),
        ("wss:", "ws://ws.example.com", False),
        ("https:", "wss://ws.example.com", False),
        ("wss://ws.example.com", "wss://ws.example.com", True),
        ("WSS://WS.example.com", "https://ws.example.com/prefix", True),
        ("wss://ws.example.com", "wss://ws.example.com:443", True),
        ("wss://ws.example.com", "wss://ws.example.com:8443", False),
        ("wss://ws.example.com:8443", "wss://ws.example.com:8443", True),
        ("wss://ws.example.com:*", "wss://ws.example.com:8443", True),
        ("wss://*.example.com", "wss://ws.example.com", True),
        ("wss://*.example.com", "wss://example.com", False),
        ("wss://other.example.com", "wss://ws.example.com", False),
        ("ws.example.com", "wss://ws.example.com", False),
        ("https://ws.example.com", "wss://ws.example.com", False),
        ("ws://ws.example.com:80", "wss://ws.example.com", True),
        ("'nonce-abc'", "wss://ws.example.com", False),
    ],
)
def test_sources(source: str, public: str, does: bool) -> None:
    assert matches(source, public) is does


def found(settings: LazySettings, middleware: str, **others: Any) -> list[str]:
    settings.MIDDLEWARE = [middleware]
    for name, value in others.items():
        setattr(settings, name, value)
    return [f"{each.msg} {each.hint}" for each in check_csp()]


@pytest.mark.parametrize(
    ("policy", "complains"),
    [
        ({}, False),
        ({"script-src": ["'self'"]}, False),
        ({"default-src": ["'self'"]}, True),
        ({"default-src": ["'self'"], "connect-src": []}, True),
        ({"default-src": ["'self'"], "connect-src": ["'self'", "wss://ws.example.com"]}, False),
        ({"default-src": ["*"], "connect-src": "'self'"}, True),
        ({"default-src": None, "connect-src": False}, False),
        ({"connect-src": {"wss:"}}, False),
    ],
    ids=str,
)
def test_policies(settings: LazySettings, policy: dict[str, Any], complains: bool) -> None:
    settings.DJANGO_WS = {"PUBLIC_URL": "https://ws.example.com/base"}
    assert bool(found(settings, DJANGO, SECURE_CSP=policy)) is complains
    settings.SECURE_CSP = None
    four = {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": policy}}
    assert bool(found(settings, DJANGO_CSP, **four)) is complains


def test_in_words(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"PUBLIC_URL": "https://ws.example.com:8443/base"}
    assert found(settings, DJANGO, SECURE_CSP={"default-src": ["'self'", "https:"]}) == [
        "SECURE_CSP does not let pages connect to the gateway: its default-src is 'self' https:. "
        "Add wss://ws.example.com:8443 to its connect-src."
    ]


def test_a_gateway_where_the_pages_are(settings: LazySettings) -> None:
    assert found(settings, DJANGO, SECURE_CSP={"default-src": ["'self'"]}) == []
    (words,) = found(settings, DJANGO, SECURE_CSP={"connect-src": ["'none'"]})
    assert "Add 'self'" in words


def test_django_csp_before_4_has_a_default(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"PUBLIC_URL": "wss://ws.example.com"}
    assert found(settings, DJANGO_CSP) == []  # no policy at all with 4
    assert len(found(settings, DJANGO_CSP, CSP_IMG_SRC=["*"])) == 1
    assert found(settings, DJANGO_CSP, CSP_CONNECT_SRC=["wss://ws.example.com"]) == []
    assert found(settings, DJANGO_CSP, CSP_CONNECT_SRC=[], CSP_REPORT_ONLY=True) == []


def test_what_nobody_sends_is_not_looked_at(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"PUBLIC_URL": "wss://ws.example.com"}
    policy = {"default-src": ["'none'"]}
    assert found(settings, "x.y.Z", SECURE_CSP=policy, CSP_DEFAULT_SRC=["'none'"]) == []
    assert found(settings, DJANGO, SECURE_CSP=None, SECURE_CSP_REPORT_ONLY=policy) == []
    settings.DJANGO_WS = {"PUBLIC_URL": "nowhere"}
    assert found(settings, DJANGO, SECURE_CSP=policy) == []
