"""The supervisor with real processes in the children's places: stubs that do as they are told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

#: A child: notes what it hears, and behaves as the file "behaviour" says when it starts.
STUB = """
import json, os, select, signal, sys, time
from django_ws.supervisor.control import Channel
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
role = os.environ["DJANGO_WS_ROLE"]
incarnation = os.environ["DJANGO_WS_INCARNATION"]
def note(**what):
    line = json.dumps({"role": role, "pid": os.getpid(), "incarnation": incarnation, **what})
    with open("journal", "a") as file:
        file.write(line + chr(10))
channel = Channel.from_env()
behaviour = json.load(open("behaviour")).get(role, {})
note(event="started")
if "exit" in behaviour:
    sys.exit(behaviour["exit"])
if behaviour.get("hangs"):
    channel.send({"op": "doing", "what": "imports the handlers"})
    time.sleep(60)
if "failed" in behaviour:
    channel.send({"op": "failed", "message": behaviour["failed"], "files": behaviour["files"]})
    sys.exit(1)
channel.send({"op": "files", "files": behaviour.get("files", [])})
if role == "worker":
    channel.send({"op": "ready", "endpoint": "ipc://push." + incarnation, "pid": os.getpid()})
for message in behaviour.get("says", []):
    channel.send(message)
port = 0
while True:
    select.select([channel], [], [])
    try:
        messages = channel.receive()
    except EOFError:
        note(event="orphaned")
        break
    for message in messages:
        note(event="heard", **message)
        if message["op"] == "config":
            port = message["config"]["port"]
            channel.send({"op": "ready", "host": "127.0.0.1", "port": port or 54321})
        elif message["op"] == "dead" or behaviour.get("stubborn"):
            pass
        else:
            note(event="leaves")
            sys.exit(0)
"""

SUPERVISE = """
import json, logging, sys
from django_ws.options import GatewayConfig
from django_ws.supervisor.gateways import shared
from django_ws.supervisor.plan import Plan, StartupError
from django_ws.supervisor.tree import Supervisor
logging.basicConfig(level=logging.INFO, format="%(message)s")
class Output:
    def ready(self, host, port):
        print("READY", host, port, flush=True)
    def failed(self, text):
        print("FAILED", text, flush=True)
stub = (sys.executable, "-S", "stub.py")
options = json.loads(sys.argv[1])
subs = [f"ipc://sub{number}" for number in range(options.pop("g"))]
gateways = shared(GatewayConfig(project="p", port=0), subs) if subs else ()
plan = Plan(worker_command=stub, gateways=gateways, gateway_command=stub,
            push_socket="ipc://push", **options)
try:
    Supervisor(plan, Output()).run()
except StartupError as error:
    print("ERROR", error.by_checks, error, flush=True)
    sys.exit(1)
print("DONE", flush=True)
"""


class Tree:
    """A supervisor in a process of its own, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[str] | None = None
        (directory / "stub.py").write_text(STUB)
        (directory / "supervise.py").write_text(SUPERVISE)
        (directory / "journal").touch()
        self.behave()

    def behave(self, **roles) -> None:
        """What children do that start from now on."""
        (self.directory / "new").write_text(json.dumps(roles))
        (self.directory / "new").rename(self.directory / "behaviour")

    def start(self, *, gateways=1, **options) -> None:
        arguments = [sys.executable, "supervise.py", json.dumps({"g": gateways, **options})]
        with (self.directory / "output").open("w") as output:
            self.process = subprocess.Popen(
                arguments,
                cwd=self.directory,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )

    def output(self) -> str:
        return (self.directory / "output").read_text()

    def journal(self, **like):
        lines = (self.directory / "journal").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if like.items() <= entry.items()]

    def until(self, condition, seconds=10.0):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, self.output() + repr(self.journal())
            time.sleep(0.01)
        return result

    def until_output(self, text):
        self.until(lambda: text in self.output())

    def until_journal(self, number=1, **like):
        return self.until(lambda: (found := self.journal(**like))[number - 1 :] and found)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=10.0) -> int:
        return self.process.wait(seconds)

    def alive(self):
        return [pid for pid in {entry["pid"] for entry in self.journal()} if exists(pid)]


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go while it is looked at
        return False


@pytest.fixture
def tree(tmp_path):
    """A supervisor that is not started yet."""
    tree = Tree(tmp_path)
    yield tree
    if tree.process is not None and tree.process.poll() is None:
        tree.process.kill()
        tree.process.wait()
    for pid in tree.alive():
        os.kill(pid, signal.SIGKILL)


def test_starts_and_stops_in_order(tree):
    tree.start(workers=2)
    tree.until_output("READY 127.0.0.1 54321")
    assert len(tree.journal(role="worker", event="started")) == 2
    tree.signal(signal.SIGTERM)
    assert tree.wait() == 0
    assert "DONE" in tree.output()
    told = [(entry["role"], entry["op"]) for entry in tree.journal(event="heard")]
    assert told == [("gateway", "config"), ("gateway", "drain"), *[("worker", "stop")] * 2]
    assert tree.alive() == []


def test_a_group_wide_ctrl_c_is_the_supervisors_business(tree):
    tree.start()
    tree.until_output("READY")
    os.killpg(tree.process.pid, signal.SIGINT)
    assert tree.wait() == 0
    leaves = [entry["role"] for entry in tree.journal(event="leaves")]
    assert leaves == ["gateway", "worker"]


def test_what_does_not_stop_is_killed_at_the_deadline(tree):
    tree.behave(worker={"stubborn": True}, gateway={"stubborn": True})
    tree.start(drain_timeout=1.0)
    tree.until_output("READY")
    (tree.directory / "push.lock").touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.path.relpath(tree.directory / "push"))
    began = time.monotonic()
    tree.signal(signal.SIGTERM)
    assert tree.wait() == 0
    assert 0.9 < time.monotonic() - began < 3.0
    assert tree.alive() == []
    assert not (tree.directory / "push").exists()
    assert not (tree.directory / "push.lock").exists()


def test_a_second_ctrl_c_stops_at_once(tree):
    tree.behave(worker={"stubborn": True}, gateway={"stubborn": True})
    tree.start()
    tree.until_output("READY")
    tree.signal(signal.SIGINT)
    tree.until_journal(op="drain")
    tree.signal(signal.SIGINT)
    assert tree.wait(2.0) == 0
    assert tree.alive() == []


@pytest.mark.parametrize("role", ["worker", "gateway"])
def test_what_cannot_start_is_said_in_its_own_words(tree, role):
    tree.behave(**{role: {"failed": "Port 1 is in use.", "files": []}})
    tree.start(workers=3)
    assert tree.wait() == 1
    assert tree.output().splitlines()[-1] == "ERROR False Port 1 is in use."
    assert len(tree.journal(role="worker", event="started")) <= 1
    assert tree.alive() == []


def test_what_dies_while_starting_is_said_too(tree):
    tree.behave(worker={"exit": 3})
    tree.start()
    assert tree.wait() == 1
    assert "could not start: it exited with status 3." in tree.output()
    assert tree.alive() == []


def test_a_killed_worker_is_replaced_and_the_gateway_told(tree):
    tree.start()
    tree.until_output("READY")
    (worker,) = tree.journal(role="worker", event="started")
    os.kill(worker["pid"], signal.SIGKILL)
    tree.until_journal(2, role="worker", event="started")
    (dead,) = tree.journal(op="dead")
    assert dead["role"] == "gateway"
    assert "was killed by SIGKILL (Killed); another one starts in 0.1 s." in tree.output()


def test_a_killed_gateway_comes_back_on_the_same_port(tree):
    tree.start()
    tree.until_output("READY")
    (gateway,) = tree.journal(role="gateway", event="started")
    os.kill(gateway["pid"], signal.SIGKILL)
    configs = tree.until_journal(2, op="config")
    assert [entry["config"]["port"] for entry in configs] == [0, 54321]
    assert len(tree.journal(role="worker", event="started")) == 1


def test_several_gateways_start_on_one_port_and_stop_before_the_workers(tree):
    tree.start(gateways=3)
    tree.until_output("READY 127.0.0.1 54321")
    configs = [entry["config"] for entry in tree.journal(op="config")]
    assert [(each["port"], each["sharing"]) for each in configs] == [
        (0, "first"),
        (54321, "more"),
        (54321, "more"),
    ]
    assert sorted(each["sub_socket"] for each in configs) == [f"ipc://sub{n}" for n in range(3)]
    tree.signal(signal.SIGTERM)
    assert tree.wait() == 0
    told = [(entry["role"], entry["op"]) for entry in tree.journal(event="heard")]
    assert told[-4:] == [*[("gateway", "drain")] * 3, ("worker", "stop")]
    assert tree.alive() == []


def test_one_of_several_gateways_that_dies_comes_back_alone(tree):
    tree.start(gateways=2)
    tree.until_output("READY")
    first, second = tree.journal(role="gateway", event="started")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.path.relpath(tree.directory / "sub0"))
    os.kill(first["pid"], signal.SIGKILL)
    new = tree.until_journal(3, op="config")[-1]
    assert (new["config"]["sub_socket"], new["config"]["sharing"]) == ("ipc://sub0", "more")
    assert not (tree.directory / "sub0").exists()
    (worker,) = tree.journal(role="worker", event="started")
    os.kill(worker["pid"], signal.SIGKILL)
    told = tree.until_journal(2, op="dead")
    assert {entry["pid"] for entry in told} == {new["pid"], second["pid"]}


def test_sigusr2_renews_the_gateways_one_after_the_other(tree):
    tree.start(gateways=2, drain_timeout=7.0)
    tree.until_output("READY")
    tree.signal(signal.SIGUSR2)
    tree.until_journal(4, op="config")
    order = [
        (entry["event"], entry.get("op"))
        for entry in tree.journal(role="gateway")
        if entry["event"] in ("leaves", "started") or entry.get("op") == "config"
    ]
    assert order[4:] == [("leaves", None), ("started", None), ("heard", "config")] * 2
    drains = tree.journal(op="drain")
    assert [(entry["seconds"], entry["renewal"]) for entry in drains] == [(7.0, True)] * 2
    assert len({entry["pid"] for entry in drains}) == 2
    assert "another one starts" not in tree.output()
    assert len(tree.journal(role="worker", event="started")) == 1


def test_a_gateway_that_cannot_be_renewed_leaves_the_others_alone(tree):
    tree.start(gateways=2)
    tree.until_output("READY")
    tree.behave(gateway={"exit": 3})
    tree.signal(signal.SIGUSR2)
    tree.until_journal(4, role="gateway", event="started")  # it is tried again
    assert len(tree.journal(op="drain")) == 1
    assert "exited with status 3; another one starts in" in tree.output()
    tree.behave()
    tree.until_journal(2, op="drain")
    tree.until(lambda: len(tree.alive()) == 3 and len(tree.journal(op="config")) == 4)


def test_the_gateway_may_have_a_worker_killed(tree):
    tree.behave(worker={"stubborn": True})
    tree.start()
    tree.until_output("READY")
    (worker,) = tree.journal(role="worker", event="started")
    (gateway,) = tree.journal(role="gateway", event="started")
    kill = {"op": "kill", "incarnation": worker["incarnation"]}
    tree.behave(gateway={"says": [kill]})
    os.kill(gateway["pid"], signal.SIGKILL)
    tree.until_journal(2, role="worker", event="started")
    assert not exists(worker["pid"])


def test_sighup_replaces_one_by_one(tree):
    tree.start(workers=2)
    tree.until_output("READY")
    old = {entry["pid"] for entry in tree.journal(role="worker")}
    tree.signal(signal.SIGHUP)
    tree.until(lambda: len(tree.journal(op="retire")) == 2 and len(tree.alive()) == 3)
    order = [
        (entry["event"], entry["pid"] in old)
        for entry in tree.journal(role="worker")
        if entry["event"] in ("started", "leaves")
    ]
    assert order[2:] == [("started", False), ("leaves", True)] * 2
    assert [entry["seconds"] for entry in tree.journal(op="retire")] == [30.0, 30.0]


def test_new_code_that_cannot_start_leaves_the_old_running_until_it_is_right(tree):
    module = tree.directory / "handlers.py"
    module.write_text("right = 1")
    tree.behave(worker={"files": [str(module)]})
    tree.start(reload=True)
    tree.until_output("READY")
    (old,) = tree.journal(role="worker", event="started")
    new = tree.directory / "new_module.py"
    tree.behave(worker={"failed": "SyntaxError: oops", "files": [str(module)]})
    module.write_text("wrong!")
    tree.until_output("FAILED SyntaxError: oops")
    assert exists(old["pid"])
    assert tree.journal(op="retire") == []
    # What was missing was a neighbour of the files in the traceback.
    tree.behave(worker={"files": [str(module)]})
    new.write_text("found = 1")
    tree.until(lambda: not exists(old["pid"]))
    (retired,) = tree.journal(op="retire")
    assert (retired["pid"], retired["seconds"]) == (old["pid"], 0.5)
    assert tree.output().count("FAILED") == 1


def test_a_successor_that_never_gets_ready_does_not_keep_off_the_next(tree):
    tree.start(start_timeout=0.5)
    tree.until_output("READY")
    (old,) = tree.journal(role="worker", event="started")
    tree.behave(worker={"hangs": True})
    tree.signal(signal.SIGHUP)
    tree.until_output("is not ready after 0.5 s: it imports the handlers; it is killed.")
    assert exists(old["pid"])
    tree.behave()
    tree.until(lambda: len(tree.alive()) == 2)
    tree.signal(signal.SIGHUP)
    tree.until(lambda: not exists(old["pid"]))
    assert [entry["pid"] for entry in tree.journal(op="retire")] == [old["pid"]]


def test_a_first_start_that_takes_long_is_said_but_goes_on(tree):
    tree.behave(worker={"hangs": True})
    tree.start(start_timeout=2)  # by then it is that far
    tree.until_output("is not ready after 2 s: it imports the handlers.")
    assert tree.process.poll() is None
    tree.signal(signal.SIGINT)
    assert tree.wait() == 0


def test_a_worker_is_replaced_after_so_many_messages(tree):
    tree.behave(worker={"says": [{"op": "handled", "count": 10}]})
    tree.start(max_requests=10)
    tree.until_output("READY")
    tree.behave()
    tree.until_journal(op="retire")
    tree.until(lambda: len(tree.alive()) == 2)
    assert "has handled 10 messages; replacing it." in tree.output()


def test_killing_the_supervisor_leaves_no_orphan(tree):
    tree.start(workers=2)
    tree.until_output("READY")
    tree.process.kill()
    tree.wait()
    assert {entry["role"] for entry in tree.until_journal(3, event="orphaned")} == {
        "gateway",
        "worker",
    }
    tree.until(lambda: tree.alive() == [])


def test_the_gateways_log_is_logged_again(tree):
    record = {"op": "log", "name": "django_ws.gateway", "level": 30, "message": "100% full"}
    tree.behave(gateway={"says": [record]})
    tree.start()
    tree.until_output("100% full")
