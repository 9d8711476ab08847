"""The example of ``docs/handlers.md`` for JSON Web Tokens, as it stands there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import signing

from django_ws.testing import WebSocketClient

pytestmark = pytest.mark.django_db

PAGE = Path(__file__).parents[2] / "docs" / "handlers.md"


class InvalidTokenError(Exception):
    """Of the stand-in for PyJWT, which the tests do not need otherwise."""


def decode(token: str, key: str, algorithms: list[str]) -> Any:
    assert algorithms == ["HS256"]
    try:
        return json.loads(signing.Signer(key=key, sep=".").unsign(token).replace("_", '"'))
    except (signing.BadSignature, ValueError) as error:
        raise InvalidTokenError from error


def token(user: User, key: str = "a key") -> str:
    return signing.Signer(key=key, sep=".").sign(f"{{_sub_:{user.pk}}}")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> dict[str, Any]:
    settings.JWT_KEY = "a key"
    jwt = ModuleType("jwt")
    jwt.decode, jwt.InvalidTokenError = decode, InvalidTokenError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jwt", jwt)
    (code,) = re.findall(r"```python\n(import jwt\n.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    return names


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


def test_in_the_query(example: dict[str, Any], ann: User) -> None:
    client = WebSocketClient(example["Api"])
    assert client.connect(f"/socket?token={token(ann)}")
    assert client.handler.user == ann
    client.close()
    assert not client.connect(f"/socket?token={token(ann, 'another')}")
    assert (client.status, client.reason) == (401, "bad token")
    assert not client.connect("/socket")
    assert client.reason == "login required"


def test_as_a_subprotocol(example: dict[str, Any], ann: User) -> None:
    client = WebSocketClient(example["Api"])
    assert client.connect("/socket", subprotocols=["token", token(ann)])
    assert client.subprotocol == "token"
    assert client.handler.user == ann


def test_as_the_first_message(example: dict[str, Any], ann: User) -> None:
    client = WebSocketClient(example["FirstMessage"])
    assert client.connect("/socket")
    client.send(token(ann))
    assert client.handler.user == ann
    other = WebSocketClient(example["FirstMessage"])
    assert other.connect("/socket")
    other.send("bad")
    assert other.close_code == 4401


def test_who_is_inactive_is_nobody(example: dict[str, Any], ann: User) -> None:
    User.objects.update(is_active=False)
    client = WebSocketClient(example["FirstMessage"])
    client.connect("/socket")
    client.send(token(ann))
    assert client.close_code == 4401
    refused = WebSocketClient(example["Api"])
    refused.force_login(User.objects.create_user("bob"))  # whose session is not asked then
    assert not refused.connect(f"/socket?token={token(ann)}")
    assert refused.status == 401
