"""Signals that only make a descriptor readable."""

from __future__ import annotations

import os
import select
import signal

from django_ws.supervisor.signals import Signals


def test_they_are_taken_in_order_and_nothing_else_happens():
    before = signal.getsignal(signal.SIGUSR1)
    with Signals(signal.SIGUSR1, signal.SIGUSR2) as signals:
        assert signals.take() == []
        assert select.select([signals], [], [], 0)[0] == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert select.select([signals], [], [], 5)[0] == [signals]
        os.kill(os.getpid(), signal.SIGUSR2)
        assert signals.take() == [signal.SIGUSR1, signal.SIGUSR2]
        assert signals.take() == []
    assert signal.getsignal(signal.SIGUSR1) is before


def test_what_was_set_up_before_is_restored():
    heard = []
    usual = signal.signal(signal.SIGUSR1, lambda *_: heard.append("heard"))
    try:
        with Signals(signal.SIGUSR1):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == ["heard"]
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGUSR1, usual)
