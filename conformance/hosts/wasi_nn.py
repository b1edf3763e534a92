"""wasi-nn, a host for Python. The path is that of its command `wasi-nn`.

Each guest has a process of its own, which a process that has loaded the command forks. Where the Python of the command
isn't to be found, each guest starts the command anew.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Timer

from conformance.hosts import driver
from conformance.hosts.driver import CRASH, HANG, REFUSED, TRAP, Graph, Outcome, lines_of
from conformance.suite import HOME


class Driver(driver.Driver):
    """All interfaces; the encodings whose runtimes are installed beside it."""

    abis = ("core", "2024-06-25", "2024-08-19", "2024-10-28", "wasmedge", "wamr", "core-ext", "component-ext")

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.python = _python_of(self.words)
        """The Python that runs the command; empty if it isn't known."""
        self.idle: LifoQueue[subprocess.Popen[str]] = LifoQueue()
        """The processes that wait for a guest."""

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        named = [f"--graph={graph.name}={graph.files[0]}" for graph in graphs]
        loads = [f"--allow-load={encoding}" for encoding in self.encodings]
        return [*self.words, "run", *named, *loads, str(guest)]

    def reason(self, errors: str) -> str:
        return next((line for line in reversed(errors.splitlines()) if line.startswith("wasi-nn: ")), "")

    def end(self, code: int, errors: str) -> str:
        if code == 134:
            return TRAP
        refused = "can't be run" in errors or "exports no memory" in errors
        return REFUSED if code == 1 and refused else f"exit {code}"

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        if not self.python:
            return super().run(guest, graphs, folder, timeout)
        output, errors = (folder.with_name(f"{folder.name}-{name}") for name in ("output", "errors"))
        arguments = self.command(guest, graphs)[len(self.words) :]
        task = {"arguments": arguments, "folder": str(folder), "output": str(output), "errors": str(errors)}
        code, late = self._forked(task, timeout)
        printed, said = (path.read_bytes() if path.exists() else b"" for path in (output, errors))
        for path in (output, errors):
            path.unlink(missing_ok=True)
        message = said.decode(errors="replace")
        end = HANG if late else CRASH if code < 0 else self.end(code, message)
        return Outcome(lines_of(printed), end, self.reason(message))

    def _forked(self, task: Mapping[str, object], timeout: float) -> tuple[int, bool]:
        """Run the command in a fork: its exit code, negative for a signal, and whether it was killed since it was
        late."""
        parent = self._parent()
        assert parent.stdin is not None
        assert parent.stdout is not None
        started: list[int] = []
        late: list[bool] = []

        def kill() -> None:
            late.append(True)
            with suppress(ProcessLookupError):
                os.killpg(started[0], signal.SIGKILL) if started else parent.kill()

        timer = Timer(timeout, kill)
        timer.start()
        try:
            parent.stdin.write(json.dumps(task) + "\n")
            parent.stdin.flush()
            started.append(int(parent.stdout.readline()))
            code = int(parent.stdout.readline())
        except (BrokenPipeError, ValueError):  # the parent has ended
            if started:
                with suppress(ProcessLookupError):
                    os.killpg(started[0], signal.SIGKILL)
            parent.kill()
            with suppress(BrokenPipeError), parent:
                pass
            return -signal.SIGKILL, bool(late)
        finally:
            timer.cancel()
        self.idle.put(parent)
        return code, bool(late)

    def _parent(self) -> subprocess.Popen[str]:
        try:
            return self.idle.get_nowait()
        except Empty:
            return subprocess.Popen(
                [*self.python, "-c", (HOME / "forking.py").read_text(encoding="utf-8")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def close(self) -> None:
        while not self.idle.empty():
            with self.idle.get() as process:
                assert process.stdin is not None
                process.stdin.close()


def _python_of(words: Sequence[str]) -> Sequence[str]:
    """The Python that runs the command: that of `python -m wasi_nn`, or the one in the first line of a script."""
    if words[-2:] == ["-m", "wasi_nn"]:
        return words[:-2]
    path = shutil.which(words[0]) if len(words) == 1 else None
    if path is None:
        return ()
    with open(path, "rb") as file:
        first = file.readline(1000).decode(errors="replace")
    python = first.removeprefix("#!").split()
    is_python = first.startswith("#!/") and len(python) == 1 and Path(python[0]).name.startswith("python")
    return python if is_python else ()
