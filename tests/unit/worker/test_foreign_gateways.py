"""Gateways of other projects, as a worker meets them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from django_ws.wire.codec import Batch, encode
from django_ws.wire.messages import WIRE_VERSION, Role, Welcome
from django_ws.worker.link import GatewayLink
from django_ws.worker.receiver import Receiver

HOME = "/srv/ours settings"


class Nothing:
    """Stands for sockets that are not used."""


def welcomed_by(home: str, ours: str = HOME) -> GatewayLink:
    link = GatewayLink(0, cast("Any", Nothing()), "p", "w")
    receiver = Receiver(cast("Any", Nothing()), [link], {}, "p", lambda reason: None, ours)
    welcome = Welcome("gw", 0, 1000, 1000, home)
    batch = Batch(WIRE_VERSION, "p", "gw", "w", 1, 0, [welcome], {}, Role.GATEWAY)
    receiver._batch(encode(batch), [])
    return link


@pytest.mark.parametrize(("home", "ours"), [(HOME, HOME), ("", HOME), (HOME, "")])
def test_one_of_the_same_project_or_that_does_not_tell(home: str, ours: str) -> None:
    assert welcomed_by(home, ours).gateway == "gw"


def test_one_of_another_checkout_is_refused_with_both_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert welcomed_by("/srv/my theirs settings").gateway == ""
    (message,) = caplog.messages
    assert "the project in /srv/my theirs (settings 'settings')" in message
    assert "that in /srv/ours (settings 'settings')" in message
