"""What a test needs and this machine may not have."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["missing"]


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be skipped.

    Args:
        reason: what is not there, and how to get it.
    """
    if os.environ.get("DJANGO_WS_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
