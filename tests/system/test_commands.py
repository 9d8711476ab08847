"""The management commands, as a newcomer types them, in a small project of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

pytestmark = pytest.mark.system

SETTINGS = """
from pathlib import Path
SECRET_KEY = "tests"
DEBUG = True
INSTALLED_APPS = ["django.contrib.staticfiles", "django_ws"]
STATIC_URL = "/static/"
STATICFILES_DIRS = [Path(__file__).parent]
ROOT_URLCONF = "urls"
DATABASES = {}
DEFAULT_WS_HANDLERS = {"default": "handlers.Echo"}
DJANGO_WS = {"ALLOW_MISSING_ORIGIN": True, "PUSH_SOCKET": "ipc://push", "SUB_SOCKET": "ipc://sub"}
"""

HANDLERS = """
from django_ws.base import WebSocketHandler
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send("one " + message)
"""

URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("a page"))]
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""


class Project:
    """A project in a directory, and the commands that run in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        for name, text in {
            "settings": SETTINGS,
            "handlers": HANDLERS,
            "urls": URLS,
            "manage": MANAGE,
        }.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.directory / f"{name}.py").write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``manage.py`` with these arguments; its output goes to a file."""
        with (self.directory / f"out{len(self._running)}").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=self.directory,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end. Returns exit status and output."""
        status = self.start(*arguments).wait(20)
        return status, self.output()

    def output(self) -> str:
        """What the last command has written."""
        return (self.directory / f"out{len(self._running) - 1}").read_text()

    def until_output(self, pattern: str, seconds: float = 20.0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output())):
            assert time.monotonic() < deadline, self.output()
            assert self._running[-1].poll() is None, self.output()
            time.sleep(0.02)
        return found

    def serve(self, *arguments: str) -> str:
        """Start ``run_wsserver`` and wait until it serves. Returns the WebSocket URL."""
        self.start("run_wsserver", *arguments)
        self.until_output("Quit with CONTROL-C")
        return self.until_output(r"ws://\S+/socket")[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the last command. Returns its exit status."""
        self._running[-1].send_signal(number)
        return self._running[-1].wait(10)

    def processes(self) -> list[int]:
        """Processes of the sessions that commands began."""
        sessions = {str(process.pid) for process in self._running}
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[3] in sessions and fields[0] != "Z":
                found.append(int(path.parent.name))
        return found

    def files(self) -> list[str]:
        """Socket and lock files."""
        return [path.name for path in self.directory.iterdir() if re.match("push|sub", path.name)]

    def gone(self) -> bool:
        return not self.processes() and not self.files()

    def kill(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # one may end by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        for process in self._running:
            process.wait()


@pytest.fixture
def project(tmp_path):
    """A project with an echo handler."""
    project = Project(tmp_path)
    yield project
    project.kill()


def echo(url: str) -> str:
    with connect(url, proxy=None) as client:
        client.send("hello")
        return str(client.recv(5))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_stops_without_leaving_anything(project, number):
    url = project.serve("0", "--noreload")
    assert url.startswith("ws://127.0.0.1:")
    with connect(url, proxy=None) as client:
        client.send("hello")
        assert client.recv(5) == "one hello"
        assert project.stop(number) == 0
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(5)
    assert closed.value.rcvd.code == 1001
    assert project.gone()


LOOPS = """
from django_ws.base import WebSocketHandler
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send("one")
        self.wait(0.1)
        while True:
            pass
"""


HOOK = r"waits for on_message of 'default', for \d+ s "
#: Under gevent such a loop keeps everything else from running.
SAID = {"--gevent": "does not answer", "--multiprocess": "waits for 1 connections' processes"}


@pytest.mark.parametrize("mode", ["--pool", "--threaded", "--gevent", "--multiprocess"])
def test_ctrl_c_beside_a_hook_that_never_ends_says_so_and_is_soon_over(project, mode):
    project.write("handlers", LOOPS)
    url = project.serve("0", mode)
    with connect(url, proxy=None) as client:
        client.send("loop")
        assert client.recv(5) == "one"
        began = time.monotonic()
        project._running[-1].send_signal(signal.SIGINT)
        project.until_output(SAID.get(mode, HOOK) + ".*Ctrl-C once more", 6)
        if mode != "--threaded":
            project._running[-1].send_signal(signal.SIGINT)
        assert project._running[-1].wait(8) == 0
        assert time.monotonic() - began < 8
    assert project.gone()


def test_start_up_text(project):
    project.serve("0", "--threaded", "--workers", "2", "--noreload")
    text = project.output()
    assert re.search(r"django-ws \S+, Django \S+, using settings 'settings'", text)
    assert "2 workers, mode threaded" in text
    assert "Events through ipc://push, responses ipc://sub" in text


def test_ipv6(project):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    url = project.serve("[::1]:0")
    assert url.startswith("ws://[::1]:")
    assert echo(url) == "one hello"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threaded", "--gevent"], "not allowed with argument"),
        (["nonsense"], "must be a port, ipaddr:port"),
        (["1.2.3.4:70000"], "from 0 to 65535"),
        (["--gateways", "2"], "GATEWAYS is 2, but there is no ENGINE"),
        (["--push-socket", "tcp://10.0.0.1:9000"], "loopback"),
        (["--pool", "many"], "must be a port"),
        (["8888", "--pool", "many"], "--pool takes a number"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(project, arguments, words):
    status, output = project.run("run_wsserver", *arguments)
    assert status != 0
    assert words in output
    assert "Traceback" not in output


def test_run_wsworker_takes_no_address(project):
    status, output = project.run("run_wsworker", "--pool", "9000")
    assert status == 1
    assert "--pool takes a number up to 4096, not '9000'" in output


def test_a_flag_completes_a_setting(project, tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = {name: project.directory / f"{name}.pem" for name in ("cert", "key")}
    subprocess.run(
        [*command.split(), "-keyout", files["key"], "-out", files["cert"]],
        check=True,
        capture_output=True,
    )
    project.write("settings", f'{SETTINGS}DJANGO_WS["CERTFILE"] = "{files["cert"]}"\n')
    project.start("run_wsserver", "0", "--noreload", "--keyfile", str(files["key"]))
    project.until_output("wss://127.0.0.1:")
    assert project.stop() == 0


def test_warnings_go_by_the_mode_of_the_flag(project):
    database = '{"default": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60}}'
    project.write("settings", f"{SETTINGS}DATABASES = {database}\n")
    project.start("run_wsworker", "--threaded", "--noreload")
    project.until_output("Quit with CONTROL-C")
    assert "(django_ws.W004) Each browser can hold a connection" in project.output()
    assert project.stop() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        'DEFAULT_WS_HANDLERS = {"default": "handlers.Missing"}',
        'DEFAULT_WS_HANDLERS = {"default": "nowhere.Echo"}',
        'DEFAULT_WS_HANDLERS = {"chat": "handlers.Echo"}',
        'DJANGO_WS["ALLOWED_ORIGIN"] = []',
    ],
)
def test_refuses_to_start_with_the_words_of_the_checks(project, wrong):
    project.write("settings", SETTINGS + wrong)
    status, checked = project.run("check")
    assert status == 1
    status, output = project.run("run_wsserver", "0")
    assert status == 1
    assert output.strip() == checked.strip()
    assert project.gone()


def test_a_port_in_use(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output = project.run("run_wsserver", str(port))
    assert status == 1
    assert output.count("CommandError") == 1
    assert f"127.0.0.1:{port}: Address already in use" in output
    assert "Traceback" not in output
    assert project.gone()


def test_code_is_reloaded_under_an_open_connection(project):
    url = project.serve("0", "--reload")
    with connect(url, proxy=None) as client:
        client.send("hello")
        assert client.recv(5) == "one hello"
        project.write("handlers", HANDLERS + "def oops(:\n")
        project.until_output("SyntaxError")
        client.send("again")
        assert client.recv(5) == "one again"
        project.write("handlers", HANDLERS.replace("one", "two"))
        deadline = time.monotonic() + 10
        answers = []
        while "two still" not in answers:
            assert time.monotonic() < deadline, project.output()
            client.send("still")
            answers.append(client.recv(5))
    assert set(answers[:-1]) <= {"one still"}


def test_a_project_that_does_not_load_is_said_and_watched(project):
    project.serve("0")
    good = SETTINGS + "import new_module\n"
    project.write("settings", good)
    project.until_output("No module named 'new_module'")
    project.write("new_module", "")
    project.until_output("worker [0-9]+ is ready")


def test_sighup_replaces_the_workers_and_keeps_the_connections(project):
    url = project.serve("0", "--noreload", "--workers", "2")
    with connect(url, proxy=None) as client:
        for number in range(10):
            client.send(str(number))
            assert client.recv(5) == f"one {number}"
        project._running[-1].send_signal(signal.SIGHUP)
        project.until_output(r"(?s)worker \d+ is ready.*worker \d+ is ready")
        client.send("after")
        assert client.recv(5) == "one after"


def test_pages_on_the_same_port(project):
    url = project.serve("0", "--wsgi")
    pages = url.replace("ws://", "http://").removesuffix("/socket")
    assert f"Pages at {pages}/" in project.output()
    for path, expected in (("/", b"a page"), ("/static/urls.py", URLS.encode())):
        with urllib.request.urlopen(pages + path, timeout=5) as response:
            assert response.read() == expected
    assert echo(url) == "one hello"
    assert project.stop() == 0
    assert project.gone()


RENDERS = """
from django.template.loader import render_to_string
from django_ws.base import WebSocketHandler
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(render_to_string("page.html"))
"""

TEMPLATES = """
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [Path(__file__).parent / "templates"],
}]
"""


@pytest.mark.parametrize("mode", ["--pool", "--multiprocess"])
def test_an_edited_template_is_in_force_at_once_and_no_process_replaced(project, mode):
    template = project.directory / "templates" / "page.html"
    template.parent.mkdir()
    template.write_text("one")
    project.write("settings", SETTINGS + TEMPLATES)
    project.write("handlers", RENDERS)
    project.write("urls", URLS.replace('HttpResponse("a page")', 'render(request, "page.html")'))
    with (project.directory / "urls.py").open("a") as file:
        file.write("from django.shortcuts import render\n")
    url = project.serve("0", "--wsgi", mode)
    pages = url.replace("ws://", "http://").removesuffix("/socket")

    def page() -> str:
        with urllib.request.urlopen(pages + "/", timeout=5) as response:
            return response.read().decode()

    def answer() -> str:
        client.send("")
        return str(client.recv(5))

    with connect(url, proxy=None) as client:
        assert (page(), answer()) == ("one", "one")
        template.write_text("two")
        deadline = time.monotonic() + 5
        while (page(), answer()) != ("two", "two"):
            assert time.monotonic() < deadline, project.output()
    assert "replacing" not in project.output()


def test_a_watched_file_that_nobody_deals_with_replaces_the_workers_once(project):
    (project.directory / "watched.txt").write_text("one")
    project.write("handlers", HANDLERS + WATCHES)
    project.serve("0", "--workers", "2")
    (project.directory / "watched.txt").write_text("two")
    project.until_output(r"(?s)watched.txt changed; .*worker \d+ is ready.*worker \d+ is ready")
    assert project.output().count("changed; replacing") == 1


WATCHES = """
from pathlib import Path
from django.dispatch import receiver
from django.utils.autoreload import autoreload_started
@receiver(autoreload_started)
def watch(sender, **kwargs):
    sender.extra_files.add(Path(__file__).parent / "watched.txt")
"""


def test_the_halves_apart(project):
    project.start("run_wsworker", "--noreload")
    project.until_output("Quit with CONTROL-C")
    project.start("run_wsgateway", "127.0.0.1:0")
    url = project.until_output(r"http://\S+:\d+")[0].replace("http", "ws") + "/socket"
    deadline = time.monotonic() + 10
    while True:
        try:
            assert echo(url) == "one hello"
            break
        except (OSError, InvalidHandshake):
            assert time.monotonic() < deadline
    for process in project._running:
        process.terminate()
    assert [process.wait(10) for process in project._running] == [0, 0]
    assert project.gone()


def test_killing_the_supervisor_leaves_nothing(project):
    project.serve("0")
    project._running[-1].kill()
    project._running[-1].wait()
    deadline = time.monotonic() + 10
    while not project.gone():
        assert time.monotonic() < deadline, (project.processes(), project.files())
        time.sleep(0.05)


def test_gevent_is_optional(project):
    # As if it were not installed: a finder that is asked first does not know it.
    hide = "import sys\nclass Hide:\n    def find_spec(name, *_):\n        if name == 'gevent':\n"
    hide += "            raise ModuleNotFoundError(name)\nsys.modules['gevent'] = None\n"
    project.write("manage", hide + MANAGE)
    status, output = project.run("run_wsserver", "0", "--gevent")
    assert status == 1
    assert output.strip() == (
        'CommandError: --gevent needs gevent: pip install "django-ws-gateway[gevent]"'
    )
