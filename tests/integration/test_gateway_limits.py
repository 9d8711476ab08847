"""Windows, rates, dead peers, slow readers: what keeps memory bounded and clients apart."""

from __future__ import annotations

import socket
import threading
import time

from tests.integration.gateway_harness import (
    Client,
    FakeSession,
    Gateway,
    connected,
    gateway,
    masked,
    wait_until,
)


def fill(server: Gateway) -> int:
    """Send until the client's queue is over the mark; returns how many messages that took."""
    session = server.session
    sent = 0
    while server.call(lambda: session.client.writable):
        server.call(lambda: session.client.send(2, b"x" * 50_000))
        sent += 1
    return sent


def test_a_full_window_stops_reading_until_it_opens() -> None:
    with gateway() as server:
        server.registry.on_receive = lambda session, *_: len(session.received) % 10 != 0
        with connected(server) as client:
            client.send(b"".join(masked(1, b"%d" % n) for n in range(35)))
            session = server.session
            for count in (10, 20, 30):
                wait_until(lambda count=count: len(session.received) == count)
                client.frame(1, b"more")
                assert len(session.received) == count
                server.call(session.client.resume)
            wait_until(lambda: len(session.received) == 38)
            assert [data for _, data in session.received] == [
                *(b"%d" % n for n in range(35)),
                *[b"more"] * 3,
            ]
            assert server.counters["window_full"] == 3


def test_a_close_waits_behind_a_full_window() -> None:
    with gateway() as server:
        server.registry.on_receive = lambda *_: False
        with connected(server) as client:
            client.send(b"".join(masked(1, b"x") for _ in range(5)) + masked(8, b"\x03\xe8"))
            session = server.session
            for count in range(1, 6):
                wait_until(lambda count=count: len(session.received) == count)
                assert session.ended == []
                server.call(session.client.resume)
            assert client.read_close() == 1000
            assert server.ended(session) == (1000, "")


def test_what_was_read_is_delivered_although_the_client_vanished() -> None:
    with gateway() as server:
        server.registry.on_receive = lambda *_: False
        with connected(server) as client:
            client.send(b"".join(masked(1, b"x") for _ in range(5)))
            session = server.session
            wait_until(lambda: session.received)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        # The gateway learns of it by writing.
        for _ in range(2):
            server.call(lambda: session.client.send(1, b"anybody?"))
            time.sleep(0.02)
        wait_until(lambda: server.server.connections == 0)
        for count in range(1, 6):
            wait_until(lambda count=count: len(session.received) == count)
            assert session.ended == []
            server.call(session.client.resume)
        assert server.ended(session) == (1006, "")
        assert len(session.received) == 5


def test_an_own_close_gets_through_a_full_window() -> None:
    with gateway() as server:
        server.registry.on_receive = lambda *_: False
        with connected(server) as client:
            client.send(masked(1, b"x") * 5)
            session = server.session
            wait_until(lambda: session.received)
            server.call(lambda: session.client.close(1012, "service restart"))
            assert client.read()[0] == 0x88
            client.frame(8, b"\x03\xf4")
            assert client.at_end()
            assert server.ended(session) == (1012, "service restart")
            assert len(session.received) == 1


def test_the_message_rate_delays_and_loses_nothing() -> None:
    with gateway({"message_rate": 200}) as server, connected(server) as client:
        began = time.monotonic()
        client.send(b"".join(masked(1, b"%d" % n) for n in range(300)))
        numbers = [int(client.read()[1]) for _ in range(300)]
        seconds = time.monotonic() - began
        assert numbers == list(range(300))
        assert 0.4 < seconds < 3
        assert server.counters["throttled"] >= 1


def test_no_rate_no_delay() -> None:
    with gateway({"message_rate": 0}) as server, connected(server) as client:
        began = time.monotonic()
        client.send(b"".join(masked(1, b"%d" % n) for n in range(5000)))
        assert [int(client.read()[1]) for _ in range(5000)] == list(range(5000))
        assert time.monotonic() - began < 2


def test_one_chatty_client_does_not_starve_another() -> None:
    with gateway({"message_rate": 0, "ping_interval": 0}) as server:
        echo = server.registry.on_receive
        stop = threading.Event()

        def receive(session: FakeSession, opcode: int, data: bytes) -> bool:
            session.received.clear()
            if data == b"flood":
                return True
            return echo(session, opcode, data)

        server.registry.on_receive = receive
        with connected(server) as chatty, connected(server) as other:
            block = masked(1, b"flood") * 2000
            chatty.sock.settimeout(0.1)

            def flood() -> None:
                while not stop.is_set():
                    try:
                        chatty.sock.sendall(block)
                    except OSError:
                        return

            thread = threading.Thread(target=flood)
            thread.start()
            try:
                latencies = []
                for _ in range(100):
                    began = time.monotonic()
                    other.frame(1, b"quick")
                    assert other.read() == (0x81, b"quick")
                    latencies.append(time.monotonic() - began)
                assert sorted(latencies)[90] < 0.2
            finally:
                stop.set()
                thread.join()


def test_a_dead_peer_is_found_and_a_live_one_kept() -> None:
    limits = {"ping_interval": 0.1, "ping_timeout": 0.1}
    with gateway(limits) as server, connected(server), connected(server) as alive:
        silent, lively = server.registry.sessions
        pings = 0
        while not silent.ended:
            if alive.read()[0] == 0x89:
                pings += 1
                alive.frame(10)
        assert silent.ended == [(1006, "no pong")]
        assert pings >= 1
        for _ in range(3):
            assert alive.read() == (0x89, b"")
            alive.frame(10)
        assert lively.ended == []
        assert server.counters["closed_no_pong"] == 1


def test_a_peer_that_we_do_not_read_is_not_dead() -> None:
    with gateway({"ping_interval": 0.05, "ping_timeout": 0.05}) as server:
        server.registry.on_receive = lambda *_: False
        with connected(server) as client:
            client.frame(1, b"x")
            session = server.session
            wait_until(lambda: session.received)
            for _ in range(6):
                assert client.read() == (0x89, b"")
            assert session.ended == []
            server.call(session.client.resume)
            assert server.ended(session) == (1006, "no pong")


def test_a_client_that_does_not_read_is_closed() -> None:
    limits = {"max_pending": 100_000, "send_timeout": 0.2, "ping_interval": 0}
    with gateway(limits) as server, connected(server):
        session = server.session
        fill(server)
        assert server.ended(session) == (3008, "too slow")
        assert session.writable_calls == 0
        assert server.counters["closed_slow"] == 1


def test_a_client_that_reads_again_is_writable_again() -> None:
    limits = {"max_pending": 100_000, "ping_interval": 0}
    with gateway(limits) as server, connected(server) as client:
        session = server.session
        sent = fill(server)
        assert session.writable_calls == 0
        for _ in range(sent):
            assert len(client.read()[1]) == 50_000
        wait_until(lambda: session.writable_calls == 1)
        assert server.call(lambda: session.client.writable)


def test_pongs_do_not_pile_up() -> None:
    limits = {"max_pending": 10_000, "ping_interval": 0, "send_timeout": 0}
    with gateway(limits) as server, connected(server) as client:
        session = server.session
        fill(server)
        before = server.call(lambda: session.client.backlog)
        client.send(masked(9, b"x" * 125) * 500 + masked(1, b""))
        wait_until(lambda: session.received)
        assert server.call(lambda: session.client.backlog) <= before + 10


def test_idle_clients_keep_nothing() -> None:
    with gateway() as server, connected(server) as client:
        for frame in (masked(9, b""), masked(1, b"a", fin=False), masked(0, b"b")):
            client.send(frame)
        assert client.read() == (0x8A, b"")
        assert client.read() == (0x81, b"ab")
        connection = server.session.client
        assert server.call(lambda: connection._reader.idle)


def test_an_abandoned_socket_of_a_failed_connection_goes_away() -> None:
    with gateway({"close_timeout": 0.1}) as server, connected(server) as client:
        client.send(b"\x81\x00")  # not masked
        first, _ = client.read()
        assert first == 0x88
        # The client neither answers nor closes.
        wait_until(lambda: server.server.connections == 0)


def test_addresses_are_free_again_after_all_kinds_of_ends() -> None:
    with gateway({"max_connections_per_ip": 1, "close_timeout": 0.2}) as server:
        for end in (b"", masked(8, b"\x03\xe8"), b"\x81\x00"):
            with connected(server) as client:
                client.send(end)
                if end:
                    client.read_close()
            wait_until(lambda: server.server.connections == 0)
        with Client(server.port) as client:
            client.upgrade()
