"""`BodyStreams`: streams for the bodies of a request where a sandbox answers several.

A sandbox has one standard input and one standard output for its life. So each body goes through a request of the
engine's own to this process, which has streams of its own: they end with the request, whatever the guest keeps.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.http.types import Streams
from wasi_nn.guests.http.outgoing.engine_connection import Broken, EngineConnection
from wasi_nn.process.threads import Call

if TYPE_CHECKING:
    from wasi_nn.guests.http.outgoing.engine_exchanges import EngineExchanges

logger = logging.getLogger("wasi_nn")

_PART = 65536
_HAS_ANSWER = 1


class BodyStreams(Streams):
    """The streams of one request, whose bodies are pipes; `body` is None if it has none. `own` gives the sandbox's
    streams for all else."""

    def __init__(self, own: Streams, exchanges: EngineExchanges, body: int | None, answer: int) -> None:
        self._own = own
        self._exchanges = exchanges
        self._body = body
        self._answer = answer
        self._request: _Exchange | None = None
        self._response: _Exchange | None = None
        self._open: list[_Exchange] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def request_body(self) -> int:
        if self._body is None:
            return self._own.request_body()  # which is empty
        self._request = exchange = self._begin(self._body, _pass_in, has_body=False, failed=self.close)
        self._exchanges.wait(exchange.number)
        if self._exchanges.look(exchange.number) != _HAS_ANSWER:
            raise GuestFault("the request's body can't be passed on")
        return self._exchanges.response_body(exchange.number)

    def response_body(self) -> int:
        self._response = exchange = self._begin(self._answer, _pass_out, has_body=True)
        return self._exchanges.request_body(exchange.number)

    def _begin(
        self,
        pipe: int,
        work: Callable[[EngineConnection, int], Iterator[int]],
        *,
        has_body: bool,
        failed: Callable[[], None] = lambda: None,
    ) -> _Exchange:
        try:
            exchange = _Exchange(self._exchanges, pipe, work, has_body=has_body, failed=failed)
        except (OSError, RuntimeError) as error:
            raise GuestFault(f"there is no connection for the bodies: {error}") from None
        with self._lock:
            self._open.append(exchange)
            is_closed = self._is_closed
        if is_closed:
            exchange.close()
        return exchange

    def end_response(self) -> None:
        if self._response is not None:
            self._exchanges.finish(self._response.number)
            self._response.has_ended.wait()
            # The connection broke, as it does where the guest is stopped; or the guest may have taken a request that
            # was cut for a whole one.
            if self._is_closed or not self._response.is_whole:
                raise GuestFault("the bodies couldn't be passed on")

    @property
    def passed(self) -> int:
        """The bytes of both bodies that were passed on."""
        return sum(exchange.passed for exchange in self._open)

    def errors(self) -> int:
        return self._own.errors()

    def after(self, nanoseconds: int) -> int:
        return self._own.after(nanoseconds)

    def end(self) -> None:
        """End the request. Raises `GuestFault` if the guest still holds the stream of its body."""
        self.close()
        if self._request is not None:
            self._exchanges.end_response(self._request.number)

    def close(self) -> None:
        """End the connections, which wakes a guest that waits for one. May be called from any thread."""
        with self._lock:
            self._is_closed, begun = True, list(self._open)
        # The answer's first: nothing that the guest makes of a cut request is passed on.
        for exchange in sorted(begun, key=lambda it: not it.has_body):
            exchange.close()


class _Exchange:
    """A request of the engine to this process, whose body or whose answer's is a pipe. `work` passes the bytes on, on a
    thread of its own, and gives how many. `failed` is called on that thread if it can't, but not where the guest wants
    no more bytes; the guest doesn't know of that yet. Raises `OSError`, `RuntimeError` and `GuestFault`."""

    def __init__(
        self,
        exchanges: EngineExchanges,
        pipe: int,
        work: Callable[[EngineConnection, int], Iterator[int]],
        *,
        has_body: bool,
        failed: Callable[[], None],
    ) -> None:
        self.has_ended = threading.Event()
        """Set when no more bytes are passed on."""
        self.is_whole = False
        """Whether all bytes were passed on, to the end of the body."""
        self.passed = 0
        """The bytes that were passed on."""
        self.has_body = has_body
        self._work = work
        self._failed = failed
        with ExitStack() as undo:
            self._engine = EngineConnection()
            undo.callback(self._engine.release)
            self._pipe = os.dup(pipe)
            undo.callback(os.close, self._pipe)
            self.number = exchanges.send(self._engine.authority, self._engine.path, has_body=has_body)
            if not self.number:
                raise OSError("the guest has made too many requests")
            Call(self._run)
            undo.pop_all()

    def _run(self) -> None:
        try:
            self._engine.accept()
            for size in self._work(self._engine, self._pipe):
                self.passed += size
            self.is_whole = True
        except Broken:
            pass  # by the engine, or by `close`
        except OSError:
            self._failed()
        except Exception:
            logger.exception("a guest's body broke off: internal error of the host")
            self._failed()
        finally:
            self._release()

    def _release(self) -> None:
        self._engine.release()
        os.close(self._pipe)
        self.has_ended.set()

    def close(self) -> None:
        """End it, also while its thread waits for the guest."""
        self._engine.close()


def _pass_in(engine: EngineConnection, pipe: int) -> Iterator[int]:
    """Pass a request's body on to the guest; gives the size of each part."""
    for _ in engine.parts():
        pass  # the engine's own request has an empty body, whose end comes after the head
    engine.answer()
    while part := os.read(pipe, _PART):
        engine.write(part)
        yield len(part)
    engine.end()
    engine.wait_until_taken()


def _pass_out(engine: EngineConnection, pipe: int) -> Iterator[int]:
    """Pass the body of the guest's answer on, likewise."""
    for part in engine.parts():
        yield len(part)
        while part:
            part = part[os.write(pipe, part) :]
    engine.answer()
    engine.end()
