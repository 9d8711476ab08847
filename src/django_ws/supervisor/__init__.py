"""The process tree: starts the gateway and the workers, restarts, replaces and stops them.

It imports neither Django nor a line of the project's code, so nothing of theirs can stop it.
"""

from __future__ import annotations

from .child import import_path, python_command
from .plan import Output, Plan, StartupError
from .tree import Supervisor

__all__ = ["Output", "Plan", "StartupError", "Supervisor", "import_path", "python_command"]
