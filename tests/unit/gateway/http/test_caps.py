"""Caps count right, and leave descriptors for others."""

from __future__ import annotations

import pytest

from django_ws.gateway.http.caps import Caps, Descriptors


def test_caps_count_in_all_and_per_address() -> None:
    caps = Caps(3, 2)
    assert caps.enter("a") is None
    assert caps.enter("a") is None
    refusal = caps.enter("a")
    assert refusal
    assert refusal.status == 503
    assert caps.enter("b") is None
    assert caps.enter("c")
    assert len(caps) == 3
    caps.leave("a")
    assert caps.enter("a") is None
    for address in "aab":
        caps.leave(address)
    assert len(caps) == 0


def test_no_cap_per_address() -> None:
    caps = Caps(100, 0)
    assert all(caps.enter("a") is None for _ in range(100))
    assert caps.enter("a")


@pytest.mark.parametrize(("limit", "clients"), [(20_000, 19_744), (1024, 768), (400, 300), (1, 1)])
def test_descriptors_are_kept_back(limit: int, clients: int) -> None:
    shares = Descriptors(limit)
    assert shares.clients == clients
    assert shares.clients <= shares.highest


@pytest.mark.parametrize("limit", [400, 1024, 4096])
def test_what_is_kept_back_is_not_all_for_the_pages_and_the_excess(limit: int) -> None:
    shares = Descriptors(limit)
    assert limit - shares.highest - shares.pages >= (limit - shares.clients) // 4
    assert shares.clients + shares.pages + shares.excess < limit
