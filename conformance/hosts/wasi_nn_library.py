"""wasi-nn, a host for Python, as a library. The path is that of the Python that has it.

It is much faster than the command, since a process runs many guests, one after the other. A process that ends or hangs
is replaced.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty
from threading import Timer
from typing import TYPE_CHECKING

from conformance.hosts import wasi_nn
from conformance.hosts.driver import CRASH, HANG, REFUSED, TRAP, Graph, Outcome, ask, lines_of
from conformance.suite import HOME

if TYPE_CHECKING:
    from wasi_nn import Host


class Driver(wasi_nn.Driver):
    """The same as that of the command, in processes that run many guests."""

    def version(self, timeout: float = 60) -> str:
        code = "import wasi_nn; print('wasi-nn', wasi_nn.__version__, '(library)')"
        said = ask([self.path, "-c", code], timeout, _environment())
        if not said:
            raise OSError(f"{self.path} is no Python that has wasi-nn")
        return said

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        worker = self._worker()
        assert worker.stdin is not None
        assert worker.stdout is not None
        late: list[bool] = []

        def kill() -> None:
            late.append(True)
            worker.kill()

        timer = Timer(timeout, kill)
        timer.start()
        task = {"guest": str(guest), "graphs": {graph.name: str(graph.files[0]) for graph in graphs}}
        try:
            worker.stdin.write(json.dumps({**task, "encodings": list(self.encodings)}) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            worker.kill()
            with suppress(BrokenPipeError), worker:  # closing its input tells again that it is gone
                pass
            return Outcome([], HANG if late else CRASH)
        self.idle.put(worker)
        return Outcome(**json.loads(answer))

    def _worker(self) -> subprocess.Popen[str]:
        try:
            return self.idle.get_nowait()
        except Empty:
            return subprocess.Popen(
                [self.path, "-m", "conformance.hosts.wasi_nn_library"],
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )


def _environment() -> Mapping[str, str]:
    places = [str(HOME.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)}


def run_here(guest: Path, graphs: Mapping[str, str], encodings: Sequence[str]) -> Outcome:
    """Run a guest in this process. `graphs` are its named graphs: names with files."""
    from wasi_nn import Host

    with Host(graphs, allow_load=encodings) as host:
        return run_guest(host, guest)


def run_guest(host: Host, guest: Path) -> Outcome:
    """Run a guest on a host in this process."""
    from wasi_nn import GuestError, GuestTrap

    try:
        result = host.run(guest, capture_output=True)
    except GuestTrap as trap:
        return Outcome(lines_of(trap.stdout), TRAP, trap.reason)
    except GuestError as error:
        return Outcome([], REFUSED, str(error))
    said = result.stats.nn_errors
    return Outcome(lines_of(result.stdout), f"exit {result.exit_code}", said[-1] if said else "")


def main() -> None:
    """Run the guests that the standard input names, a line of JSON each, and answer by a line of JSON each."""
    for line in sys.stdin:
        task = json.loads(line)
        outcome = run_here(Path(task["guest"]), task["graphs"], task["encodings"])
        print(json.dumps({"lines": outcome.lines, "end": outcome.end, "reason": outcome.reason}), flush=True)


if __name__ == "__main__":
    main()
