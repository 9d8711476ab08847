"""What the hooks of one connection mean: every rule of the table of the public API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils import translation

from django_ws.base import JsonWebSocketHandler, WebSocketHandler
from django_ws.exceptions import ConnectionClosed, MessageTooBig, Reject, SendTimeout
from django_ws.worker.driver import drive
from django_ws.worker.lifecycle import Lifecycle, Refusal


class FakeHost:
    """Stands for a connection; notes what happens to it."""

    id = "gw-1"
    namespace = "default"
    kwargs: dict[str, str] = {}
    subprotocol = None
    groups: frozenset[str] = frozenset()
    stopping = False

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.state: dict[str, Any] = {}
        self.closed = self.closed_here = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.after: Callable[[], None] = lambda: None

    def send(self, message: str | bytes) -> None:
        if self.closed:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)
        self.log.append(message)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = self.closed_here = True
            self.close_code, self.close_reason = code, reason
            self.log.append((code, reason))

    def ticket_user(self) -> bool:
        return False

    def browser_leaves(self) -> None:
        self.closed = True
        self.close_code = 1001

    def before_hook(self) -> None:
        self.log.append("<")

    def after_hook(self, failed: bool) -> None:
        self.log.append(">")
        self.after()


class Handler(WebSocketHandler):
    """Does per hook what the test says."""

    does: dict[str, Any] = {}

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def _do(self, hook: str, *args: Any) -> Any:
        self.calls.append((hook, *args))
        what = self.does.get(hook)
        if isinstance(what, BaseException):
            raise what
        return what(self, *args) if callable(what) else what

    def on_connect(self) -> Any:
        return self._do("on_connect")

    def on_open(self, message: Any) -> Any:
        return self._do("on_open", message)

    def on_message(self, message: Any) -> None:
        self._do("on_message", message)

    def on_close(self) -> None:
        self._do("on_close")

    def on_restore(self) -> None:
        self._do("on_restore")


class Life:
    """A lifecycle whose hooks run in the test's thread."""

    def __init__(self, kind: type[WebSocketHandler], host: FakeHost, reraise: bool = False) -> None:
        self.host = host
        self.lifecycle = Lifecycle(kind, host, reraise=reraise)

    @property
    def handler(self) -> WebSocketHandler:
        return self.lifecycle.handler

    def connect(self) -> None:
        drive(self.lifecycle, self.host, self.lifecycle.connect())

    def message(self, data: str | bytes) -> None:
        drive(self.lifecycle, self.host, self.lifecycle.message(data))

    def restore(self, opened: bool, ended: bool) -> None:
        call = self.lifecycle.restore(opened, ended, lambda handler: None)
        drive(self.lifecycle, self.host, call)

    def close(self) -> None:
        drive(self.lifecycle, self.host, self.lifecycle.close())


def life(base: type[WebSocketHandler] = Handler, **does: Any) -> tuple[Life, FakeHost]:
    """A lifecycle whose hooks return, raise or call what is given."""
    host = FakeHost()
    return Life(type("H", (base,), {"does": does}), host), host


def connected(base: type[WebSocketHandler] = Handler, **does: Any) -> tuple[Life, FakeHost]:
    lifecycle, host = life(base, **does)
    lifecycle.connect()
    host.log.clear()
    if hasattr(lifecycle.handler, "calls"):
        lifecycle.handler.calls.clear()
    return lifecycle, host


def calls(lifecycle: Life) -> list[Any]:
    return lifecycle.handler.calls  # type: ignore[attr-defined, no-any-return]


# ---------------------------------------------------------------- on_connect


@pytest.mark.parametrize("verdict", [None, True])
def test_none_and_true_accept(verdict: Any) -> None:
    lifecycle, host = life(on_connect=verdict)
    lifecycle.connect()
    assert host.log == ["<", ">", "<", ">"]


@pytest.mark.parametrize("verdict", [0, 1, "", "no"])
def test_what_is_no_verdict_refuses_and_is_logged(
    verdict: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle, _ = life(on_connect=verdict)
    with pytest.raises(Refusal) as refused:
        lifecycle.connect()
    assert refused.value.status == 500
    assert f"on_connect returned {type(verdict).__name__}: return None or True" in caplog.text


def test_in_init_there_is_no_connection_yet() -> None:
    class Early(WebSocketHandler):
        def __init__(self) -> None:
            self.join("room")

    with pytest.raises(RuntimeError, match="no connection yet in __init__; use on_connect"):
        Life(Early, FakeHost(), reraise=True).connect()


def test_what_cannot_be_sent_is_named_by_the_method_that_was_called() -> None:
    lifecycle, _ = connected()
    handler = lifecycle.handler
    with pytest.raises(TypeError, match=r"send\(\) takes str or bytes, not list: use send_json"):
        handler.send([1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (False, 403, ""),
        (PermissionDenied("who are you"), 403, ""),
        (Reject(429, "slow down"), 429, "slow down"),
        (Reject(), 403, ""),
        (Http404("secret"), 500, ""),
        (ValueError("secret"), 500, ""),
        (SystemExit(3), 500, ""),
        (asyncio.CancelledError(), 500, ""),
        (KeyboardInterrupt(), 500, ""),
        (ConnectionClosed(), 500, ""),
    ],
)
def test_a_refusal_has_a_status(outcome: Any, status: int, reason: str) -> None:
    lifecycle, host = life(on_connect=outcome)
    with pytest.raises(Refusal) as caught:
        lifecycle.connect()
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert host.log == ["<", ">", "<", ">"]


def test_a_handler_that_cannot_be_made_refuses_with_500(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Handler):
        def __init__(self) -> None:
            raise LookupError("broken")

    lifecycle, _ = life(Broken)
    with pytest.raises(Refusal) as caught:
        lifecycle.connect()
    assert caught.value.status == 500
    assert "on_connect failed: LookupError" in caplog.text


def test_a_failing_on_connect_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lifecycle, _ = life(on_connect=ValueError("oops"))
    with pytest.raises(Refusal):
        lifecycle.connect()
    (record,) = caplog.records
    assert record.name == "django_ws.handler"
    assert record.getMessage() == "default: connection gw-1: on_connect failed: ValueError"
    assert record.exc_info is not None


@pytest.mark.parametrize(
    "outcome", [False, PermissionDenied(), Reject(401, ""), ConnectionClosed()]
)
def test_a_deliberate_refusal_is_not_logged(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    lifecycle, _ = life(on_connect=outcome)
    with pytest.raises(Refusal):
        lifecycle.connect()
    assert not caplog.records


# ---------------------------------------------------------------- on_open and on_message


def test_the_first_message_goes_to_on_open_and_then_to_on_message() -> None:
    lifecycle, _ = connected()
    lifecycle.message("1")
    lifecycle.message(b"2")
    assert calls(lifecycle) == [("on_open", "1"), ("on_message", "1"), ("on_message", b"2")]


@pytest.mark.parametrize("value", [True, False, 0, "", [], object()])
def test_on_open_that_returns_anything_keeps_the_message(value: Any) -> None:
    lifecycle, _ = connected(on_open=value)
    lifecycle.message("1")
    lifecycle.message("2")
    assert calls(lifecycle) == [("on_open", "1"), ("on_message", "2")]


def test_on_open_runs_once_even_if_it_fails() -> None:
    lifecycle, _ = connected(on_open=ValueError())
    lifecycle.message("1")
    lifecycle.message("2")
    assert calls(lifecycle) == [("on_open", "1"), ("on_message", "2")]


def test_after_its_own_close_in_on_open_the_message_goes_nowhere() -> None:
    lifecycle, _ = connected(on_open=lambda handler, _: handler.close())
    lifecycle.message("1")
    assert calls(lifecycle) == [("on_open", "1")]


def test_a_browser_that_leaves_at_once_is_still_handled() -> None:
    lifecycle, host = connected()
    host.browser_leaves()
    lifecycle.message("1")
    lifecycle.message("2")
    lifecycle.close()
    assert calls(lifecycle) == [
        ("on_open", "1"), ("on_message", "1"), ("on_message", "2"), ("on_close",),
    ]  # fmt: skip


def test_each_hook_is_surrounded_and_goes_through_dispatch() -> None:
    seen: list[str] = []

    class Wrapped(Handler):
        def dispatch(self, hook: str, *args: Any) -> Any:
            seen.append(hook)
            return super().dispatch(hook, *args)

    lifecycle, host = connected(Wrapped)
    lifecycle.message("1")
    lifecycle.close()
    assert seen == ["authorize", "on_connect", "on_open", "on_message", "on_close"]
    assert host.log == ["<", ">"] * 3


def test_a_context_variable_ends_with_its_hook() -> None:
    def activate(handler: Any, message: str) -> None:
        translation.activate("de")

    lifecycle, _ = connected(on_open=activate)
    before = translation.get_language()
    lifecycle.message("1")
    assert translation.get_language() == before


# ---------------------------------------------------------------- errors


def test_an_exception_is_logged_and_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle, host = connected(on_message=ValueError("oops"))
    lifecycle.message("1")
    assert host.log == ["<", ">", "<", ">", "<", (1011, "internal error"), ">"]
    assert "default: connection gw-1: on_message failed: ValueError" in caplog.text


def test_on_error_gets_the_exception_and_may_go_on() -> None:
    seen: list[Exception] = []

    class Careful(Handler):
        def on_error(self, exception: Exception) -> None:
            seen.append(exception)

    error = ValueError()
    lifecycle, host = connected(Careful, on_message=error)
    lifecycle.message("1")
    assert seen == [error]
    assert not host.closed


def test_permission_denied_closes_4403_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lifecycle, host = connected(on_message=PermissionDenied("secret"))
    lifecycle.message("1")
    assert (host.close_code, host.close_reason) == (4403, "permission denied")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "raised", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
@pytest.mark.parametrize("hook", ["on_open", "on_message", "on_restore"])
def test_nothing_that_leaves_a_hook_leaves_the_lifecycle(
    hook: str, raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle, host = connected(**{hook: raised})
    if hook == "on_restore":
        lifecycle, host = life(on_restore=raised)
        lifecycle.restore(opened=True, ended=False)
    else:
        lifecycle.message("1")
    assert host.close_code == 1011
    assert f"{hook} failed: {type(raised).__name__}" in caplog.text


def test_an_on_error_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    class Careless(Handler):
        def on_error(self, exception: Exception) -> None:
            raise LookupError from exception

    lifecycle, host = connected(Careless, on_message=ValueError())
    lifecycle.message("1")
    assert host.close_code == 1011
    assert "on_error failed: LookupError" in caplog.text


def test_sending_on_a_closed_connection_ends_the_hook_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reached: list[str] = []

    def late(handler: Any, message: str) -> None:
        handler.send("x")
        reached.append("never")

    lifecycle, host = connected(on_message=late)
    host.browser_leaves()
    lifecycle.message("1")
    assert not reached
    assert not caplog.records


@pytest.mark.parametrize(
    "error", [ConnectionClosed(), SendTimeout("slow"), MessageTooBig(2, 1)], ids=repr
)
def test_other_errors_of_sending_are_errors_of_the_hook(error: Exception) -> None:
    lifecycle, host = connected(on_message=error)  # the connection itself is open
    lifecycle.message("1")
    assert host.close_code == 1011


def test_what_tidying_up_raises_is_an_error_of_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle, host = connected()

    def fail() -> None:
        host.after = lambda: None
        raise ValueError("the session cannot be saved")

    host.after = fail
    lifecycle.message("1")
    assert host.close_code == 1011
    assert "on_open failed: ValueError" in caplog.text
    assert calls(lifecycle) == [("on_open", "1")]


def test_a_failed_hook_is_tidied_up_and_keeps_its_own_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Exception] = []

    class Careful(Handler):
        def on_error(self, exception: Exception) -> None:
            seen.append(exception)

    error = ValueError()
    lifecycle, host = connected(Careful, on_open=error)

    def fail() -> None:
        host.after = lambda: None
        raise LookupError

    host.after = fail
    lifecycle.message("1")
    assert seen == [error]
    assert "on_open failed: LookupError" in caplog.text


# ---------------------------------------------------------------- on_close and on_restore


@pytest.mark.parametrize("raised", [ValueError(), SystemExit(), KeyboardInterrupt()])
def test_what_on_close_raises_is_only_logged(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle, host = connected(on_close=raised)
    host.browser_leaves()
    lifecycle.close()
    assert "on_close failed" in caplog.text
    assert host.log == ["<", ">"]  # no on_error


def test_sending_in_on_close_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle, host = connected(on_close=lambda handler: handler.send("bye"))
    host.browser_leaves()
    lifecycle.close()
    assert not caplog.records


@pytest.mark.parametrize("opened", [True, False])
def test_a_restored_connection_goes_on_where_it_was(opened: bool) -> None:
    lifecycle, _ = life()
    lifecycle.restore(opened=opened, ended=False)
    lifecycle.message("1")
    first = [] if opened else [("on_open", "1")]
    assert calls(lifecycle) == [("on_restore",), *first, ("on_message", "1")]


def test_a_connection_restored_only_for_its_end_just_ends() -> None:
    lifecycle, _ = life()
    lifecycle.restore(opened=True, ended=True)
    lifecycle.close()
    assert calls(lifecycle) == [("on_close",)]


def test_a_failing_on_restore_goes_to_on_error() -> None:
    lifecycle, host = life(on_restore=ValueError())
    lifecycle.restore(opened=True, ended=False)
    assert host.close_code == 1011
    lifecycle.close()
    assert calls(lifecycle)[-1] == ("on_close",)


def test_a_handler_that_cannot_be_made_again_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Handler):
        def __init__(self) -> None:
            raise LookupError

    lifecycle, host = life(Broken)
    lifecycle.restore(opened=True, ended=False)
    assert host.close_code == 1011
    lifecycle.message("too early")  # was on its way already
    lifecycle.close()
    assert "on_close failed: LookupError" in caplog.text


# ---------------------------------------------------------------- JSON handlers


class Json(JsonWebSocketHandler):
    def __init__(self) -> None:
        self.got: list[Any] = []

    def on_message(self, message: Any) -> None:
        self.got.append(message)


@pytest.mark.parametrize(("text", "value"), [('{"a": [1]}', {"a": [1]}), ("null", None), ("3", 3)])
def test_json_handlers_get_objects(text: str, value: Any) -> None:
    lifecycle, host = connected(Json)
    lifecycle.message(text)
    assert lifecycle.handler.got == [value]  # type: ignore[attr-defined]
    assert not host.closed


@pytest.mark.parametrize(
    ("data", "code"), [(b"{}", 1003), ("{", 1007), ("", 1007), ("[" * 100_000, 1007)]
)
def test_json_handlers_close_on_what_is_none(
    data: str | bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle, host = connected(Json)
    lifecycle.message(data)
    assert host.close_code == code
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


# ---------------------------------------------------------------- for tests of users


@pytest.mark.parametrize("hook", ["on_open", "on_message", "on_close", "on_connect"])
def test_reraise_lets_exceptions_out(hook: str) -> None:
    host = FakeHost()
    lifecycle = Life(type("H", (Handler,), {"does": {hook: KeyError()}}), host, reraise=True)

    def run() -> None:
        lifecycle.connect()
        lifecycle.message("1")
        lifecycle.close()

    with pytest.raises(KeyError):
        run()
