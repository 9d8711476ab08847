"""Notices that Python files change, by looking at them again and again.

Polling works on every file system, containers' mounts included, and a few hundred ``stat`` calls
cost about a millisecond.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from types import ModuleType

__all__ = ["INTERVAL", "Watcher", "files_of", "loaded_files"]

#: Seconds between two looks.
INTERVAL = 0.15

_Signature = tuple[int, int, int]


def _signature(path: str) -> _Signature | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watcher:
    """Remembers what files looked like.

    A file that disappears counts as unchanged until it is back, since editors save by renaming.
    In a directory every Python file counts, also one that is new.
    """

    def __init__(self) -> None:
        self._files: dict[str, _Signature | None] = {}
        self._heard: dict[str, _Signature | None] = {}
        self._directories: dict[str, dict[str, _Signature | None]] = {}

    def watch(self, files: Iterable[str], since: float = float("inf")) -> None:
        """Look at these files from now on, too.

        Args:
            files: absolute paths.
            since: seconds since the epoch; a file changed later than that counts as changed
                already, because whoever loaded it may have read what was there before.
        """
        for path in files:
            if path in self._files:
                continue
            signature = _signature(path)
            if signature is not None and signature[0] > since * 1e9:
                signature = None
            self._files[path] = signature

    def heard(self, path: str) -> bool:
        """A process says that a file has changed; False if another one has said so before."""
        now = _signature(path)
        if path in self._heard and self._heard[path] == now:
            return False
        self._heard[path] = now
        return True

    def watch_around(self, files: Iterable[str]) -> None:
        """Also look at everything that lies beside these files, until :meth:`settle`."""
        for directory in {os.path.dirname(path) for path in files}:
            if directory not in self._directories:
                self._directories[directory] = _python_files(directory)

    def settle(self) -> None:
        """Look at the files alone again: what is there now can start."""
        self._directories.clear()

    def changed(self) -> str | None:
        """One path that has changed since the last call, all others taken note of."""
        first: str | None = None
        for path, before in self._files.items():
            now = _signature(path)
            if now is not None and now != before:
                self._files[path] = now
                first = first or path
        for directory, known in self._directories.items():
            found = _python_files(directory)
            if found != known:
                self._directories[directory] = found
                first = first or next(
                    (path for path in found if found[path] != known.get(path)), directory
                )
        return first


def _python_files(directory: str) -> dict[str, _Signature | None]:
    try:
        with os.scandir(directory) as entries:
            names = [entry.path for entry in entries if entry.name.endswith(".py")]
    except OSError:
        return {}
    return {path: _signature(path) for path in sorted(names)}


def _installed() -> tuple[str, ...]:
    """Directories of what nobody edits: the standard library and installed packages."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in found)


def _own(paths: Iterable[str]) -> Iterator[str]:
    installed = _installed()
    for path in paths:
        real = os.path.realpath(path)
        if real.endswith(".py") and not real.startswith(installed):
            yield real


def loaded_files() -> list[str]:
    """The source files of this process's modules, without installed packages."""
    # By the module's __dict__, because getattr on a lazy module would import it.
    names = (
        module.__dict__.get("__file__")
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType)
    )
    return sorted(set(_own(name for name in names if isinstance(name, str))))


def files_of(exception: BaseException) -> list[str]:
    """The source files that an exception's traceback names, without installed packages."""
    names: set[str] = set()
    chain: list[BaseException | None] = [exception]
    seen: set[int] = set()
    while chain:
        error = chain.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        names.update(
            frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)
        )
        if isinstance(error, SyntaxError) and error.filename:
            names.add(error.filename)  # its own file has no frame
        chain += [error.__cause__, error.__context__]
    return sorted(set(_own(names)))
