"""Child processes: the command that starts one, and the words for how one ended."""

from __future__ import annotations

import os
import signal
import sys

_BOOT = (
    "import sys, json, importlib; sys.path[:] = json.loads(sys.argv[1]);"
    "module, _, name = sys.argv[2].partition(':');"
    "getattr(importlib.import_module(module), name)(*sys.argv[3:])"
)


SAID_WHY = 70
"""The exit code of a process that ends on purpose, after it has written the reason to stderr."""


def python_command(function: str, *arguments: object) -> list[str]:
    """The command that calls a function, `module:name`, in a new Python process with this process's module path.

    The function gets its arguments as strings.
    """
    import json

    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    return [sys.executable, "-I", "-c", _BOOT, path, function, *map(str, arguments)]


def how_it_ended(exit_code: int) -> str:
    """A sentence for how a process ended, from the exit code that `subprocess` reports."""
    if exit_code == SAID_WHY:
        return "it ended itself"
    if exit_code >= 0:
        return f"it exited with code {exit_code}"
    try:
        return f"it was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"it was ended by signal {-exit_code}"
