"""What a request's head says."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from django_ws.gateway.http.requests import Request, plain_address


def made(target: str = "/", headers: dict[str, str] | None = None) -> Request:
    return Request(
        "GET", target, "HTTP/1.1", HTTPHeaders(headers or {}), "http", ("10.0.0.1", 1), ("", 0)
    )


def test_path_and_query() -> None:
    request = made("/ch%C3%A4t/a%20b%2F?q=%2F&?")
    assert request.path == "/chät/a b/"
    assert request.query == "q=%2F&?"
    assert made("/%FF").path == "/�"


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, 0),
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": "007"}, 7),
        ({"Transfer-Encoding": "Chunked"}, None),
    ],
)
def test_bodies(headers: dict[str, str], length: int | None) -> None:
    request = made(headers=headers)
    assert request.check_framing() is None
    assert request.length == length


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "3,3"},
        {"Content-Length": "٣"},
        {"Content-Length": "+3"},
        {"Content-Length": ""},
        {"Content-Length": "9" * 16},
        {"Transfer-Encoding": "gzip, chunked"},
        {"Transfer-Encoding": "chunked", "Content-Length": "3"},
    ],
)
def test_bodies_without_a_clear_end(headers: dict[str, str]) -> None:
    refusal = made(headers=headers).check_framing()
    assert refusal
    assert refusal.status == 400


def test_addresses() -> None:
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("::1") == "::1"
