"""Runs in the calling thread what a :class:`.Lifecycle` says, each hook with its surroundings.

Threads, greenlets and processes alike; what is to be done between hooks is the lifecycle's.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Protocol

from .lifecycle import Call, Lifecycle

__all__ = ["Surroundings", "drive"]


class Surroundings(Protocol):
    """What is to be done around a hook."""

    def before_hook(self) -> None:
        """Called before every hook: database hygiene."""

    def after_hook(self, failed: bool) -> None:
        """Called after every hook: hygiene, session. Raises what is wrong.

        Args:
            failed: an exception left the hook.
        """


def drive(lifecycle: Lifecycle, around: Surroundings, call: Call | None) -> None:
    """Run ``call``, and what follows from it, to the end.

    Raises:
        Refusal: The call was ``on_connect``, and it refused.
    """
    while call is not None:
        hook, args = call
        try:
            around.before_hook()
            # A copy, so that a language or time zone activated in this hook ends with it.
            result = copy_context().run(lifecycle.handler.dispatch, hook, *args)
        except BaseException as exception:
            try:
                around.after_hook(True)
            except Exception as another:
                lifecycle.log(hook, another)
            call = lifecycle.raised(call, exception)
            continue
        try:
            around.after_hook(False)
        except BaseException as exception:
            call = lifecycle.raised(call, exception)
        else:
            # Asked only where the answer is not plain: this is done for each message.
            call = None if hook == "on_message" else lifecycle.returned(call, result)
