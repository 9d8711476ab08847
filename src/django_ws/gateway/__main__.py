"""``python -m django_ws.gateway``: one gateway process.

Under a supervisor the configuration, the stop and what happened to workers come over the control
channel. Standing alone (``run_wsgateway``), the configuration is JSON on the descriptor that
``DJANGO_WS_CONFIG_FD`` names, and SIGTERM and SIGINT stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable

import msgspec

from ..options import GatewayConfig
from ..supervisor.control import LAST_WORDS, Channel
from ..transport.addresses import EndpointError, ipc_path
from ..transport.files import find, user
from .counters import Counters
from .http.server import Server, ServerError
from .logs import ControlHandler, StrangersFilter
from .workers import Registry

__all__ = ["main"]

CONFIG_FD = "DJANGO_WS_CONFIG_FD"
INCARNATION = "DJANGO_WS_INCARNATION"

#: Seconds to drain when the supervisor has vanished: its workers are about to end, too.
ORPHAN_DRAIN = 5.0

#: Seconds without a worker until a gateway that stands alone says so, or one of several listens.
ALONE = 5.0

_logger = logging.getLogger("django_ws.gateway")


class Gateway:
    """One run of the process.

    Args:
        channel: to the supervisor; None without one.
    """

    def __init__(self, channel: Channel | None) -> None:
        self._channel = channel
        self._counters = Counters()
        self._started = time.time()
        self._terminal = os.isatty(0)
        self._loop = asyncio.get_running_loop()
        #: Once it is asked for: seconds that the drain may take, and whether another one follows.
        self._stop: asyncio.Future[tuple[float, bool]] = self._loop.create_future()
        self._config: asyncio.Future[GatewayConfig] = self._loop.create_future()
        self._registry: Registry | None = None

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit code."""
        self._listen_for_orders()
        self._set_up_logging()
        await asyncio.wait((self._config, self._stop), return_when=asyncio.FIRST_COMPLETED)
        if not self._config.done():
            return 0
        try:
            config = self._config.result()
            registry = Registry(
                config,
                os.environ.get(INCARNATION) or secrets.token_hex(8),
                loop=self._loop,
                on_kill=self._kill,
                counters=self._counters,
                started=self._started,
            )
            self._registry = registry
            await registry.start()
        except (EndpointError, ServerError) as error:
            return self._failed(str(error))
        if config.sharing == "more":
            # Whoever connects meanwhile is served by those that are ready.
            await self._until_ready(registry)
        try:
            server = Server(config, registry, self._counters)
            host, port = server.listen()
        except ServerError as error:
            registry.close()
            return self._failed(str(error))
        self._announce(host, port, tls=bool(config.certfile))
        if self._channel is None:
            self._loop.call_later(ALONE, self._say_alone, registry)
        # What exists by now stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        seconds, renewal = await self._stop
        await server.drain(seconds, renewal=renewal)
        return 0

    async def _until_ready(self, registry: Registry) -> None:
        """Wait for a worker and the engine; but if none comes, somebody has to tell clients."""
        deadline = self._loop.time() + ALONE
        while not (registry.ready or self._stop.done()) and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    # ------------------------------------------------------------------ orders

    def _listen_for_orders(self) -> None:
        # A supervisor blocks the signals that it acts on, and children inherit that.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        self._loop.add_signal_handler(signal.SIGTERM, self._drain)
        if self._channel is None:
            self._loop.add_signal_handler(signal.SIGINT, self._drain)
            self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
            self._read_config()
        else:
            # A terminal sends these to all processes; it is the supervisor that acts on them.
            for number in (signal.SIGINT, signal.SIGHUP):
                self._loop.add_signal_handler(number, lambda: None)
            self._loop.add_reader(self._channel.fileno(), self._on_control)
            # Log records come from any thread.
            self._channel.on_unsent = self._on_unsent
            self._on_control()

    def _on_hangup(self) -> None:
        """SIGHUP to a gateway that stands alone."""
        if self._terminal and not os.isatty(0):
            self._drain()  # the terminal is gone, so nobody is there to stop it later
        else:
            _logger.warning(
                "SIGHUP: a gateway has nothing to reload; restart it for new settings or a new "
                "certificate"
            )

    def _read_config(self) -> None:
        try:
            with open(int(os.environ.pop(CONFIG_FD, "0")), "rb") as file:
                self._set_config(msgspec.json.decode(file.read(), type=GatewayConfig))
        except (OSError, ValueError) as error:
            self._config.set_exception(ServerError(f"cannot read the configuration: {error}"))

    def _set_config(self, config: GatewayConfig) -> None:
        if not self._config.done():
            self._config.set_result(config)

    def _on_control(self) -> None:
        assert self._channel is not None
        try:
            orders = self._channel.receive()
        except EOFError:
            self._loop.remove_reader(self._channel.fileno())
            _logger.warning("the supervisor is gone; stopping")
            self._drain(min(ORPHAN_DRAIN, self._drain_timeout))
            return
        for order in orders:
            match order:
                case {"op": "config", "config": config}:
                    self._set_config(msgspec.convert(config, GatewayConfig))
                case {"op": "dead", "incarnation": str(incarnation)}:
                    if self._registry is not None:
                        self._registry.worker_died(incarnation)
                case {"op": "drain", "seconds": float() | int() as seconds}:
                    self._drain(seconds, renewal=order.get("renewal") is True)

    def _on_unsent(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: main() sends the rest
            self._loop.call_soon_threadsafe(self._send_later)

    def _send_later(self) -> None:
        """Something waits: send it as soon as the supervisor reads on."""
        assert self._channel is not None
        if self._channel.unsent and self._channel.fileno() >= 0:
            self._loop.add_writer(self._channel.fileno(), self._on_room)

    def _on_room(self) -> None:
        assert self._channel is not None
        if not self._channel.flush() or not self._channel.unsent:
            self._loop.remove_writer(self._channel.fileno())

    @property
    def _drain_timeout(self) -> float:
        if self._config.done() and not self._config.exception():
            return self._config.result().limits.drain_seconds
        return ORPHAN_DRAIN

    def _drain(self, seconds: float | None = None, *, renewal: bool = False) -> None:
        if not self._stop.done():
            self._stop.set_result((self._drain_timeout if seconds is None else seconds, renewal))

    # ------------------------------------------------------------------ reports

    def _set_up_logging(self) -> None:
        handler: logging.Handler
        if self._channel is None:
            handler = logging.StreamHandler()
            handler.addFilter(StrangersFilter())
            handler.setFormatter(
                logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
            )
        else:
            handler = ControlHandler(self._channel, self._counters)
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        _logger.setLevel(logging.INFO)

    def _announce(self, host: str, port: int, *, tls: bool) -> None:
        if self._channel is not None:
            self._channel.send({"op": "ready", "host": host, "port": port})
            return
        shown = f"[{host}]" if ":" in host else host
        print(f"Gateway listening at {'https' if tls else 'http'}://{shown}:{port}/", flush=True)

    def _say_alone(self, registry: Registry) -> None:
        """No worker has come: say what keeps most of them away."""
        if registry.workers or self._stop.done():
            return
        config = registry.config
        try:
            if path := ipc_path(config.push_socket):
                find(path)
        except EndpointError as error:
            _logger.error("%s", error)
            return
        _logger.warning(
            "no worker has come to %s in %g s; does one run (run_wsworker), as this user (%s) and "
            "with the same settings, PROJECT, --push-socket and --sub-socket?",
            config.sub_socket,
            ALONE,
            user(os.geteuid()),
        )

    def _kill(self, incarnation: str) -> None:
        if self._channel is not None:
            self._channel.send({"op": "kill", "incarnation": incarnation})

    def _failed(self, message: str) -> int:
        if self._channel is None:
            print(f"Error: {message}", file=sys.stderr)
        else:
            self._channel.send({"op": "failed", "message": message})
        return 1


async def _run(channel: Channel | None) -> int:
    return await Gateway(channel).run()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main() -> int:
    """Run the gateway; returns the exit code."""
    channel = Channel.from_env()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_run(channel))
    if channel is not None:
        channel.finish(LAST_WORDS)
    return code


if __name__ == "__main__":
    sys.exit(main())
