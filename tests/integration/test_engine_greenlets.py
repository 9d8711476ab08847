"""Publishers in greenlets: they share connections, and none holds up the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.valkey import valkey

ROOT = Path(__file__).parents[2]

CODE = """
from gevent import monkey; monkey.patch_all()
import sys
import gevent
import msgspec
from django_ws.exceptions import PublishTimeout
from django_ws.options import GroupConfig, PublisherConfig
from django_ws.publisher_engine import Engine
from django_ws.wire.messages import TEXT, Position, Publish

groups = {"*": GroupConfig(history_size=1000, history_ttl=60)}
engine = Engine(PublisherConfig(project="greenlets", engine=sys.argv[1], groups=groups))

def publish():
    (found,) = engine.ask([Publish(1, "group", TEXT, b"x")], 5.0)[0]
    return msgspec.msgpack.decode(found, type=Position).offset

many = [gevent.spawn(lambda: [publish() for _ in range(10)]) for _ in range(60)]
gevent.joinall(many, raise_error=True)
offsets = sorted(offset for each in many for offset in each.value)
assert offsets == list(range(offsets[0], offsets[0] + 600)), offsets
print("pause", flush=True)
sys.stdin.readline()
turns = 0
late = gevent.spawn(publish)
while not late.dead:
    turns += 1
    gevent.sleep(0.01)
assert isinstance(late.exception, PublishTimeout), late.exception
assert turns > 10, turns
print("done", flush=True)
"""


def test_greenlets_publish_at_once() -> None:
    pytest.importorskip("gevent")
    with valkey() as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, server.url],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "pause\n", process.communicate()[1]
            server.pause()
            process.stdin.write("\n")
            process.stdin.flush()
            out, err = process.communicate(timeout=20)
            assert out == "done\n", err
        finally:
            server.resume()
            process.kill()
            process.wait()
