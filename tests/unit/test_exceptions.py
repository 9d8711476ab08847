"""What exceptions say and carry, and what they refuse."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_ws import exceptions
from django_ws.exceptions import (
    ConnectionClosed,
    DjangoWSError,
    GatewayUnavailable,
    MessageTooBig,
    PublishError,
    Reject,
    RequestError,
)


def test_all_have_one_root() -> None:
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), DjangoWSError)
    assert issubclass(GatewayUnavailable, PublishError)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionClosed(), "the connection is closed (1006)"),
        (ConnectionClosed(1001, "bye"), "the connection is closed (1001: bye)"),
        (Reject(), "403"),
        (Reject(451, "not here"), "451 not here"),
        (RequestError(7, "sold out"), "7 sold out"),
        (RequestError(7), "7"),
        (MessageTooBig(11, 10), "a message has 11 bytes, over the limit of 10"),
        (MessageTooBig(11, 10, "an answer"), "an answer has 11 bytes, over the limit of 10"),
    ],
)
def test_words(error: Exception, text: str) -> None:
    assert str(error) == text


def test_what_they_carry() -> None:
    closed, reject, request = ConnectionClosed(1001, "bye"), Reject(451, "no"), RequestError(7, "x")
    assert (closed.code, closed.reason) == (1001, "bye")
    assert (reject.status, reject.reason) == (451, "no")
    assert (request.code, request.message) == (7, "x")


def test_what_goes_over_the_wire_is_plain() -> None:
    for words in (mark_safe("no"), gettext_lazy("no")):
        assert type(Reject(403, words).reason) is str  # type: ignore[arg-type]
    assert type(Reject(HTTPStatus.NOT_FOUND).status) is int
    with pytest.raises(TypeError):
        Reject(403.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        RequestError("sold out")  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [200, 399, 600])
def test_a_refusal_needs_the_status_of_an_error(status: int) -> None:
    with pytest.raises(ValueError, match=f"from 400 to 599, not {status}"):
        Reject(status)


@pytest.mark.parametrize("reason", ["two\r\nlines", "tab\t", "\x7f"])
def test_nothing_gets_into_the_headers_by_a_reason(reason: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        Reject(403, reason)
    with pytest.raises(UnicodeEncodeError):
        Reject(403, "half a pair \ud800")
