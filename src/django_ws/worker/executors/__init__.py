"""What runs the handlers: one file each, one contract (:class:`.base.Executor`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...base import WebSocketHandler
from .base import CannotStart, EventSource, Executor, ExecutorConfig

__all__ = ["CannotStart", "EventSource", "Executor", "ExecutorConfig", "prepare"]


def prepare(
    mode: str,
    handlers: Mapping[str, type[WebSocketHandler]],
    config: ExecutorConfig,
    close: list[int],
) -> Callable[[EventSource], Executor]:
    """Get ready what makes the executor of a mode.

    Call it before there is a thread, a socket or a database connection: one of the modes forks.

    Args:
        mode: one of ``options.MODES``.
        handlers: by namespace.
        close: descriptors that a forked process must not keep.

    Raises:
        CannotStart: The project does something that the mode cannot work with.
    """
    if mode == "pool":
        from .pool import PoolExecutor

        return lambda source: PoolExecutor(source, config)
    if mode == "threaded":
        from .threaded import ThreadedExecutor

        return lambda source: ThreadedExecutor(source, config)
    if mode == "gevent":
        from .gevent import GeventExecutor

        return lambda source: GeventExecutor(source, config)
    from .multiprocess import MultiprocessExecutor

    return MultiprocessExecutor.prepare(handlers, config, close)
