"""Watching Python files."""

from __future__ import annotations

import os
import sys
import time

import pytest

from django_ws.supervisor.reload import Watcher, files_of, loaded_files


@pytest.fixture
def module(tmp_path):
    """A Python file."""
    path = tmp_path / "module.py"
    path.write_text("a = 1")
    return path


def test_nothing_changes_by_itself(module):
    watcher = Watcher()
    watcher.watch([str(module)])
    assert watcher.changed() is None


def test_a_change_is_told_once(module):
    watcher = Watcher()
    watcher.watch([str(module)])
    module.write_text("a = 2, longer")
    assert watcher.changed() == str(module)
    assert watcher.changed() is None


def test_same_size_and_a_later_time(module):
    watcher = Watcher()
    watcher.watch([str(module)])
    os.utime(module, ns=(1, 1))
    assert watcher.changed() == str(module)


def test_editors_save_by_renaming(module, tmp_path):
    watcher = Watcher()
    watcher.watch([str(module)])
    module.unlink()
    assert watcher.changed() is None
    (tmp_path / "new").write_text("a = 1")
    (tmp_path / "new").rename(module)
    assert watcher.changed() == str(module)


def test_what_changed_while_it_was_loaded_counts(module):
    watcher = Watcher()
    watcher.watch([str(module)], since=time.time() - 60)
    assert watcher.changed() == str(module)
    assert watcher.changed() is None


def test_watching_again_forgets_nothing(module):
    watcher = Watcher()
    watcher.watch([str(module)])
    module.write_text("a = 2, longer")
    watcher.watch([str(module)])
    assert watcher.changed() == str(module)


def test_neighbours_count_only_until_it_settles(module, tmp_path):
    watcher = Watcher()
    watcher.watch([str(module)])
    (tmp_path / "one.py").write_text("")
    assert watcher.changed() is None
    watcher.watch_around([str(module)])
    assert watcher.changed() is None
    (tmp_path / "two.py").write_text("")
    assert watcher.changed() == str(tmp_path / "two.py")
    (tmp_path / "two.py").unlink()
    assert watcher.changed() == str(tmp_path)
    watcher.settle()
    (tmp_path / "three.py").write_text("")
    assert watcher.changed() is None


def test_own_modules_are_loaded_files_but_installed_ones_are_not(module, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    __import__("module")
    try:
        files = loaded_files()
    finally:
        del sys.modules["module"]
    assert str(module.resolve()) in files
    assert os.path.realpath(pytest.__file__) not in files
    assert os.path.realpath(os.__file__) not in files


def test_files_of_a_traceback_with_its_causes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_inside.py").write_text("def oops(:\n")
    (tmp_path / "broken_outside.py").write_text(
        "try:\n    import broken_inside\nexcept SyntaxError as e:\n    raise LookupError from e\n"
    )
    with pytest.raises(LookupError) as caught:
        __import__("broken_outside")
    names = {os.path.basename(path) for path in files_of(caught.value)}
    assert names == {"broken_inside.py", "broken_outside.py", "test_reload.py"}
