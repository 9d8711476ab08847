"""Host and Origin are decided as Django decides them."""

from __future__ import annotations

import itertools

import pytest
from django.http.request import split_domain_port, validate_host

from django_ws.gateway.http.hosts import check_host, check_origin, split_host

HOSTS = [
    "example.com",
    "Example.COM",
    "example.com.",
    "example.com:8000",
    "example.com.:8000",
    "www.example.com",
    "badexample.com",
    "a.b.example.com:80",
    "localhost",
    "127.0.0.1:8888",
    "[::1]",
    "[::1]:8888",
    "[::FFFF:127.0.0.1]",
    "[::1",
    "::1",
    "example.com:port",
    "example.com:",
    "user@example.com",
    "example.com/path",
    "example.com, evil.example",
    "ex ample.com",
    "example.com\n",
    "",
    ":80",
    "..",
    "münchen.de",
]
ALLOWED = [
    ["*"],
    [".example.com"],
    ["example.com"],
    ["EXAMPLE.com", "[::1]"],
    ["127.0.0.1", ".localhost", "localhost"],
    [""],
    [],
]


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_are_split_as_django_does(host: str) -> None:
    assert split_host(host) == split_domain_port(host)


@pytest.mark.parametrize(("host", "allowed"), list(itertools.product(HOSTS, ALLOWED)))
def test_hosts_are_allowed_as_django_does(host: str, allowed: list[str]) -> None:
    domain, _ = split_domain_port(host)
    expected = bool(domain and validate_host(domain, allowed))
    refusal = check_host(host, allowed)
    assert (refusal is None) is expected
    assert refusal is None or refusal.status == 400


def test_the_log_names_the_host() -> None:
    refusal = check_host("evil.example", ["example.com"])
    assert refusal
    assert "evil.example" not in refusal.body(debug=False)
    assert "'evil.example'" in refusal.why(debug=False)
    assert "Add 'evil.example' to ALLOWED_HOSTS" in refusal.body(debug=True)


def test_a_missing_host_is_refused() -> None:
    assert check_host(None, ["*"])


def allows(
    origin: str | None,
    host: str = "app.example.com",
    scheme: str = "http",
    allowed: tuple[str, ...] = (),
    missing: bool = False,
) -> bool:
    refusal = check_origin(origin, host=host, scheme=scheme, allowed=allowed, allow_missing=missing)
    assert refusal is None or refusal.status == 403
    return refusal is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://app.example.com", "app.example.com"),
        ("http://app.example.com:8000", "app.example.com:8888"),
        ("http://APP.example.com", "app.EXAMPLE.com."),
        ("https://app.example.com", "app.example.com"),
        ("http://[::1]:8000", "[::1]:8888"),
    ],
)
def test_the_same_host_whatever_the_port(origin: str, host: str) -> None:
    assert allows(origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "http://app.example.com.evil.example",
        "http://evil.example/app.example.com",
        "http://app.example.com@evil.example",
        "http://app.example.com, http://app.example.com",
        "app.example.com",
        "//app.example.com",
        "ftp://app.example.com",
        "file://",
        "null",
        "",
    ],
)
def test_other_hosts_are_refused(origin: str) -> None:
    assert not allows(origin)


def test_a_missing_origin() -> None:
    assert not allows(None)
    assert not allows(None, allowed=("*",))
    assert allows(None, missing=True)


def test_tls_needs_a_page_over_tls() -> None:
    assert not allows("http://app.example.com", scheme="https")
    assert not allows("http://app.example.com", scheme="https", allowed=("*",))
    assert allows("https://app.example.com", scheme="https")


@pytest.mark.parametrize(
    ("origin", "entry", "allowed"),
    [
        ("https://other.example", "https://other.example", True),
        ("https://other.example:443", "https://other.example", True),
        ("https://Other.example", "https://other.EXAMPLE", True),
        ("https://other.example:8443", "https://other.example", False),
        ("https://other.example:8443", "https://other.example:8443", True),
        ("http://other.example", "https://other.example", False),
        ("https://a.b.other.example", "https://*.other.example", True),
        ("https://other.example", "https://*.other.example", True),
        ("https://another.example", "https://*.other.example", False),
        ("https://x.other.example:8443", "https://*.other.example", False),
        ("https://x.other.example:8443", "https://*.other.example:8443", True),
        ("https://anything.example", "*", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("null", "*", False),
        ("null", "null", False),
    ],
)
def test_listed_origins(origin: str, entry: str, allowed: bool) -> None:
    assert allows(origin, allowed=(entry,)) is allowed
