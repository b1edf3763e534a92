"""Processes of our own: how a Python process is started for a function, and how one ended."""

from __future__ import annotations

import json
import os
import signal
import sys

_BOOT = (
    "import sys, json, importlib; sys.path[:] = json.loads(sys.argv[1]);"
    "module, _, name = sys.argv[2].partition(':');"
    "getattr(importlib.import_module(module), name)(*sys.argv[3:])"
)


def python_command(function: str, *arguments: object) -> list[str]:
    """The command that calls a function, `module:name`, in a new Python process which finds modules where this one
    does. It gets its arguments as text."""
    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    return [sys.executable, "-I", "-c", _BOOT, path, function, *map(str, arguments)]


def how_it_ended(exit_code: int) -> str:
    """How a process ended, by the exit code that `subprocess` gives it."""
    if exit_code >= 0:
        return f"it exited with {exit_code}"
    try:
        return f"it was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"it was ended by signal {-exit_code}"
