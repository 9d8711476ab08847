"""Whose the files of ipc endpoints are, and what is left alone."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_ws.transport import files
from django_ws.transport.addresses import EndpointError, ipc_path

#: Another user of the machine.
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ws") as name:
        yield Path(name)


def serve(path: Path) -> socket.socket:
    """A socket file, and who listens there."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_a_socket_is_told_from_its_successor_at_the_same_path(place: Path) -> None:
    path = place / "x"
    assert files.find(str(path)) is None
    with serve(path):
        first = files.find(str(path))
        assert first is not None
        assert files.find(str(path)) == first
        path.rename(place / "y")
        (place / "y").rename(path)
        assert files.find(str(path)) != first  # something else may have been there meanwhile


def make(path: Path, kind: str) -> None:
    match kind:
        case "a symbolic link":
            path.symlink_to(path.parent / "target")
        case "a FIFO":
            os.mkfifo(path)
        case "a directory":
            path.mkdir()
        case "a regular file":
            path.touch()


@pytest.mark.parametrize("kind", ["a symbolic link", "a FIFO", "a directory", "a regular file"])
def test_what_is_no_socket_is_named_and_left_alone(place: Path, kind: str) -> None:
    make(place / "x", kind)
    with pytest.raises(EndpointError, match=f"x is there already and is {kind}, not a socket"):
        files.find(str(place / "x"))
    files.remove(str(place / "x"))
    assert [path.name for path in place.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["a symbolic link", "a FIFO", "a directory"])
def test_what_is_no_lock_file_is_named_and_left_alone(place: Path, kind: str) -> None:
    make(place / "x.lock", kind)
    with pytest.raises(EndpointError, match=f"x.lock is there already and is {kind}"):
        files.lock(str(place / "x"))
    assert not files.remove_leftovers(f"ipc://{place}/x")
    assert [path.name for path in place.iterdir()] == ["x.lock"]


@as_root
def test_another_users_socket_is_refused_and_left_alone(place: Path) -> None:
    path = place / "x"
    with serve(path):
        os.chown(path, NOBODY, -1)
        with pytest.raises(EndpointError, match=r"belongs to another user, .*, while this process"):
            files.find(str(path))
    files.remove(str(path))
    assert not files.remove_leftovers(f"ipc://{path}")
    assert path.exists()


@as_root
def test_another_users_lock_file_is_refused_and_left_alone(place: Path) -> None:
    (place / "x.lock").touch(0o666)
    os.chown(place / "x.lock", NOBODY, -1)
    with pytest.raises(EndpointError, match=r"x\.lock belongs to another user"):
        files.lock(str(place / "x"))
    assert not files.remove_leftovers(f"ipc://{place}/x")
    assert (place / "x.lock").exists()


def test_a_directory_where_anybody_may_replace_files_is_refused(place: Path) -> None:
    with serve(place / "x"):
        place.chmod(0o777)
        with pytest.raises(EndpointError, match=r"anybody may replace files in .*chmod \+t"):
            files.find(f"{place}/x")
        place.chmod(0o1777)
        assert files.find(f"{place}/x")


# ---------------------------------------------------------------- the default directory


def test_the_default_is_private_and_each_projects_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    assert files.private_directory() == f"{place}/django-ws"
    one, two = files.default_endpoints("/srv/one settings"), files.default_endpoints("/srv/two")
    assert len({*one, *two}) == 4
    assert {os.path.dirname(ipc_path(each)) for each in one} == {f"{place}/django-ws"}
    files.make_directories(one)
    files.make_directories(two)
    assert stat.S_IMODE((place / "django-ws").stat().st_mode) == 0o700


@pytest.mark.parametrize("why", ["unset", "relative", "missing", "open to others", "too long"])
def test_a_runtime_directory_that_will_not_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    given = {"unset": "", "relative": ".", "missing": f"{place}/no"}.get(why, str(place))
    if why == "open to others":
        place.chmod(0o755)
    elif why == "too long":
        (place / ("x" * 60)).mkdir(0o700)
        given = f"{place}/{'x' * 60}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    assert files.private_directory() == f"/tmp/django-ws-{os.geteuid()}"


@pytest.mark.parametrize("kind", ["a symbolic link", "a regular file", "open to other users"])
def test_what_is_in_the_place_of_the_private_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    (place / "target").mkdir()
    if kind == "open to other users":
        (place / "django-ws").mkdir()
        (place / "django-ws").chmod(0o755)
    else:
        make(place / "django-ws", kind)
    with pytest.raises(EndpointError, match=kind):
        files.make_directories(files.default_endpoints("x"))
    files.make_directories(["ipc:///tmp/ws_push", "tcp://127.0.0.1:1"])  # no matter to these


@as_root
def test_a_private_directory_of_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    (place / "django-ws").mkdir(0o700)
    os.chown(place / "django-ws", NOBODY, -1)
    with pytest.raises(EndpointError, match="belongs to another user"):
        files.make_directories(files.default_endpoints("x"))


# ---------------------------------------------------------------- leftovers


def test_leftovers(place: Path) -> None:
    path = place / "ws_push"
    endpoint = f"ipc://{path}"
    serve(path).close()
    (place / "ws_push.lock").touch()
    assert files.remove_leftovers(endpoint)
    assert list(place.iterdir()) == []
    assert not files.remove_leftovers(endpoint)
    assert not files.remove_leftovers("tcp://127.0.0.1:1")


def test_a_socket_without_a_lock_file_is_left_while_somebody_serves_it(place: Path) -> None:
    path = place / "ws_push"
    with serve(path):
        assert not files.remove_leftovers(f"ipc://{path}")
    assert files.remove_leftovers(f"ipc://{path}")
    assert list(place.iterdir()) == []


def test_a_sweep_takes_what_dead_workers_left_and_nothing_else(place: Path) -> None:
    dead, live = f"push.{'0' * 16}", f"push.{'1' * 16}"
    serve(place / dead).close()
    for name in (f"{dead}.lock", "push.old", f"pusher.{'0' * 16}.lock", "push.lock"):
        (place / name).touch()
    with serve(place / live):
        files.sweep(f"ipc://{place}/push")
    kept = {live, "push.old", f"pusher.{'0' * 16}.lock", "push.lock"}
    assert {path.name for path in place.iterdir()} == kept
    files.sweep("tcp://127.0.0.1:1")
    files.sweep(f"ipc://{place}/nowhere/push")
