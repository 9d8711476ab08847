"""What ENGINE may say."""

from __future__ import annotations

import pytest

from django_ws.store.urls import Server, Tls, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", Server("single", (("localhost", 6379),))),
        ("redis://10.0.0.5:7000/3", Server("single", (("10.0.0.5", 7000),), db=3)),
        ("redis://[::1]:7000?db=2", Server("single", (("::1", 7000),), db=2)),
        ("redis://[::1]", Server("single", (("::1", 6379),))),
        (
            "redis://me:p%40ss%2F%3A@host/0",
            Server("single", (("host", 6379),), username="me", password="p@ss/:"),
        ),
        ("redis://:secret@host", Server("single", (("host", 6379),), password="secret")),
        ("rediss://host", Server("single", (("host", 6379),), tls=Tls())),
        (
            "rediss://host?ssl_ca_certs=/ca.pem&ssl_check_hostname=false&ssl_cert_reqs=none",
            Server("single", (("host", 6379),), tls=Tls("/ca.pem", "", "", False, False)),
        ),
        ("unix:///run/valkey.sock?db=1", Server("single", path="/run/valkey.sock", db=1)),
        ("unix://:secret@/run/v", Server("single", path="/run/v", password="secret")),
        (
            "redis+sentinel://one,two:7000/main/2?sentinel_password=s",
            Server(
                "sentinel",
                (("one", 26379), ("two", 7000)),
                db=2,
                service="main",
                sentinel_password="s",
            ),
        ),
        (
            "rediss+cluster://u:p@one:1,two:2",
            Server("cluster", (("one", 1), ("two", 2)), username="u", password="p", tls=Tls()),
        ),
    ],
)
def test_a_server(url: str, expected: Server) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "must begin with"),
        ("http://host", "must begin with"),
        ("redis://", "must begin with"),
        ("redis://host:port", "where host:port belongs"),
        ("redis://host:0", "where host:port belongs"),
        ("redis://host/db", "by a number"),
        ("redis://host/1/2", "means nothing"),
        ("redis://one,two", "several hosts"),
        ("redis://host?ssl_ca_certs=x", "has no option 'ssl_ca_certs'"),
        ("rediss://host?ssl_cert_reqs=perhaps", "required or none"),
        ("unix://host/path", "must name a file"),
        ("unix://", "must begin with"),
        ("redis+sentinel://one", "must name the service"),
        ("redis+cluster://one/1", "means nothing"),
        ("redis+cluster://one?db=1", "means nothing in a cluster"),
        ("redis+cluster://me:x@one,me:x@two", "more than one @"),
        ("redis://host#1", "means nothing"),
        ("redis://host:6379:6379", "where host:port belongs"),
    ],
)
def test_no_server(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:secret@host/1", "redis://host:6379"),
        ("rediss+cluster://:secret@[::1]:1,two", "rediss+cluster://[::1]:1,two:6379"),
        ("redis+sentinel://:secret@one/main", "redis+sentinel://one:26379/main"),
        ("unix://:secret@/run/v", "unix:///run/v"),
    ],
)
def test_people_see_no_passwords(url: str, shown: str) -> None:
    assert str(parse(url)) == shown


def test_mistakes_tell_no_passwords() -> None:
    for url in (
        "redis://me:secret@host:port",
        ":secret@host",
        "redis://:secret@one,two",
        "redis://:secret/x@host",
        "redis://:x/secret@host",
        "redis://me:6379/secret@host",
        "redis://:secret#x@host",
        "redis://:secret?x@host",
        "redis://:x?secret@host",
        "redis://:secret\u2100@host",
        "redis://:[secret@host",
        "unix://:secret/x@/run/v",
        "redis+cluster://me:secret@one,me:secret@two",
    ):
        with pytest.raises(ValueError, match="e") as caught:
            parse(url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_missing_is_named(option: str) -> None:
    tls = parse(f"rediss://host?{option}=/nowhere/file.pem").tls
    assert tls is not None
    with pytest.raises(OSError, match="/nowhere/file"):
        tls.context()
