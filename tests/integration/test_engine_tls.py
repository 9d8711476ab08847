"""An engine by TLS: a proxy ends it, since not every build of the server can."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_ws.exceptions import GatewayUnavailable
from django_ws.options import PublisherConfig
from django_ws.publisher_engine import Engine
from django_ws.wire.messages import TEXT, Publish
from tests.valkey import Valkey, valkey

from ..unit.gateway.engine.contract import heard, publish
from ..unit.gateway.engine.test_redis import RedisBench
from .test_gateway_tls import certificate

__all__ = ["certificate"]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class Proxy(threading.Thread):
    """Ends TLS before a server.

    Attributes:
        port: where it listens, on loopback.
    """

    def __init__(self, server: Valkey, certificate: tuple[Path, Path]) -> None:
        super().__init__()
        self._path = server.path
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)
        self._loop = asyncio.new_event_loop()
        self._begun = threading.Event()
        self._end = asyncio.Event()
        self.port = 0
        self.start()
        self._begun.wait(10)

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._begun.set()
        await self._end.wait()
        server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(str(self._path))

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            except OSError:
                pass
            finally:
                target.close()

        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def proxy(server: Valkey, certificate: tuple[Path, Path]) -> Iterator[Proxy]:
    proxy = Proxy(server, certificate)
    yield proxy
    proxy.stop()


def test_gateways_and_publishers_trust_who_is_vouched_for(
    server: Valkey, proxy: Proxy, certificate: tuple[Path, Path]
) -> None:
    url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={certificate[0]}"
    bench = RedisBench(server, url)
    own = Engine(PublisherConfig(project=bench.project, engine=url))
    try:
        bench.engine.subscribe("plain")
        publish(bench, "plain", "a")
        own.send([Publish(0, "plain", TEXT, b"b")])
        heard(bench, 2)
    finally:
        own.close()
        wire = bench.engine._servers._link._wire
        bench.engine.close()
        bench.wait_for(wire.lost.done)  # TLS says goodbye
        bench.close()


def test_they_trust_nobody_else(
    server: Valkey, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"rediss://localhost:{proxy.port}"
    bench = RedisBench(server, url, up=False)
    own = Engine(PublisherConfig(project=bench.project, engine=url))
    try:
        bench.wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        with pytest.raises(GatewayUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            own.send([Publish(0, "plain", TEXT, b"b")])
    finally:
        own.close()
        bench.close()
