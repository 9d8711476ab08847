"""``python -m django_ws.gateway``, under a supervisor and alone."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from django_ws.options import GatewayConfig, Limits
from django_ws.supervisor.control import CONTROL_FD, Channel
from tests.integration.gateway_harness import Client, wait_until

DEADLINE = 10


class Process:
    """A gateway process as its supervisor sees it."""

    def __init__(self, config: GatewayConfig, buffer: int = 0) -> None:
        self.channel, theirs = Channel.pair()
        if buffer:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.messages: list[dict[str, Any]] = []
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django_ws.gateway"],
                env={**environment(), CONTROL_FD: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        self.send({"op": "config", "config": msgspec.to_builtins(config)})

    def send(self, message: dict[str, object]) -> None:
        assert self.channel.send(message)

    def wait_for(self, op: str) -> dict[str, Any]:
        """The next message of a kind."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for number, message in enumerate(self.messages):
                if message["op"] == op:
                    return self.messages.pop(number)
            left = deadline - time.monotonic()
            assert left > 0, f"no {op!r}, but {self.messages}"
            select.select([self.channel], [], [], left)
            self.messages += self.channel.receive()

    def end(self) -> tuple[int, str]:
        """Exit code and standard error."""
        assert self.process.stderr is not None
        error = self.process.stderr.read().decode()
        return self.process.wait(DEADLINE), error


def environment() -> dict[str, str]:
    """The test's own, without what is meant for its children."""
    source = str(Path(__file__).parents[2] / "src")
    return {**os.environ, "PYTHONPATH": source}


@contextmanager
def supervised(config: GatewayConfig, buffer: int = 0) -> Iterator[Process]:
    """A process that is gone afterwards.

    Args:
        buffer: bytes that the kernel keeps of what it says; 0 for as many as usual.
    """
    running = Process(config, buffer)
    try:
        yield running
    finally:
        running.channel.close()
        running.process.kill()
        running.process.communicate()


@pytest.fixture
def config(tmp_path: Path) -> GatewayConfig:
    return GatewayConfig(
        project="tests",
        port=0,
        push_socket=f"ipc://{tmp_path}/push",
        sub_socket=f"ipc://{tmp_path}/sub",
        allowed_hosts=["127.0.0.1"],
        limits=Limits(handshake_timeout=0.2, drain_timeout=3.0),
    )


def test_starts_refuses_without_workers_and_drains(config: GatewayConfig, tmp_path: Path) -> None:
    with supervised(config) as running:
        ready = running.wait_for("ready")
        assert ready["host"] == "127.0.0.1"
        with Client(ready["port"]) as client:
            assert client.refused()[0] == 503
        log = running.wait_for("log")
        assert log["name"] == "django_ws.gateway"
        assert "/socket/ refused (503): No worker answered in time." in log["message"]
        os.kill(running.process.pid, signal.SIGINT)  # a terminal's Ctrl-C is not for the gateway
        with Client(ready["port"]) as client:
            assert client.refused()[0] == 503
        running.send({"op": "drain", "seconds": 3.0})
        assert running.end() == (0, "")
        assert [path.name for path in tmp_path.iterdir() if path.is_socket()] == []


def test_a_burst_of_records_leaves_when_the_supervisor_reads_again(config: GatewayConfig) -> None:
    with supervised(msgspec.structs.replace(config, debug=True), buffer=4096) as running:
        port = running.wait_for("ready")["port"]
        for _ in range(50):  # more than the kernel takes
            with Client(port) as client:
                assert client.refused(Host="elsewhere.example")[0] == 400
        for _ in range(50):
            running.wait_for("log")


@pytest.mark.parametrize("how", ["SIGTERM", "EOF"])
def test_other_ways_to_stop_it(config: GatewayConfig, how: str) -> None:
    with supervised(config) as running:
        running.wait_for("ready")
        if how == "EOF":
            running.channel.close()
        else:
            running.process.send_signal(signal.SIGTERM)
        assert running.end() == (0, "")


@pytest.mark.parametrize("sharing", ["alone", "first"])
def test_a_port_in_use_is_said_without_a_traceback(config: GatewayConfig, sharing: str) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        with supervised(msgspec.structs.replace(config, port=port, sharing=sharing)) as running:
            message = running.wait_for("failed")["message"]
            assert message == (
                f"cannot listen on 127.0.0.1:{port}: Address already in use; give the command "
                f"another port, such as {port + 1}"
            )
            assert running.end() == (1, "")


def test_an_endpoint_in_use_is_said_without_a_traceback(config: GatewayConfig) -> None:
    with supervised(config) as first:
        first.wait_for("ready")
        with supervised(config) as second:
            assert second.wait_for("failed")["message"]
            assert second.end() == (1, "")


@contextmanager
def alone(config: GatewayConfig, **options: Any) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A gateway without a supervisor, and its port."""
    read, write = os.pipe()
    with (
        open(write, "wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "django_ws.gateway"],
            env={**environment(), "DJANGO_WS_CONFIG_FD": str(read)},
            pass_fds=[read],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        ) as process,
    ):
        try:
            os.close(read)
            file.write(json.dumps(msgspec.to_builtins(config)).encode())
            file.close()
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line.startswith("Gateway listening at http://127.0.0.1:")
            yield process, int(line.rstrip("/\n").rpartition(":")[2])
        finally:
            process.kill()


def test_alone_it_takes_its_configuration_from_a_descriptor(config: GatewayConfig) -> None:
    with alone(config) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=DEADLINE) == (b"", b"")
        assert process.returncode == 0


def test_alone_it_survives_sighup_and_says_what_to_do(config: GatewayConfig) -> None:
    with alone(config, stdin=subprocess.DEVNULL) as (process, port):
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert b"a gateway has nothing to reload; restart it" in process.stderr.readline()
        with Client(port) as client:
            assert client.refused()[0] == 503
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        assert process.returncode == 0


def test_alone_it_ends_with_its_terminal(config: GatewayConfig) -> None:
    ours, theirs = os.openpty()
    try:
        with alone(config, stdin=theirs) as (process, _):
            os.close(theirs)
            os.close(ours)  # hangs up: nobody can type Ctrl-C any more
            ours = -1
            process.send_signal(signal.SIGHUP)
            assert process.communicate(timeout=DEADLINE) == (b"", b"")
            assert process.returncode == 0
    finally:
        if ours >= 0:
            os.close(ours)


def test_alone_it_says_what_is_wrong_in_one_line(config: GatewayConfig, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(config, certfile="missing.pem")))
    with file.open("rb") as opened:
        done = subprocess.run(
            [sys.executable, "-m", "django_ws.gateway"],
            env={**environment(), "DJANGO_WS_CONFIG_FD": str(opened.fileno())},
            pass_fds=[opened.fileno()],
            capture_output=True,
            timeout=DEADLINE,
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"missing.pem" in done.stderr
    wait_until(lambda: not list(tmp_path.glob("sub*.sock")))


@pytest.mark.load
def test_it_starts_fast_and_knows_no_django() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, django_ws.gateway.__main__; print('django' in sys.modules)",
        ],
        env=environment(),
        capture_output=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout == b"False\n"
    assert time.monotonic() - began < 2  # 0.25 s on an idle machine


def test_links_have_descriptors_whatever_clients_do(config: GatewayConfig, tmp_path: Path) -> None:
    """libzmq ends the process when it cannot accept."""
    limit = 120

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with alone(config, preexec_fn=lower) as (process, port), ExitStack() as stack:
        for _ in range(2 * limit):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with suppress(OSError):
                client.send(b"GET /-/ready HTTP/1.1\r\n")
        descriptors = Path(f"/proc/{process.pid}/fd")
        for _ in range(10):  # libzmq accepts them, as it does a worker's links
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.connect(str(tmp_path / "sub"))
        wait_until(lambda: len(list(descriptors.iterdir())) > limit // 2)
        assert process.poll() is None
        assert len(list(descriptors.iterdir())) < limit
        stack.close()
        wait_until(lambda: ready_status(port) == b"HTTP/1.1 503")
        process.send_signal(signal.SIGTERM)
        assert b"Too many open files" not in process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 0


def ready_status(port: int) -> bytes:
    """The status line of ``/-/ready``, or what is there of it."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client, suppress(OSError):
        client.send(b"GET /-/ready HTTP/1.1\r\n\r\n")
        return client.recv(12)
    return b""
