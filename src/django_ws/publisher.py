"""This process as a publisher: its configuration and its links, made when they are first needed."""

from __future__ import annotations

import atexit
import multiprocessing.process
import multiprocessing.util
import os
import threading
from typing import TYPE_CHECKING

from django.core.signals import setting_changed

from . import conf
from .options import PublisherConfig
from .publisher_link import Gateways
from .transport.sockets import terminate

if TYPE_CHECKING:
    from .publisher_engine import Engine

__all__ = ["configuration", "configure", "direct", "gateways"]

_lock = threading.Lock()
_current: Gateways | None = None  # guarded by _lock
_engine: Engine | None = None  # guarded by _lock
_config: PublisherConfig | None = None  # guarded by _lock
_at_exit = False  # guarded by _lock


def configure(config: PublisherConfig | None) -> None:
    """Publish by this configuration from now on; ``None``: by the settings, read anew."""
    global _current, _engine, _config
    with _lock:
        outdated = (_current, _engine)
        _current, _engine, _config = None, None, config
    for each in outdated:
        if each is not None:
            each.close()


def configuration() -> PublisherConfig:
    """What this process publishes by.

    Raises:
        ImproperlyConfigured: Its settings are wrong.
    """
    global _config
    config = _config
    if config is None:
        found = conf.publisher()
        with _lock:
            config = _config = _config or found
    return config


def gateways() -> Gateways:
    """The gateways, for all threads of this process.

    Raises:
        ImproperlyConfigured: The settings are wrong.
    """
    global _current
    found = _current
    if found is None:
        config = configuration()
        with _lock:
            found = _current = _current or Gateways(config)
            _close_at_exit()
    return found


def direct() -> Gateways | Engine:
    """Where what this process publishes goes: the engine that gateways share, or the gateways.

    Raises:
        ImproperlyConfigured: The settings are wrong.
    """
    global _engine
    found = _engine
    if found is not None:
        return found
    config = configuration()
    if not config.engine:
        return gateways()
    from .publisher_engine import Engine  # needs redis-py

    with _lock:
        found = _engine = _engine or Engine(config)
    return found


def _close_at_exit() -> None:
    global _at_exit
    if _at_exit:
        return
    _at_exit = True
    # A child of multiprocessing ends without the handlers of atexit.
    if multiprocessing.process.parent_process() is not None:
        multiprocessing.util.Finalize(None, _let_leave, exitpriority=10)
    else:
        atexit.register(_let_leave)


def _let_leave() -> None:
    """What is queued has a second to leave before the process ends."""
    if _current is not None:
        _current.close()
        terminate()


def _forget_after_fork() -> None:
    global _lock, _current, _engine, _at_exit
    _lock = threading.Lock()
    _current = _engine = None
    _at_exit = False


os.register_at_fork(after_in_child=_forget_after_fork)


def _on_setting_changed(*, setting: str, **kwargs: object) -> None:
    """Tests change settings."""
    if setting in ("DJANGO_WS", "ROOT_URLCONF"):
        configure(None)


setting_changed.connect(_on_setting_changed)
