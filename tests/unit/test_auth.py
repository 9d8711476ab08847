"""Who may connect: decorators, options, the middleware, tokens and tickets."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory

from django_ws import auth, tickets
from django_ws.auth import (
    login_not_required,
    login_required,
    make_ticket,
    permission_required,
    user_passes_test,
)
from django_ws.base import WebSocketHandler
from django_ws.exceptions import Reject
from django_ws.testing import WebSocketClient

pytestmark = pytest.mark.django_db


class Handler(WebSocketHandler):
    calls: list[str] = []

    def on_connect(self) -> None:
        self.calls.append("on_connect")

    def on_message(self, message: Any) -> None:
        self.send(f"{self.user}")

    def on_close(self) -> None:
        self.calls.append("on_close")


@pytest.fixture(autouse=True)
def _calls() -> None:
    Handler.calls.clear()


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="secret")


def connect(
    kind: type[WebSocketHandler], user: User | None = None, path: str = "default"
) -> WebSocketClient:
    client = WebSocketClient(kind)
    if user is not None:
        client.force_login(user)
    client.connect(path)
    return client


def status(*args: Any) -> int | None:
    return connect(*args).status


def may_add_things(user: User) -> None:
    kind = ContentType.objects.get_for_model(User)
    user.user_permissions.add(Permission.objects.get(content_type=kind, codename="add_user"))


# ---------------------------------------------------------------- decorators


def test_without_decorators_everybody_connects() -> None:
    assert status(type("H", (Handler,), {})) == 101


def test_login_required(ann: User) -> None:
    kind = login_required(type("H", (Handler,), {}))
    refused = connect(kind)
    assert (refused.status, refused.reason) == (401, "login required")
    assert Handler.calls == []
    assert status(kind, ann) == 101


def test_a_subclass_inherits_what_is_required(ann: User) -> None:
    kind = user_passes_test(lambda user: user.username == "bob")(
        login_required(type("H", (Handler,), {}))
    )
    inheriting = user_passes_test(lambda user: True)(type("Sub", (kind,), {}))
    assert status(inheriting) == 401
    assert status(inheriting, ann) == 403
    assert not hasattr(Handler, "_user_tests")


def test_permission_required(ann: User) -> None:
    kind = permission_required("auth.add_user")(type("H", (Handler,), {}))
    assert status(kind) == 401
    refused = connect(kind, ann)
    assert (refused.status, refused.reason) == (403, "permission denied")
    may_add_things(ann)
    assert status(kind, ann) == 101
    both = permission_required(["auth.add_user", "auth.view_user"])(type("H", (Handler,), {}))
    assert status(both, ann) == 403


@pytest.mark.parametrize(
    "decorator",
    [login_required, login_not_required, permission_required("a.b"), user_passes_test(bool)],
)
def test_a_hook_or_a_view_that_would_only_look_protected(decorator: Any) -> None:
    with pytest.raises(TypeError, match=r"for handler classes, and Handler.on_message is none"):
        decorator(Handler.on_message)


@pytest.mark.parametrize(
    "dispatch",
    [
        lambda self, hook, *args: None if hook == "authorize" else getattr(self, hook)(*args),
        lambda self, hook, *args: getattr(self, hook)(*args),
    ],
    ids=["swallowing", "without-super"],
)
def test_no_override_switches_the_check_off(ann: User, dispatch: Any) -> None:
    kind = login_required(type("H", (Handler,), {"dispatch": dispatch}))
    assert status(kind) == 401
    assert status(kind, ann) == 101


def test_a_dispatch_that_catches_everything_does_not_either() -> None:
    class Catching(Handler):
        def dispatch(self, hook: str, *args: Any) -> Any:
            try:
                return super().dispatch(hook, *args)
            except Exception:
                return True

    assert status(login_required(Catching)) == 401


def test_a_method_named_authorize_is_the_handlers_own_affair() -> None:
    kind = type("H", (Handler,), {"authorize": lambda self, *args: True})
    assert status(login_required(kind)) == 401


def test_the_check_runs_inside_dispatch_once(ann: User) -> None:
    class Wrapped(Handler):
        def dispatch(self, hook: str, *args: Any) -> Any:
            self.calls.append(hook)
            return super().dispatch(hook, *args)

    assert status(login_required(Wrapped), ann) == 101
    assert Handler.calls == ["authorize", "on_connect", "on_connect"]


# ---------------------------------------------------------------- settings


class OwnLoginRequired(LoginRequiredMiddleware):
    """A project's."""


@pytest.mark.parametrize(
    "path",
    [
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        f"{__name__}.OwnLoginRequired",
    ],
)
def test_the_middleware_counts_for_handlers(settings: LazySettings, ann: User, path: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, path]
    kind = type("H", (Handler,), {})
    assert status(kind) == 401
    assert status(kind, ann) == 101
    assert status(login_not_required(type("Open", (kind,), {}))) == 101


@pytest.mark.parametrize(
    ("option", "anonymous", "logged_in"),
    [
        ("login_required", 401, 101),
        ("login_not_required", 101, 101),
        ({"permission": "auth.add_user"}, 401, 403),
        ({"permission": ["auth.add_user", "auth.view_user"]}, 401, 403),
    ],
)
def test_the_option_of_a_namespace(
    settings: LazySettings, ann: User, option: Any, anonymous: int, logged_in: int
) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": {"handler": f"{__name__}.Handler", "auth": option},
        "login": f"{__name__}.Handler",
    }
    assert status(Handler) == anonymous
    assert status(Handler, ann) == logged_in
    assert status(Handler, None, "login") == 101


def test_no_setting_takes_back_what_a_class_asks_for(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": {"handler": f"{__name__}.Handler", "auth": "login_not_required"}
    }
    assert status(login_required(type("H", (Handler,), {}))) == 401


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_refusal_that_a_page_can_read(settings: LazySettings, ann: User, code: int) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": {"handler": f"{__name__}.Handler", "refuse": "close"}
    }
    kind = permission_required("auth.add_user")(type("H", (Handler,), {}))
    client = connect(kind, ann if code == 4403 else None)
    assert client.accepted
    assert client.close_code == code
    assert Handler.calls == []


def test_what_on_connect_refuses_can_be_read_too(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": {"handler": f"{__name__}.Handler", "refuse": "close"}
    }
    client = connect(type("H", (Handler,), {"on_connect": lambda self: False}))
    assert (client.close_code, Handler.calls) == (4403, [])
    other = connect(type("H", (Handler,), {"on_connect": lambda self: _reject(404)}))
    assert other.status == 404


def _reject(status: int) -> None:
    raise Reject(status)


# ---------------------------------------------------------------- tokens


class Token(Handler):
    def authenticate(self) -> Any:
        name = self.request.GET.get("token")
        if name == "bad":
            raise Reject(401, "bad token")
        return User.objects.filter(username=name).first()


def test_authenticate_names_the_user(ann: User) -> None:
    client = connect(login_required(Token), None, "/socket/?token=ann")
    client.send("")
    assert client.receive() == "ann"
    assert status(Token, None, "/socket/?token=nobody") == 401
    refused = connect(Token, None, "/socket/?token=bad")
    assert (refused.status, refused.reason) == (401, "bad token")


def test_a_user_need_be_no_model() -> None:
    class Machine:
        is_authenticated = True
        pk = "robot"

        def has_perms(self, perms: Any) -> bool:
            return True

        def __str__(self) -> str:
            return "robot"

    kind = type("H", (Handler,), {"authenticate": lambda self: Machine()})
    client = connect(permission_required("auth.add_user")(kind))
    client.send("")
    assert client.receive() == "robot"


# ---------------------------------------------------------------- tickets


def by_ticket(ticket: str, namespace: str = "default", kind: Any = Handler) -> WebSocketClient:
    return connect(kind, None, f"/socket/{namespace}?ticket={ticket}")


def test_a_ticket_lets_in_once(ann: User) -> None:
    ticket = make_ticket(ann)
    client = by_ticket(ticket, kind=login_required(type("H", (Handler,), {})))
    client.send("")
    assert client.receive() == "ann"
    again = by_ticket(ticket)
    assert (again.status, again.reason) == (401, "the ticket is not valid")


def test_a_ticket_for_one_namespace(ann: User) -> None:
    assert by_ticket(make_ticket(ann, namespace="json")).status == 401
    assert by_ticket(make_ticket(ann, namespace="json"), "json").status == 101


def test_a_bad_ticket_is_refused_even_with_a_session(ann: User) -> None:
    assert status(Handler, ann, "/socket/?ticket=forged") == 401
    ticket = make_ticket(ann)
    assert by_ticket(ticket[:-1] + ("A" if ticket[-1] != "A" else "B")).status == 401
    assert by_ticket("").status == 101  # none at all


def test_an_expired_ticket(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    ticket = make_ticket(ann, max_age=5)
    later = time.time() + 7
    monkeypatch.setattr("django_ws.tickets.time.time", lambda: later)
    assert by_ticket(ticket).status == 401


def test_a_ticket_dies_with_password_activity_and_user(ann: User) -> None:
    tickets = [make_ticket(ann) for _ in range(3)]
    ann.set_password("other")
    ann.save()
    assert by_ticket(tickets[0]).status == 401
    fresh = make_ticket(ann)
    User.objects.update(is_active=False)
    assert by_ticket(fresh).status == 401
    User.objects.all().delete()
    assert by_ticket(tickets[2]).status == 401


def test_a_ticket_survives_a_rotated_secret_key(settings: LazySettings, ann: User) -> None:
    ticket, old = make_ticket(ann), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [old]
    assert by_ticket(ticket).status == 101
    settings.SECRET_KEY_FALLBACKS = []
    settings.SECRET_KEY = old
    other = make_ticket(ann)
    settings.SECRET_KEY = "new"
    assert by_ticket(other).status == 401


def test_what_nests_too_deeply_is_no_ticket() -> None:
    depth = sys.getrecursionlimit()
    assert tickets.find("", b'{"ticket": %s%s}' % (b"[" * depth, b"]" * depth)) == ""


def test_nobody_gets_a_ticket(ann: User) -> None:
    from django.contrib.auth.models import AnonymousUser

    with pytest.raises(ValueError, match="nobody"):
        make_ticket(AnonymousUser())
    with pytest.raises(ValueError, match="max_age"):
        make_ticket(ann, max_age=0)


def test_a_ticket_for_a_namespace_that_is_misspelt(ann: User) -> None:
    with pytest.raises(ValueError, match=r"has no 'jsno'\. Did you mean 'json'"):
        make_ticket(ann, namespace="jsno")


def test_the_tag_makes_a_ticket_of_the_page(ann: User, client: Client) -> None:
    client.force_login(ann)
    request = RequestFactory().get("/")
    request.user, request.session = ann, client.session  # type: ignore[assignment]
    page = Template('{% load django_ws %}{% ws_ticket "json" %}')
    ticket = page.render(Context({"request": request}))
    found = by_ticket(ticket, "json")
    assert found.status == 101
    from django_ws.wire.identity import session_digest

    key = client.session.session_key or ""
    assert found.handler.request.identity() == (str(ann.pk), session_digest(key))  # type: ignore[attr-defined]
    from django.contrib.auth.models import AnonymousUser

    request.user = AnonymousUser()
    assert page.render(Context({"request": request})) == ""
    with pytest.raises(TemplateSyntaxError, match="needs the request"):
        page.render(Context())


def test_what_is_public() -> None:
    assert all(hasattr(auth, name) for name in auth.__all__)
