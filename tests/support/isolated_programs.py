"""Graphs that run a test's Python program in a worker, and functions to examine the worker."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from confined_backend import ConfinedBackend

from wasi_nn import ExecutionTarget, Graph
from wasi_nn.isolation import Isolation, isolated_graph

X = np.array([-1, 2, -3, 4], np.float32)


def program(
    text: str, backend: type[ConfinedBackend] = ConfinedBackend, **options: Any
) -> isolated_graph.IsolatedGraph:
    """A graph in a worker whose output is the result of the program's `run(x)`."""
    settings = options.pop("settings", Isolation())
    source = [memoryview(textwrap.dedent(text).encode())]
    return isolated_graph.load(backend(), source, settings, ExecutionTarget.CPU, options)


def value(graph: Graph) -> Any:
    return graph.compute({"x": X})["y"].tolist()


_RUNS_STATEMENTS = """
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
def run(x):
    try:
        exec("".join(chr(int(number)) for number in x), dict(globals()))
    except OSError as error:
        return errno.errorcode[error.errno].encode()
    return b"done"
"""


@cache
def _statements(backend: type[ConfinedBackend]) -> Graph:
    """A graph that runs a statement, which is its input, in a worker that all statements have together."""
    return program(_RUNS_STATEMENTS, backend)


def outcome_of(statement: str, *, backend: type[ConfinedBackend] = ConfinedBackend) -> str:
    """Run a statement in a worker; returns `done`, or the name of its `OSError`."""
    text = np.array([ord(character) for character in statement], np.float32)
    return np.asarray(_statements(backend).compute({"x": text})["y"]).item().decode()  # type: ignore[no-any-return]


def worker_of(graph: Graph) -> int:
    assert isinstance(graph, isolated_graph.IsolatedGraph)
    return graph.worker_process


def kill_worker_of(graph: Graph) -> int:
    """Kill the worker that has the graph, and return its process id.

    Other threads may compute meanwhile: a worker that they saw end is no process any more, so the next one is killed.
    """
    while True:
        worker = worker_of(graph)
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
            return worker


def wait_for_end_of(worker: int) -> None:
    """Wait until a worker has ended, without taking its exit code from the graph."""
    with suppress(ChildProcessError):  # the graph has taken the exit code already
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)


def ended(process: int, within: float = 10) -> bool:
    """Whether a process is gone within some seconds, and isn't a zombie."""
    deadline = time.monotonic() + within
    while os.path.exists(f"/proc/{process}"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
