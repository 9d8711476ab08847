"""Flags, settings and defaults."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_ws import conf
from django_ws.conf_table import OPTIONS
from django_ws.options import (
    GatewayConfig,
    GroupConfig,
    Limits,
    NamespaceConfig,
    PublisherConfig,
    Route,
    WorkerConfig,
)
from django_ws.transport.files import default_endpoints


def test_defaults(settings: LazySettings) -> None:
    loaded = conf.load({})
    home = f"{Path(__file__).parents[1]} tests.settings"
    push, sub = default_endpoints(home)
    assert loaded.gateway == GatewayConfig(
        project="tests.urls",
        home=home,
        push_socket=push,
        sub_socket=sub,
        host="0.0.0.0",
        allowed_hosts=settings.ALLOWED_HOSTS,
        fingerprints=loaded.gateway.fingerprints,
    )
    assert loaded.worker == WorkerConfig(
        project="tests.urls",
        home=home,
        push_socket=push,
        sub_sockets=[sub],
        namespaces=loaded.worker.namespaces,
        limits=Limits(),
        fingerprints=loaded.worker.fingerprints,
    )
    assert (loaded.workers, loaded.gateways, loaded.reload, loaded.wsgi) == (1, 1, False, False)
    assert (loaded.max_requests, loaded.max_rss) == (0, 0)


def test_two_checkouts_are_two_projects_unless_they_say_otherwise(settings: LazySettings) -> None:
    def identity(base: str, **own: str) -> tuple[str, str, str]:
        settings.BASE_DIR = base
        settings.DJANGO_WS = own
        gateway = conf.load({}).gateway
        return gateway.project, gateway.home, gateway.sub_socket

    one, two = identity("/srv/one"), identity("/srv/two")
    assert one == ("tests.urls", "/srv/one tests.settings", one[2])
    assert one[2] != two[2]
    named = identity("/srv/one", PROJECT="shop")
    assert named == identity("/srv/two", PROJECT="shop") == ("shop", "", named[2])
    assert named[2] not in (one[2], two[2])
    given = identity("/srv/one", SUB_SOCKET="ipc:///tmp/ws_sub")
    assert given[2] == "ipc:///tmp/ws_sub"


def test_a_child_has_its_supervisors_home(settings: LazySettings) -> None:
    settings.BASE_DIR = "/srv/releases/2"
    try:
        conf.inherit_home("/srv/releases/1 settings")
        assert conf.load({}).worker.home == "/srv/releases/1 settings"
        conf.inherit_home(None)  # a supervisor of release 0.1 does not tell
        assert conf.load({}).worker.sub_sockets == ["ipc:///tmp/ws_sub"]
    finally:
        conf.inherit_home("")


def test_debug_changes_defaults(settings: LazySettings) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = []
    loaded = conf.load({})
    assert loaded.gateway.host == "127.0.0.1"
    assert loaded.gateway.allowed_hosts == [".localhost", "127.0.0.1", "[::1]"]
    assert loaded.gateway.debug
    assert loaded.worker.debug
    assert loaded.reload


def test_a_flag_beats_a_setting_beats_the_default(settings: LazySettings) -> None:
    settings.DEBUG = True
    settings.DJANGO_WS = {"WORKERS": 3, "POOL_SIZE": 7, "MODE": "threaded", "RELOAD": True}
    loaded = conf.load({"workers": 5, "reload": False, "pool_size": None})
    assert loaded.workers == 5
    assert loaded.reload is False
    assert loaded.worker.pool_size == 7
    assert loaded.worker.mode == "threaded"


def test_every_flag_has_a_place(settings: LazySettings, tmp_path: Path) -> None:
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    certfile.touch()
    keyfile.touch()
    loaded = conf.load(
        {
            "address": ("::1", 0),
            "push_socket": "ipc:///tmp/a",
            "sub_socket": "ipc:///tmp/b,tcp://127.0.0.1:9001",
            "websocket_url": "/ws/(?P<namespace>.*)",
            "mode": "gevent",
            "pool_size": 3,
            "workers": 2,
            "gateways": 1,
            "reload": True,
            "wsgi": True,
            "certfile": str(certfile),
            "keyfile": str(keyfile),
            "max_requests": 100,
            "max_rss": 512,
        }
    )
    gateway, worker = loaded.gateway, loaded.worker
    assert (gateway.host, gateway.port) == ("::1", 0)
    assert gateway.push_socket == worker.push_socket == "ipc:///tmp/a"
    assert gateway.sub_socket == "ipc:///tmp/b"
    assert worker.sub_sockets == ["ipc:///tmp/b", "tcp://127.0.0.1:9001"]
    assert gateway.websocket_url == "/ws/(?P<namespace>.*)"
    assert (gateway.certfile, gateway.keyfile) == (str(certfile), str(keyfile))
    assert (worker.mode, worker.pool_size) == ("gevent", 3)
    assert (loaded.workers, loaded.reload, loaded.wsgi) == (2, True, True)
    assert (loaded.max_requests, loaded.max_rss) == (100, 512)


def test_limits_reach_both_halves_and_can_be_switched_off(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"MAX_MESSAGE_SIZE": 10, "PING_INTERVAL": None, "MESSAGE_RATE": 0}
    loaded = conf.load({})
    assert loaded.gateway.limits == loaded.worker.limits
    assert loaded.gateway.limits == Limits(max_message_size=10, ping_interval=0, message_rate=0)
    assert conf.limits() == loaded.gateway.limits


@pytest.mark.parametrize("value", [0, None])
def test_without_a_drain_timeout_there_is_time(settings: LazySettings, value: object) -> None:
    settings.DJANGO_WS = {"DRAIN_TIMEOUT": value}
    assert conf.load({}).gateway.limits.drain_seconds >= 3600
    settings.DJANGO_WS = {"DRAIN_TIMEOUT": 5}
    assert conf.load({}).gateway.limits.drain_seconds == 5


def test_fingerprints_tell_which_setting_of_the_gateway_changed(settings: LazySettings) -> None:
    def fingerprints(flags: dict[str, object] | None = None, **own: object) -> dict[str, str]:
        settings.DJANGO_WS = own
        loaded = conf.load(flags or {})
        assert loaded.gateway.fingerprints == loaded.worker.fingerprints
        return loaded.gateway.fingerprints

    before = fingerprints()
    assert set(before) == {"DEBUG", "ALLOWED_HOSTS"}
    # What both halves must agree on, and what only concerns workers, has ways of its own.
    assert fingerprints(PUSH_SOCKET="ipc:///tmp/x", PROJECT="x", WORKERS=2, MODE="gevent") == before
    first = fingerprints(ALLOWED_ORIGINS={"https://a.example", "https://b.example"})
    assert first == fingerprints(ALLOWED_ORIGINS=["https://b.example", "https://a.example"])
    assert first["ALLOWED_ORIGINS"] != fingerprints(ALLOWED_ORIGINS=["*"])["ALLOWED_ORIGINS"]
    assert set(fingerprints(PING_TIMEOUT=1, ADDRESS="8889")) - set(before) == {
        "PING_TIMEOUT",
        "ADDRESS",
    }
    assert fingerprints({"address": 9000}, ADDRESS="8889")["ADDRESS"] == ""
    settings.DEBUG = True
    assert fingerprints()["DEBUG"] != before["DEBUG"]


def test_every_limit_of_the_table_exists() -> None:
    fields = {
        "gateway": set(GatewayConfig.__struct_fields__) | {"address"},
        "worker": set(WorkerConfig.__struct_fields__) | {"sub_socket"},
        "limits": set(Limits.__struct_fields__),
        "publisher": set(PublisherConfig.__struct_fields__),
        "settings": set(conf.Settings.__dataclass_fields__) | {"public_url"},
    }
    for name, option in OPTIONS.items():
        assert option.where
        for part in option.where:
            assert name.lower() in fields[part]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (9000, ("0.0.0.0", 9000)),
        ("9000", ("0.0.0.0", 9000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8888", ("::1", 8888)),
        (("10.0.0.1", 80), ("10.0.0.1", 80)),
    ],
)
def test_address(settings: LazySettings, address: object, expected: tuple[str, int]) -> None:
    settings.DJANGO_WS = {"ADDRESS": address}
    gateway = conf.load({}).gateway
    assert (gateway.host, gateway.port) == expected


def test_namespaces(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": "a.B",
        "chat": {
            "handler": "a.C",
            "on_worker_lost": "redeliver",
            "history_size": 100,
            "history_ttl": 300,
            "hang_timeout": 5,
        },
    }
    assert conf.load({}).worker.namespaces == {
        "default": NamespaceConfig(handler="a.B"),
        "chat": NamespaceConfig(
            handler="a.C",
            on_worker_lost="redeliver",
            history_size=100,
            history_ttl=300.0,
            hang_timeout=5.0,
        ),
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"address": "::1:8000"}, "the address must be a port, ipaddr:port"),
        ({"address": "127.0.0.1:99999"}, "port from 0 to 65535"),
        ({"mode": "fast"}, "must be one of pool, threaded, gevent, multiprocess"),
        ({"workers": 0}, "--workers must be a whole number, 1 or more, not 0"),
        ({"workers": True}, "--workers must be a whole number"),
        ({"gateways": 2}, "GATEWAYS is 2, but there is no ENGINE"),
        ({"gateways": 0}, "--gateways must be a whole number, 1 or more, not 0"),
        ({"websocket_url": "/(["}, "--websocket-url is no regular expression"),
        ({"push_socket": "udp://127.0.0.1:1"}, "must begin with ipc:// or tcp://"),
        ({"push_socket": "ipc://"}, "must name a file"),
        ({"push_socket": "tcp://127.0.0.1:x"}, "must be like tcp://127.0.0.1:9001"),
        ({"push_socket": "tcp://10.0.0.1:9001"}, "must stay on loopback"),
        ({"push_socket": "tcp://*:9001"}, "must stay on loopback"),
        ({"sub_socket": f"ipc:///{'x' * 107}"}, "at most 107"),
        ({"push_socket": "ipc:///tmp/x", "sub_socket": "ipc:///tmp/x"}, "are the same"),
        ({"certfile": __file__}, "CERTFILE is given without KEYFILE"),
        ({"certfile": "/nowhere", "keyfile": __file__}, "--certfile cannot be read: /nowhere"),
    ],
)
def test_wrong_values_are_refused_with_words(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        conf.load(flags)
    assert words in str(raised.value)
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"history_ttl": 300}, "a history_ttl without a history_size for 'room-*'"),
        ({"join_leave": "users"}, "must be True, False or 'user', not 'users'"),
    ],
)
def test_groups_that_would_keep_nothing_are_refused_with_words(
    settings: LazySettings, options: dict[str, Any], words: str
) -> None:
    settings.DJANGO_WS = {"GROUPS": {"room-*": options}}
    with pytest.raises(ImproperlyConfigured) as raised:
        conf.load({})
    assert words in str(raised.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"(?s)--workers.*--max-rss"):
        conf.load({"workers": 0, "max_rss": -1})


def test_none_in_a_setting_means_the_default(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"CERTFILE": None, "KEYFILE": None, "PUSH_SOCKET": None}
    assert conf.load({}).gateway.certfile == ""


def test_origins(settings: LazySettings) -> None:
    origins = ["https://example.com", "https://*.example.com:8443", "*"]
    settings.DJANGO_WS = {"ALLOWED_ORIGINS": origins}
    assert conf.load({}).gateway.allowed_origins == origins


def test_groups_keep_their_order_and_reach_the_gateway(settings: LazySettings) -> None:
    settings.DJANGO_WS = {
        "GROUPS": {
            "room-*": {"history_size": 100, "history_ttl": 300, "presence": True},
            "*": {"join_leave": "user"},
        }
    }
    loaded = conf.load({})
    assert list(loaded.gateway.groups.items()) == [
        ("room-*", GroupConfig(history_size=100, history_ttl=300.0, presence=True)),
        ("*", GroupConfig(join_leave="user")),
    ]
    before = loaded.gateway.fingerprints["GROUPS"]
    settings.DJANGO_WS = {"GROUPS": {"room-*": {"history_size": 1}}}
    assert conf.load({}).gateway.fingerprints["GROUPS"] != before
    # It goes as JSON.
    encoded = msgspec.json.encode(loaded.gateway)
    assert msgspec.json.decode(encoded, type=GatewayConfig) == loaded.gateway


def test_who_only_publishes_does_not_care_about_the_rest(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = None
    settings.DJANGO_WS = {
        "CERTFILE": "/nowhere",
        "SUB_SOCKET": "ipc:///tmp/a,ipc:///tmp/b",
        "ON_NO_GATEWAY": "drop",
        "MAX_MESSAGE_SIZE": 2**22,
    }
    config = conf.publisher()
    assert config.project == "tests.urls"
    assert config.sub_sockets == ["ipc:///tmp/a", "ipc:///tmp/b"]
    assert (config.on_no_gateway, config.max_outgoing) == ("drop", 2**22)
    settings.DJANGO_WS = {"SUB_SOCKET": "nonsense"}
    with pytest.raises(ImproperlyConfigured, match="SUB_SOCKET"):
        conf.publisher()


CHAT = {"handler": "a.C", "url": "ws/chat/<slug:room>/"}


def test_a_namespace_has_its_own_url(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": "a.B", "chat": CHAT}
    loaded = conf.load({}).gateway
    assert loaded.routes == [Route("chat", "/ws/chat/(?P<room>[-a-zA-Z0-9_]+)/")]
    before = loaded.fingerprints
    settings.DEFAULT_WS_HANDLERS = {"chat": {**CHAT, "url": "ws/c/<slug:room>/"}}
    after = conf.load({}).gateway.fingerprints
    assert [name for name in after if after[name] != before[name]] == ["DEFAULT_WS_HANDLERS (url)"]


def test_the_script_name_may_stand_before_it(settings: LazySettings) -> None:
    settings.FORCE_SCRIPT_NAME = "/app/"
    settings.DEFAULT_WS_HANDLERS = {"default": "a.B", "chat": CHAT}
    (route,) = conf.load({}).gateway.routes
    assert re.fullmatch(route.pattern, "/app/ws/chat/x/")
    assert re.fullmatch(route.pattern, "/ws/chat/x/")


def test_converters_of_the_project_are_registered_by_its_urls(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.converters"
    settings.DEFAULT_WS_HANDLERS = {"day": {"handler": "a.B", "url": "ws/<iso_day:day>/"}}
    url = conf.namespace_url("day")
    assert url is not None
    assert url.kwargs({"day": "2026-11-25"}) == {"day": date(2026, 11, 25)}
    assert url.path({"day": date(2026, 11, 25)}) == "/ws/2026-11-25/"
    with pytest.raises(ValueError, match="month"):
        url.kwargs({"day": "2026-13-25"})


def test_namespaces_are_read_once_until_settings_change(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = conf.conf_namespaces.read
    calls = []

    def counting(*args: Any) -> Any:
        calls.append(args)
        return read(*args)

    monkeypatch.setattr(conf.conf_namespaces, "read", counting)
    handler = "tests.handlers.Echo"
    settings.DEFAULT_WS_HANDLERS = {"chat": {"handler": handler, "url": "ws/<slug:room>/"}}
    for _ in range(3):
        chat = conf.namespace("chat")
        assert chat is not None
        assert chat.handler == handler
        url = conf.namespace_url("chat")
        assert url is not None
        assert url.kwargs({"room": "a"}) == {"room": "a"}
        assert [route.namespace for route in conf.routes()] == ["chat"]
        assert conf.handler_paths() == {"chat": handler}
    assert len(calls) == 1
    with override_settings(DEFAULT_WS_HANDLERS={"chat": handler}, FORCE_SCRIPT_NAME="/app"):
        assert conf.namespace_url("chat") is None
        assert conf.routes() == []
    assert conf.namespace_url("chat") is not None
    assert len(calls) == 3


ENGINE = "redis://:secret@10.0.0.5/1"


def test_an_engine_reaches_all_who_need_it(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"ENGINE": ENGINE, "PROJECT": "shop", "GROUPS": {"a": {}}}
    loaded = conf.load({})
    assert loaded.gateway.engine == loaded.worker.engine == conf.publisher().engine == ENGINE
    assert list(conf.publisher().groups) == ["a"]
    other = conf.load({"engine": "unix:///run/valkey.sock"})
    assert other.gateway.engine == other.worker.engine == "unix:///run/valkey.sock"
    assert "secret" not in str(loaded.gateway.fingerprints)
    assert loaded.gateway.limits.engine_timeout == 5.0


def test_a_gateway_notices_another_engine(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"ENGINE": ENGINE, "PROJECT": "shop"}
    before = conf.load({}).gateway.fingerprints["ENGINE"]
    settings.DJANGO_WS = {"ENGINE": "redis://elsewhere", "PROJECT": "shop"}
    assert conf.load({}).worker.fingerprints["ENGINE"] != before


def test_an_engine_needs_its_client(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With words, and where to get it."""
    settings.DJANGO_WS = {"ENGINE": ENGINE, "PROJECT": "shop"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.load({})
    assert 'pip install "django-ws-gateway[redis]"' in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ImproperlyConfigured, match="needs redis-py"):
        conf.publisher()


def test_an_engine_needs_no_old_client(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would only be noticed by the first publication."""
    settings.DJANGO_WS = {"ENGINE": ENGINE, "PROJECT": "shop"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.2.1")
    with pytest.raises(ImproperlyConfigured, match=r"redis-py 6 or later, not 5\.2\.1"):
        conf.load({})


def test_projects_that_share_an_engine_need_names(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"ENGINE": ENGINE}
    assert [problem.id for problem in conf.problems({})] == ["W011"]
    settings.DJANGO_WS = {"ENGINE": ENGINE, "PROJECT": "shop"}
    assert conf.problems({}) == []
