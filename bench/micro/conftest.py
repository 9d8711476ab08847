"""What the micro-benchmarks share. Each measures what one message costs, or one batch of 50."""

from __future__ import annotations

import os
import tempfile

import django
import pytest

from django_ws.wire.codec import EventBatch, ReplyBatch
from django_ws.wire.messages import TEXT, WIRE_VERSION, Message, Send

BATCH = 50
PAYLOAD = b"x" * 64


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("BENCH_DIR", tempfile.gettempdir())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()


@pytest.fixture
def events() -> EventBatch:
    """What a gateway sends: one message of each of 50 connections."""
    messages = [Message(conn, 7, TEXT, PAYLOAD) for conn in range(BATCH)]
    return EventBatch(WIRE_VERSION, "project", "0" * 16, "1" * 16, 9, 9, messages)


@pytest.fixture
def replies() -> ReplyBatch:
    """What a worker answers: an echo and an acknowledgement for each."""
    messages = [Send(conn, TEXT, PAYLOAD) for conn in range(BATCH)]
    acks = dict.fromkeys(range(BATCH), 7)
    return ReplyBatch(WIRE_VERSION, "project", "1" * 16, "0" * 16, 9, 9, messages, acks)
