"""The outside of a server: TLS, the URL, the Origin."""

from __future__ import annotations

import signal
import ssl
import subprocess

import pytest
from websockets.exceptions import InvalidStatus

from .clients import Client
from .server import Project, Server

pytestmark = pytest.mark.system


def test_tls(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(
            [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no openssl here")
    project = Project(tmp_path)
    try:
        server = Server(project, "--certfile", str(certificate), "--keyfile", str(key))
        assert server.url.startswith("wss://")
        context = ssl.create_default_context(cafile=certificate)
        with Client(server, "hooks", ssl=context) as client:
            assert client.ask("none") == "had none"
        assert client.until_noted("close")[-1] == ["close", 1000, ""]
        with Client(server, ssl=context) as client:
            for size in (0, 1, 1000, 65536):
                assert client.ask("x" * size) == "x" * size
        with Client(server, "sender", ssl=context) as client:
            assert client.ask("bytes 1048576") == b"x" * 1048576
            server.process.send_signal(signal.SIGTERM)
            assert client.closing()[0] == 1001
        assert server.process.wait(15) == 0
    finally:
        project.remove()


def test_kwargs_of_the_url_and_missing_origin(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"ALLOW_MISSING_ORIGIN": False})
    try:
        pattern = r"/ws/(?P<room>\d+)(?:/(?P<namespace>\w*))?"
        server = Server(project, "--websocket-url", pattern)
        server.url = f"ws://127.0.0.1:{server.port}/ws/"
        origin = "http://127.0.0.1"
        with Client(server, "42/door", origin=origin) as client:
            client.send("kwargs")
            client.receive()
            client.receive()
            assert client.receive() == '[{"room": "42"}, "door", null]'
        with Client(server, "7", origin=origin) as client:
            assert client.ask("default") == "default"
        for path, options, status in (("7", {}, 403), ("seven", {"origin": origin}, 404)):
            with pytest.raises(InvalidStatus) as refused:
                Client(server, path, **options)
            assert refused.value.response.status_code == status
        server.stop()
    finally:
        project.remove()
