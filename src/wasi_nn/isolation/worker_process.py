"""A worker process on the host's side: it is started, asked and ended, and never outlives the host."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.isolation import Isolation, how_to_raise, require_available
from wasi_nn.isolation.shared_memory import WorkerMemory
from wasi_nn.isolation.shortage import Used, after_crash, after_error, at_start
from wasi_nn.isolation.wire.channel import Channel, Gone, encoded
from wasi_nn.isolation.wire.descriptions import error_of
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.isolation.worker.sandbox import library_folders
from wasi_nn.process import environment, forks
from wasi_nn.process.ending import finalize_by_the_end
from wasi_nn.process.processes import SAID_WHY, how_it_ended, python_command

words_of_workers = logging.getLogger("wasi_nn.workers")

_MOMENT = 0.1  # seconds
_FAILURES = (ErrorCode.RUNTIME_ERROR, ErrorCode.UNSUPPORTED_OPERATION)  # of a start; others are of the caller
_LAST_WORDS, _LAST_LINE = 8192, 200
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


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
        self._reading = threading.RLock()  # while one thread reads `_words`, no other closes it
        self._said = bytearray()
        self._listened = 0.0
        self._reason = ""
        self._starting = "Python"
        self.inputs, self.outputs = WorkerMemory(), WorkerMemory(settings.memory)
        try:
            held = self._start()
        except OSError as error:
            text = f"no process can be started for an isolated graph: {one_line(error)}"
            raise NNError(ErrorCode.RUNTIME_ERROR, text) from error
        held.callback(self.inputs.close)
        held.callback(self.outputs.close)
        self._end = finalize_by_the_end(self, _end, self.process, held, os.getpid())
        forks.reset_in_child(self)
        allowed = [*library_folders(), *map(os.path.realpath, readable)]
        may = request(
            Request.CONFINE,
            readable=allowed,
            memory=settings.memory,
            model=model,
            threads=settings.threads,
            sockets=sockets,
        )
        try:
            self.ask(may, "be confined")
        except BaseException:
            self.close()
            raise

    def _start(self) -> ExitStack:
        """Start the process; gives the resources to close when it ends."""
        with ExitStack() as opened:
            self._control, theirs = Channel.pair()
            opened.callback(self._control.close)
            with theirs:
                # The same socket again, without the timeout that `within` sets on the other.
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
        self,
        message: Mapping[str, Any],
        to: str,
        data: bytes | memoryview = b"",
        files: Sequence[int] = (),
        within: float | None = None,
    ) -> tuple[Message, memoryview]:
        """Send a request on the control channel, and wait for the answer; gives the answer and its bytes. `to` says in
        errors what the request is for, and `within` how many seconds it may take (None: `Isolation.load_time`).

        Raises `NNError`: the worker's own, `timeout` after these seconds, `runtime-error` if the worker ends,
        `too-large` for more bytes than one message has.
        """
        content = encoded(message, data, len(files))
        with self._lock:
            try:
                with self._control.within(self._settings.load_time if within is None else within):
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

    def start(self, backend: str, runtime: str, within: float | None = None) -> None:
        """Have the worker import a backend, `module:name`, and its runtime. Of no effect if it has. Raises as `ask`
        does."""
        self._starting = runtime
        self.ask(request(Request.START, backend=backend), f"start {runtime}", within=within)
        self._starting = ""

    def tell(self, message: Mapping[str, Any], files: Sequence[int] = ()) -> bool:
        """Send a request that has no answer, without waiting. False if it couldn't be sent: the worker has ended, or
        doesn't read."""
        content = encoded(message, files=len(files))
        if not self._sending.acquire(timeout=_MOMENT):
            return False
        try:
            if socket.send_fds(self._telling, [content], files, socket.MSG_DONTWAIT) == len(content):
                return True
            self.kill("it doesn't read its requests")
        except OSError:
            pass
        finally:
            self._sending.release()
        return False

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._end.alive and self.process.poll() is None

    def kill(self, reason: str = "") -> None:
        """Kill the process. `reason` is for the errors of those who wait for an answer."""
        if not self._reason:
            self._reason = reason
        self.process.kill()

    def died(self) -> NNError:
        """The error for those who waited for an answer when the worker ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.kill()
        code = self.process.wait()
        self.listen()
        how = self._reason or how_it_ended(code)
        by_limits = self._starting and not self._reason and code != -signal.SIGKILL
        message = at_start(self._starting, how, self._settings) if by_limits else ""
        if message:
            return NNError(ErrorCode.RUNTIME_ERROR, message)
        lines = _COLOUR.sub("", self._said.decode("utf-8", "replace")).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = f"; its last line: {printable(last)[:_LAST_LINE]}" if last and not self._reason else ""
        wanted = "" if self._reason or code in (SAID_WHY, -signal.SIGKILL) else after_crash(self._settings)
        message = f"the isolated worker is gone: {how}{said}{wanted}. The model is loaded again when it is next used"
        return NNError(ErrorCode.RUNTIME_ERROR, message)

    def too_slow(self, to: str) -> NNError:
        """The error for a request that took too long. The worker is killed."""
        limit = self._settings.load_time
        hint = after_error("", self._settings, Used.by_process(self.process.pid))
        self.kill(f"it took longer than {limit:g} s to {to}")
        message = f"the isolated worker took longer than {limit:g} s to {to} ({how_to_raise('load_time')}){hint}"
        return NNError(ErrorCode.TIMEOUT, message)

    def misled(self, error: Exception) -> NNError:
        """The error for an answer that can't be true. The worker is killed."""
        self.kill(f"it sent an invalid message ({one_line(error)})")
        return self.died()

    def told(self, said: Any) -> NNError:
        """The error of an answer."""
        try:
            error, used = error_of(said), Used.of(said.get("used"))
            message = ""
            if self._starting and used is not None and error.code in _FAILURES:
                message = at_start(self._starting, str(error), self._settings, used)
            if message:
                return NNError(ErrorCode.RUNTIME_ERROR, message)
            hint = after_error(str(error), self._settings, used) if error.code is ErrorCode.RUNTIME_ERROR else ""
            return error.with_message(f"{error}{hint}")
        except ValueError as error:
            return self.misled(error)

    def listen(self, *, every: float = 0) -> None:
        """Log what it wrote to its standard output and error meanwhile, unless that was done `every` seconds ago and
        nobody reads it."""
        now = time.monotonic()
        if now < self._listened + every and not words_of_workers.isEnabledFor(logging.DEBUG):
            return
        with self._reading:
            if not self._end.alive:  # the number of the descriptor may be another one's now
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
        """Kill the process and close all that belongs to it."""
        with self._reading:
            self._end()

    def reset_in_child(self) -> None:
        """In a fork of the host, close its copies of the descriptors, so that the worker sees the host's end."""
        self._end()  # without the lock, which a thread of the host may have held


def _started(given: tuple[int, int], words: int) -> subprocess.Popen[bytes]:
    """The process. `given` are its descriptors for the control channel and the lifeline, `words` is for its output."""
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
