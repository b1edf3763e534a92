"""Runs commands to their end, and guests in processes that run many of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Event, Timer
from typing import Any


def ended(
    words: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[int | None, bytes, bytes]:
    """Run a command to its end, without input. Gives its exit code, output and errors. It is killed with all that
    it started if it takes longer than the timeout, in seconds: then the code is None."""
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, *process.communicate()
    return process.returncode, output, errors


class Lasting:
    """Processes of a command that runs many guests, one after the other. For each guest it reads a line of JSON, the
    task, and answers by one: `{"code": 0, "output": "what the guest printed", "errors": "what the host says"}`. A
    negative code is the signal that ended the guest. A process that ends, or that hangs, is replaced."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment = command, environment
        self.idle: LifoQueue[subprocess.Popen[str]] = LifoQueue()
        """The processes that wait for a guest."""

    def ask(self, task: Mapping[str, Any], timeout: float) -> tuple[int | None, bytes, bytes]:
        """Run a guest: the code, the output and the errors, as `ended` gives them. A process that ends without an
        answer was killed."""
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        late = Event()

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        def kill_late() -> None:
            late.set()
            kill()

        timer = Timer(timeout, kill_late)
        timer.start()
        answer = ""
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        if not answer:
            kill()
            with suppress(BrokenPipeError), process:  # closing its input tells again that it is gone
                pass
            return (None if late.is_set() else -signal.SIGKILL), b"", b""
        self.idle.put(process)
        read = json.loads(answer)
        return read["code"], read["output"].encode(), read["errors"].encode()

    def _process(self) -> subprocess.Popen[str]:
        try:
            return self.idle.get_nowait()
        except Empty:
            return subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the processes."""
        while not self.idle.empty():
            with self.idle.get() as process:
                assert process.stdin is not None
                process.stdin.close()
