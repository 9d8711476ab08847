"""What several gateways on one port need, and where each is."""

from __future__ import annotations

import pytest
from django.conf import LazySettings

from django_ws import conf, conf_gateways


@pytest.mark.parametrize(
    ("given", "number", "expected"),
    [
        (["ipc:///run/a"], 1, ["ipc:///run/a"]),
        (["ipc:///run/a"], 3, ["ipc:///run/a", "ipc:///run/a.2", "ipc:///run/a.3"]),
        (["ipc:///run/a", "ipc:///run/b"], 2, ["ipc:///run/a", "ipc:///run/b"]),
        (["ipc:///run/a", "ipc:///run/b"], 1, ["ipc:///run/a", "ipc:///run/b"]),
        (["tcp://127.0.0.1:9"], 1, ["tcp://127.0.0.1:9"]),
    ],
)
def test_each_gateway_has_an_endpoint(given: list[str], number: int, expected: list[str]) -> None:
    assert conf_gateways.endpoints(given, number) == expected


@pytest.mark.parametrize(
    ("own", "id", "words"),
    [
        ({"SUB_SOCKET": "ipc:///a,ipc:///b"}, "E016", "GATEWAYS is 3, but SUB_SOCKET names 2"),
        ({"SUB_SOCKET": "tcp://127.0.0.1:9001"}, "E016", "SUB_SOCKET names one tcp:// endpoint"),
        ({"SUB_SOCKET": f"ipc:///{'x' * 105}"}, "E016", "leaves no room for the number"),
        ({"SOCKETIO": True}, "W010", "Long-polling clients of Socket.IO"),
    ],
)
def test_what_several_gateways_need(
    settings: LazySettings, own: dict[str, object], id: str, words: str
) -> None:
    settings.DJANGO_WS = {"GATEWAYS": 3, **own}
    found = {problem.id: problem.message for problem in conf.problems({})}
    assert words in found[id]
    assert "E018" in found  # there is no engine


@pytest.mark.parametrize(
    ("own", "warned"),
    [
        ({}, True),
        ({"GROUPS": {"a": {"presence": True}}}, False),
        ({"SUB_SOCKET": "ipc:///a"}, False),
        ({"ENGINE": "redis://127.0.0.1", "PROJECT": "shop"}, False),
    ],
)
def test_gateways_without_an_engine_have_histories_of_their_own(
    settings: LazySettings, own: dict[str, object], warned: bool
) -> None:
    settings.DJANGO_WS = {
        "SUB_SOCKET": "ipc:///a,ipc:///b",
        "GROUPS": {"room-*": {"history_size": 10}},
        **own,
    }
    assert ("W015" in {problem.id for problem in conf.problems({})}) == warned


def test_publishers_and_workers_know_all_gateways_of_the_settings(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"SUB_SOCKET": "ipc:///run/sub", "GATEWAYS": 2, "PROJECT": "shop"}
    expected = ["ipc:///run/sub", "ipc:///run/sub.2"]
    assert conf.publisher().sub_sockets == expected
