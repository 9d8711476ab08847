"""What runs the handlers: one file each, one contract (:class:`.base.Executor`)."""

from __future__ import annotations

from .base import EventSource, Executor, Settings

__all__ = ["EventSource", "Executor", "Settings", "make_executor"]


def make_executor(mode: str, source: EventSource, settings: Settings) -> Executor:
    """The executor of a mode (one of ``options.MODES``)."""
    if mode == "pool":
        from .pool import PoolExecutor

        return PoolExecutor(source, settings)
    if mode == "threaded":
        from .threaded import ThreadedExecutor

        return ThreadedExecutor(source, settings)
    if mode == "gevent":
        from .gevent import GeventExecutor

        return GeventExecutor(source, settings)
    from .multiprocess import MultiprocessExecutor

    return MultiprocessExecutor(source, settings)
