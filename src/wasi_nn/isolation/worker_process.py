"""A worker, as the host has it: a process that is started, asked, and ended; and never outlives the host."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.isolation import Isolation, require_available
from wasi_nn.isolation.shared_memory import WorkerMemory
from wasi_nn.isolation.shortage import after_crash, after_error
from wasi_nn.isolation.wire.channel import Channel, Gone, Message, encoded
from wasi_nn.isolation.wire.descriptions import error_of
from wasi_nn.isolation.worker.sandbox import library_folders
from wasi_nn.process import environment, forks
from wasi_nn.process.processes import how_it_ended, python_command

words_of_workers = logging.getLogger("wasi_nn.workers")

_MOMENT = 0.1  # seconds
_LAST_WORDS, _LAST_LINE = 8192, 200


class Worker:
    """A process that loads a model and runs it. Safe to use from several threads.

    `readable` are the files and folders that it may read besides its libraries, `model` the bytes of its model; with
    `sockets`, it may listen on a loopback of its own. Raises `NNError`: `unsupported-operation` where the platform
    can't confine it, `runtime-error` where it can't be started.
    """

    def __init__(self, settings: Isolation, readable: Iterable[str], *, model: int = 0, sockets: bool) -> None:
        require_available()
        self.graphs: dict[bytes, int] = {}
        self._settings = settings
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._said = bytearray()
        self._listened = 0.0
        self._reason = ""
        self.inputs, self.outputs = WorkerMemory(), WorkerMemory(settings.memory)
        try:
            held = self._start()
        except OSError as error:
            text = f"no process can be started for an isolated graph: {one_line(error)}"
            raise NNError(ErrorCode.RUNTIME_ERROR, text) from error
        held.callback(self.inputs.close)
        held.callback(self.outputs.close)
        self._end = weakref.finalize(self, _end, self.process, held, os.getpid())
        forks.reset_in_child(self)
        allowed = [*library_folders(), *map(os.path.realpath, readable)]
        may = {"readable": allowed, "memory": settings.memory, "model": model, "threads": settings.threads}
        try:
            self.ask(may | {"sockets": sockets}, "be confined")
        except BaseException:
            self.close()
            raise

    def _start(self) -> ExitStack:
        """Start the process; gives what has to be closed in the end."""
        with ExitStack() as opened:
            self._control, theirs = Channel.pair()
            opened.callback(self._control.close)
            with theirs:
                # The same socket once more, without the time that others may wait at it.
                self._telling = opened.enter_context(socket.socket(fileno=os.dup(self._control.socket.fileno())))
                lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
                opened.callback(os.close, self._lifeline)
                os.fchmod(lifeline, 0)  # so that the worker can't open the host's end of it
                try:
                    self._words, words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                    opened.callback(os.close, self._words)
                    try:
                        self.process = _started((theirs.fileno(), lifeline), words)
                    finally:
                        os.close(words)
                finally:
                    os.close(lifeline)
            return opened.pop_all()

    def ask(
        self, message: Mapping[str, Any], to: str, data: bytes | memoryview = b"", files: Sequence[int] = ()
    ) -> tuple[Message, memoryview]:
        """Ask for something that takes its time, such as loading; gives the answer, and the bytes with it.

        Raises `NNError`: what the worker says, `timeout` if it doesn't answer in `Isolation.load_time`, `runtime-error`
        if it ends, `too-large` for more bytes than it is told at once.
        """
        content = encoded(message, data, len(files))
        with self._lock:
            try:
                with self._control.within(self._settings.load_time):
                    with self._sending:
                        self._control.send_encoded(content, files)
                    answer, given, _ = self._control.receive()
            except TimeoutError:
                raise self.too_slow(to) from None
            except Gone:
                raise self.died() from None
            except ValueError as error:
                raise self.misled(error) from error
            except BaseException:
                self.kill("the host was interrupted")
                raise
        self.listen()
        if "error" in answer:
            raise self.told(answer["error"])
        return answer, given

    def tell(self, message: Mapping[str, Any], files: Sequence[int] = ()) -> bool:
        """Tell the worker something that it doesn't answer, without waiting for it. False if it wasn't told: it is
        gone, or doesn't read what it is told."""
        content = encoded(message, files=len(files))
        if not self._sending.acquire(timeout=_MOMENT):
            return False
        try:
            if socket.send_fds(self._telling, [content], files, socket.MSG_DONTWAIT) == len(content):
                return True
            self.kill("it doesn't read what it is told")
        except OSError:
            pass
        finally:
            self._sending.release()
        return False

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._end.alive and self.process.poll() is None

    def kill(self, reason: str = "") -> None:
        """End it now. `reason` is what those who are waiting for it are told."""
        if not self._reason:
            self._reason = reason
        self.process.kill()

    def died(self) -> NNError:
        """What to tell those who were waiting for it."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.kill()
        code = self.process.wait()
        self.listen()
        how = self._reason or how_it_ended(code)
        lines = self._said.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = f"; the last that it said: {printable(last)[:_LAST_LINE]}" if last and not self._reason else ""
        wanted = "" if self._reason or code == -signal.SIGKILL else after_crash(self._settings)
        message = f"the isolated worker is gone: {how}{said}{wanted}. The model is loaded again when it is next used"
        return NNError(ErrorCode.RUNTIME_ERROR, message)

    def too_slow(self, to: str) -> NNError:
        """What to tell those for whom it didn't do something in time. It isn't asked again."""
        limit = self._settings.load_time
        self.kill(f"it took longer than {limit:g} s to {to}")
        message = f"the isolated worker took longer than {limit:g} s to {to} (Isolation.load_time)"
        return NNError(ErrorCode.TIMEOUT, message)

    def misled(self, error: Exception) -> NNError:
        """What to tell those to whom it said what can't be. It isn't asked again."""
        self.kill(f"it said what can't be ({one_line(error)})")
        return self.died()

    def told(self, said: Any) -> NNError:
        """The error that it tells of."""
        try:
            error = error_of(said)
            return error.told_as(f"{error}{after_error(str(error), self._settings)}")
        except ValueError as error:
            return self.misled(error)

    def listen(self, *, every: float = 0) -> None:
        """Log what it wrote to its standard output and error meanwhile, unless that was done `every` seconds ago and
        nobody reads it."""
        now = time.monotonic()
        if now < self._listened + every and not words_of_workers.isEnabledFor(logging.DEBUG):
            return
        self._listened = now
        try:
            words = os.read(self._words, _LAST_WORDS)
        except OSError:
            return
        self._said = (self._said + words)[-_LAST_WORDS:]
        for line in words.decode("utf-8", "replace").splitlines():
            words_of_workers.debug("isolated worker %d: %s", self.process.pid, printable(line))

    def close(self) -> None:
        """End it and let go of it."""
        self._end()

    def reset_in_child(self) -> None:
        """In a fork of the host, let go of it: it is the host's, and must see that end."""
        self.close()


def _started(given: tuple[int, int], words: int) -> subprocess.Popen[bytes]:
    """The process, with these descriptors: of its channel and its lifeline, and for what it prints."""
    return subprocess.Popen(
        python_command("wasi_nn.isolation.worker.main:main", *given),
        stdin=subprocess.DEVNULL,
        stdout=words,
        stderr=words,
        env=environment.for_process(),
        pass_fds=given,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes], held: ExitStack, host: int) -> None:
    if os.getpid() == host:
        process.kill()
        process.wait()
    else:  # a fork of the host: it isn't its worker
        process.returncode = 0
    held.close()
