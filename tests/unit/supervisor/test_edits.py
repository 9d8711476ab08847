"""Edits that Django's autoreload signals deal with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.autoreload import autoreload_started, file_changed

from django_ws.supervisor.edits import Edits


class Receivers:
    """Watches a directory and one more file, and deals with what ends in ``.html``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[str] = []

    def started(self, sender: Edits, **kwargs: object) -> None:
        sender.watch_dir(self.directory, "**/*")
        sender.extra_files.add(self.directory.parent / "extra")

    def changed(self, file_path: Path, **kwargs: object) -> bool:
        self.told.append(file_path.name)
        return file_path.suffix == ".html"


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    (tmp_path / "watched" / "deep").mkdir(parents=True)
    receivers = Receivers(tmp_path / "watched")
    autoreload_started.connect(receivers.started)
    file_changed.connect(receivers.changed)
    yield receivers
    autoreload_started.disconnect(receivers.started)
    file_changed.disconnect(receivers.changed)


def write(path: Path, at: int) -> None:
    path.write_text("x")
    os.utime(path, (at, at))


def test_changes_are_told_once_and_unhandled_ones_passed_on(receivers: Receivers) -> None:
    page, other, module = (receivers.directory / f"deep/x.{kind}" for kind in ("html", "md", "py"))
    extra = receivers.directory.parent / "extra"
    for path in (page, other, module):
        write(path, 1000)
    unhandled: list[str] = []
    edits = Edits(lambda path: unhandled.append(path.name))
    edits.start()
    edits.look()
    assert receivers.told == []
    for path in (page, other, module, extra):  # one of them is new
        write(path, 2000)
    edits.look()
    edits.look()
    assert sorted(receivers.told) == ["extra", "x.html", "x.md"]
    assert sorted(unhandled) == ["extra", "x.md"]


def test_a_file_that_is_renamed_away_and_back_is_no_news(receivers: Receivers) -> None:
    page = receivers.directory / "x.html"
    write(page, 1000)
    edits = Edits(lambda path: None)
    edits.start()
    page.rename(page.with_suffix(".gone.html"))
    edits.look()
    page.with_suffix(".gone.html").rename(page)
    edits.look()
    assert receivers.told == ["x.gone.html"]
