"""Mistakes become system checks that say what to do."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.decorators import login_required
from django.core import checks
from django.db import connections

from django_ws.base import WebSocketHandler
from django_ws.checks import check_handlers, check_settings, with_flags
from django_ws.hook_checks import hook_problems


class AsyncMixin:
    async def on_message(self, message: Any) -> None: ...


class InheritsAsync(AsyncMixin, WebSocketHandler): ...  # type: ignore[misc]


@login_required  # that for views
class OfAViewsDecorator(WebSocketHandler): ...


class NeedsArgumentsMixin:
    def __init__(self, room: str) -> None: ...


class NeedsArguments(WebSocketHandler):
    def __init__(self, room: str) -> None: ...


class NeedsArgumentsOfAMixin(WebSocketHandler, NeedsArgumentsMixin): ...


class Fine(WebSocketHandler):
    def __init__(self, room: str = "lobby") -> None: ...


class Misspelt(WebSocketHandler):
    def on_mesage(self, message: Any) -> None: ...


class Aliased(WebSocketHandler):
    def on_disconnect(self) -> None: ...


class TooFew(WebSocketHandler):
    def on_message(self) -> None: ...  # type: ignore[override]


class OfChannels(WebSocketHandler):
    def receive(self, text_data: str) -> None: ...


class ViewMixin:
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any: ...


class OfAView(ViewMixin, WebSocketHandler): ...  # type: ignore[misc]


class Helpers(WebSocketHandler):
    """Has methods of its own, and hooks in every form that works."""

    on_something_else = print

    def on_order_paid(self, order: Any) -> None: ...
    def on_message(self, *args: Any) -> None: ...
    def on_event(self, event: str, data: Any) -> None: ...
    def on_close(self, why: str = "") -> None: ...


instance = Fine()


def ids(messages: list[checks.CheckMessage]) -> list[str]:
    for message in messages:
        assert message.hint
    return [str(message.id).removeprefix("django_ws.") for message in messages]


def test_the_test_project_has_no_mistakes() -> None:
    assert checks.run_checks(tags=["django_ws"]) == []


def test_the_app_registers_the_checks(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": f"{__name__}.Missing"}
    settings.DJANGO_WS = {"NIX": 1}
    assert sorted(ids(checks.run_checks(tags=["django_ws"]))) == ["E012", "E022"]


@pytest.mark.parametrize(
    ("handlers", "expected", "words"),
    [
        (None, "E001", "is missing"),
        ("a.B", "E001", "must be a dict"),
        ({"chat": "a.B"}, "E002", 'has no "default"'),
        ({"default": "a.B", "": "a.B"}, "E003", "has '' as a namespace"),
        ({"default": "a.B", 1: "a.B"}, "E003", "has 1 as a namespace"),
        ({"default": "a.B", "my-chat": "a.B"}, "W001", "cannot be in a URL"),
        ({"default": Fine}, "E004", "names no handler"),
        ({"default": {"hang_timeout": 1}}, "E004", "names no handler"),
        ({"default": {"handler": "a.B", "histry_size": 1}}, "E005", "'histry_size'"),
        ({"default": {"handler": "a.B", "on_worker_lost": "retry"}}, "E006", "'redeliver'"),
        ({"default": {"handler": "a.B", "history_size": -1}}, "E006", "0 or more"),
        ({"default": {"handler": "a.B", "hang_timeout": "1"}}, "E006", "number of seconds"),
    ],
)
def test_handlers_setting(
    settings: LazySettings, handlers: object, expected: str, words: str
) -> None:
    settings.DEFAULT_WS_HANDLERS = handlers
    messages = check_settings()
    assert ids(messages) == [expected]
    assert words in messages[0].msg


def test_a_setting_that_looks_like_it_is_named(settings: LazySettings) -> None:
    del settings.DEFAULT_WS_HANDLERS
    settings.DEFAULT_WS_HANDLER = {"default": "a.B"}
    (message,) = check_settings()
    assert message.hint == "There is a setting DEFAULT_WS_HANDLER: is that meant?"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["room-*", "*"], []),
        (["room-?", "room-*"], []),
        (["room-1", "room-[0-9]", "room-[!0-9]", "chat.*", "[]]"], []),
        (["*", "room-*"], ["W013"]),
        (["room-*", "room-1", "room-*-staff"], ["W013", "W013"]),
        ([r"room-\d+"], ["W014"]),
        (["room-<slug:room>", "room-{room}", "^room"], ["W014", "W014", "W014"]),
    ],
)
def test_patterns_of_groups(
    settings: LazySettings, patterns: list[str], expected: list[str]
) -> None:
    settings.DJANGO_WS = {"GROUPS": {pattern: {"presence": True} for pattern in patterns}}
    assert ids(check_settings()) == expected


@pytest.mark.parametrize(
    ("own", "expected", "words"),
    [
        (["x"], "E011", "must be a dict"),
        ({"ALOWED_ORIGINS": []}, "E012", "no setting 'ALOWED_ORIGINS'"),
        ({"ON_NO_GATEWAY": "ignore"}, "E013", "must be 'raise' or 'drop', not 'ignore'"),
        ({"GROUPS": ["room-*"]}, "E013", "must be a dict like"),
        ({"GROUPS": {"room-*": 100}}, "E013", "a dict of options for 'room-*'"),
        ({"GROUPS": {"room-*": {"histry": 1}}}, "E013", "an unknown option 'histry'"),
        ({"GROUPS": {"room-*": {"history_size": -1}}}, "E013", "for 'room-*': a value must be"),
        ({"GROUPS": {"room-*": {"join_leave": "all"}}}, "E013", "True, False or 'user', not 'all'"),
        ({"MAX_PENDING": -1}, "E013", 'DJANGO_WS["MAX_PENDING"] must be a whole number'),
        ({"MAX_PENDING": "1"}, "E013", "not '1'"),
        ({"MESSAGE_RATE": -0.5}, "E013", "0 or more"),
        ({"PING_INTERVAL": float("nan")}, "E013", "number of seconds"),
        ({"COMPRESSION": 1}, "E013", "True or False"),
        ({"ALLOWED_ORIGINS": "https://example.com"}, "E013", "must be a list"),
        ({"ALLOWED_ORIGINS": ["example.com"]}, "E013", "not 'example.com'"),
        ({"ALLOWED_ORIGINS": ["null"]}, "E013", "cannot have 'null'"),
        ({"ALLOWED_ORIGINS": ["https://example.com/"]}, "E013", "https://example.com"),
        ({"PUBLIC_URL": "ws.example.com"}, "E013", "wss://ws.example.com"),
        ({"PROJECT": ""}, "E013", "not empty"),
        ({"WEBSOCKET_URL": "("}, "E014", "no regular expression"),
        ({"CERTFILE": "/nowhere", "KEYFILE": __file__}, "E015", "cannot be read"),
        ({"PUSH_SOCKET": "tcp://0.0.0.0:9000"}, "E016", "must stay on loopback"),
        ({"PUSH_SOCKET": "ipc:///tmp/x", "SUB_SOCKET": "ipc:///tmp/x"}, "E016", "are the same"),
        ({"KEYFILE": __file__}, "E017", "KEYFILE is given without CERTFILE"),
        ({"PUSH_SOCKET": f"ipc:///{'x' * 100}"}, "W002", "no room for the suffix"),
    ],
)
def test_own_settings(settings: LazySettings, own: object, expected: str, words: str) -> None:
    settings.DJANGO_WS = own
    messages = check_settings()
    assert ids(messages) == [expected]
    assert words in messages[0].msg


@pytest.mark.parametrize(
    ("typo", "meant"), [("ALOWED_ORIGINS", "ALLOWED_ORIGINS"), ("max_pending", "MAX_PENDING")]
)
def test_the_nearest_name_is_hinted(settings: LazySettings, typo: str, meant: str) -> None:
    settings.DJANGO_WS = {typo: []}
    assert check_settings()[0].hint == f"Did you mean '{meant}'?"


def test_flags_are_checked_with_the_same_words() -> None:
    messages = check_settings(flags={"pool_size": 0})
    assert [message.msg for message in messages] == [
        "--pool must be a whole number, 1 or more, not 0."
    ]


def test_registered_checks_see_the_flags_of_the_command(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_WS = {"CERTFILE": __file__}
    database = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60, "OPTIONS": {}}
    monkeypatch.setitem(connections.settings, "default", database)
    with with_flags({"mode": "threaded", "keyfile": __file__, "workers": None}):
        assert ids(checks.run_checks(tags=["django_ws"])) == ["W004"]
    assert ids(checks.run_checks(tags=["django_ws"])) == ["E017"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"/ws/(?P<namespace>[\w-]+)/", []),
        (r"/ws/(?P<room>\d+)/(?P<namespace>[^/]+)", []),
        (r"/ws/(?P<namespace>\w+)/", ["W001"]),
        (r"/ws/[\w-]+", ["W001"]),
    ],
)
def test_a_namespace_beyond_words_needs_a_pattern_that_takes_it(
    settings: LazySettings, pattern: str, expected: list[str]
) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": "a.B", "my-chat": "a.B"}
    assert ids(check_settings(flags={"websocket_url": pattern})) == expected
    settings.DJANGO_WS = {"WEBSOCKET_URL": pattern}
    assert ids(check_settings()) == expected


@pytest.mark.parametrize(
    ("path", "expected", "words"),
    [
        ("Echo", "E021", "no dotted path"),
        ("nowhere.handlers.Echo", "E021", "No module named 'nowhere'"),
        ("tests.handlrs.Echo", "E021", "No module named 'tests.handlrs'"),
        ("tests.handlers.Ecko", "E022", "has no 'Ecko'"),
        ("tests.handlers.Any", "E023", "no handler class"),
        (f"{__name__}.instance", "E023", "no handler class"),
        ("tests.handlers", "E022", "tests.handlers is a module"),
        ("tests.converters", "E022", "tests.converters is a module"),
        (f"{__name__}.OfAViewsDecorator", "E023", "no handler class"),
        (f"{__name__}.InheritsAsync", "E024", "on_message is an async def"),
        (f"{__name__}.NeedsArguments", "E025", "missing a required argument: 'room'"),
        (f"{__name__}.NeedsArgumentsOfAMixin", "E025", "missing a required argument: 'room'"),
        (f"{__name__}.Misspelt", "W007", "nothing calls on_mesage()"),
        (f"{__name__}.Aliased", "W007", "nothing calls on_disconnect()"),
        (f"{__name__}.TooFew", "E026", "on_message() "),
        (f"{__name__}.OfChannels", "W009", "receive(), which is a hook of Django Channels"),
        (f"{__name__}.OfAView", "E027", "ViewMixin overrides dispatch(request"),
    ],
)
def test_handler_classes(settings: LazySettings, path: str, expected: str, words: str) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": path}
    messages = check_handlers()
    assert ids(messages) == [expected]
    assert words in messages[0].msg
    assert "DEFAULT_WS_HANDLERS['default']" in messages[0].msg


def test_what_is_meant_is_said(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": f"{__name__}.Misspelt", "b": f"{__name__}.Aliased"}
    assert [message.hint for message in check_handlers()] == [
        "Did you mean on_message()?", "Did you mean on_close()?",
    ]  # fmt: skip


def test_methods_of_ones_own_are_fine(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": f"{__name__}.Helpers"}
    assert check_handlers() == []


def test_a_module_that_does_not_load_is_said_once(
    settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_handlers.py").write_text("def :\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.DEFAULT_WS_HANDLERS = {
        name: f"broken_handlers.{name.title()}" for name in ("default", "a", "b")
    }
    (message,) = check_handlers()
    assert "So it is with 2 more." in message.msg


def test_a_handler_with_optional_arguments_is_fine(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": f"{__name__}.Fine"}
    assert check_handlers() == []


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ("import os\nimport no_such_module", "No module named 'no_such_module'", 2),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero", 3),
        ("class Broken(:", "SyntaxError", 1),
        ("raise SystemExit(3)", "SystemExit: 3", 1),
        ("from django_ws.auth import login_required\nlogin_required(print)", "for handler", 2),
    ],
)
def test_a_module_that_raises_is_named_with_file_and_line(
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    words: str,
    line: int,
) -> None:
    (tmp_path / "broken_handlers.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_handlers", raising=False)
    settings.DEFAULT_WS_HANDLERS = {"default": "broken_handlers.Chat"}
    (message,) = check_handlers()
    assert message.id == "django_ws.E021"
    assert words in message.msg
    assert message.hint == f"See {tmp_path / 'broken_handlers.py'}, line {line}."


@pytest.mark.parametrize(
    ("engine", "age", "options", "mode", "expected"),
    [
        ("postgresql", 0, {}, "pool", ["W003"]),
        ("postgresql", 0, {"pool": True}, "pool", []),
        ("postgresql", 60, {}, "pool", []),
        ("sqlite3", 0, {}, "pool", []),
        ("postgresql", 0, {}, "threaded", []),
        ("postgresql", 60, {}, "threaded", ["W004"]),
        ("mysql", None, {}, "gevent", ["W004"]),
        ("postgresql", 60, {}, "multiprocess", []),
        ("postgresql", 0, {}, "multiprocess", []),
    ],
)
def test_database_connections(
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    age: int | None,
    options: dict[str, Any],
    mode: str,
    expected: list[str],
) -> None:
    database = {"ENGINE": f"django.db.backends.{engine}", "CONN_MAX_AGE": age, "OPTIONS": options}
    monkeypatch.setitem(connections.settings, "default", database)
    assert ids(check_settings(flags={"mode": mode})) == expected


def test_the_unrelated_package_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: name)
    (message,) = check_settings()
    assert message.id == "django_ws.W005"
    assert "unrelated package django-ws" in message.msg


def entry(url: str) -> dict[str, str]:
    return {"handler": "a.B", "url": url}


@pytest.mark.parametrize(
    ("handlers", "expected"),
    [
        ({"chat": entry("ws/<slug:room>/")}, []),  # nothing leads to "default"
        ({"chat": entry("ws/<slug:room>/"), "other": "a.B"}, ["E002"]),
        ({"a": entry("/ws/")}, ["E007"]),
        ({"a": entry("ws/<nix:room>/")}, ["E007"]),
        ({"a": entry("ws/<slug:room/")}, ["E007"]),
        ({"a": entry("")}, ["E006"]),
        ({"a": entry("ws/<slug:x>/"), "b": entry("ws/<slug:y>/")}, ["E008"]),
        ({"a": entry("ws/<str:x>/"), "b": entry("ws/<slug:y>/")}, ["W006"]),
        ({"a": entry("ws/<str:x>/"), "b": entry("ws/lobby/")}, ["W006"]),
        ({"a": entry("ws/lobby/"), "b": entry("ws/<str:y>/")}, []),
        ({"a": entry("ws/<int:x>/"), "b": entry("ws/<slug:y>/")}, []),
        ({"default": "a.B", "x": "a.B", "a": entry("socket/<path:x>")}, ["W001"]),
    ],
)
def test_urls_of_namespaces(
    settings: LazySettings, handlers: dict[str, object], expected: list[str]
) -> None:
    settings.DEFAULT_WS_HANDLERS = handlers
    assert ids(check_settings()) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"/ws/(?P<namespace>\w+)/", []),
        (r"/(?:ws|sock)/(?P<namespace>\w+)(?:/(?P<room>\d{4}))?", []),
        (r"/ws/(?P<namespace>(\w+)*)/", ["W008"]),
        (r"/ws/(?P<namespace>(?:\w+-?)+)/", ["W008"]),
        (r"/ws/(?P<namespace>[\w+*()]+)/", []),
    ],
)
def test_websocket_url(settings: LazySettings, pattern: str, expected: list[str]) -> None:
    settings.DEFAULT_WS_HANDLERS = {"chat": "a.B"}
    found = ids(check_settings(flags={"websocket_url": pattern}))
    assert [each for each in found if each != "E002" or "*" not in pattern] == expected


def test_every_hook_may_be_overridden() -> None:
    class Everything(WebSocketHandler):
        pass

    for hook in WebSocketHandler.hooks:
        setattr(Everything, hook, lambda self, *args: None)
    assert list(hook_problems("label", Everything)) == []
