"""Which WebSocket a path leads to."""

from __future__ import annotations

import msgspec
import pytest

from django_ws.gateway.http.routes import Found, RouteError, Routes
from django_ws.options import DEFAULT_WEBSOCKET_URL, GatewayConfig, Route

CHAT = Route("chat", r"/ws/chat/(?P<room>[-a-zA-Z0-9_]+)/")
ROUTES = [CHAT, Route("page", r"/ws/page/(?P<number>[0-9]+)/"), Route("chat", r"/ws/lobby/")]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/ws/chat/a-room/", Found("chat", {"room": "a-room"})),
        ("/ws/lobby/", Found("chat")),
        ("/ws/page/007/", Found("page", {"number": "007"})),
        ("/socket/other", Found("other")),
        ("/socket/", Found("default")),
        ("/socket", Found("default")),
        ("/ws/page/x/", None),
        ("/ws/chat/a-room", None),
        ("/ws/chat/a-room/\n", None),
        ("x/ws/lobby/", None),
        ("/socket/chat", None),
        ("/elsewhere", None),
    ],
)
def test_paths(path: str, found: Found | None) -> None:
    assert Routes(ROUTES, DEFAULT_WEBSOCKET_URL).find(path) == found


def test_the_first_route_wins() -> None:
    routes = Routes([Route("one", "/x/(?P<a>.*)"), Route("two", "/x/y")], DEFAULT_WEBSOCKET_URL)
    assert routes.find("/x/y") == Found("one", {"a": "y"})


def test_routes_come_before_the_url_of_the_others() -> None:
    routes = Routes([Route("chat", "/socket/(?P<room>a+)")], DEFAULT_WEBSOCKET_URL)
    assert routes.find("/socket/aa") == Found("chat", {"room": "aa"})
    assert routes.find("/socket/b") == Found("b")


def test_a_default_with_its_own_url_is_found_there_only() -> None:
    routes = Routes([Route("default", "/ws/")], DEFAULT_WEBSOCKET_URL)
    assert routes.find("/ws/") == Found("default")
    assert routes.find("/socket/") is None


def test_groups_that_took_no_part_are_no_arguments() -> None:
    routes = Routes([Route("chat", "/x(?:/(?P<room>a+))?")], DEFAULT_WEBSOCKET_URL)
    assert routes.find("/x") == Found("chat")


@pytest.mark.parametrize(
    ("routes", "url", "what"),
    [([Route("chat", "/(")], "/", "the URL of 'chat'"), ([], "/(", "--websocket-url")],
)
def test_what_is_no_expression_is_named(routes: list[Route], url: str, what: str) -> None:
    with pytest.raises(RouteError, match=what):
        Routes(routes, url)


def test_routes_reach_the_gateway_as_they_were() -> None:
    config = GatewayConfig(project="p", routes=ROUTES)
    assert msgspec.json.decode(msgspec.json.encode(config), type=GatewayConfig) == config
    assert Routes(ROUTES, "/x").known == [route.pattern for route in ROUTES] + ["/x"]
