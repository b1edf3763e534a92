"""Connections to a worker, one for each runner and each set of variables: their requests and answers, and the state
that both sides share."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from wasi_nn.errors import NNError
from wasi_nn.graph.runner import OPTIONAL
from wasi_nn.isolation.wire.channel import Channel, Gone
from wasi_nn.isolation.wire.descriptions import InvalidWorkerMessage
from wasi_nn.isolation.wire.outputs import OutputReader, copies, declared_outputs
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.limits.stopping import stopped_by

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.isolation import Isolation
    from wasi_nn.isolation.worker_process import Worker
    from wasi_nn.types import Array

_numbers = itertools.count()
_LISTEN_EVERY = 0.1  # seconds
_AS_LONG_AS_IT_TAKES: AbstractContextManager[None] = nullcontext()


AfterEnd = Callable[[NNError], NNError]


class Models(Protocol):
    """The source of workers and graphs for runners: a model, or a set of its variables."""

    settings: Isolation

    def after_end(self, error: NNError, /) -> NNError:
        """The error for those who waited for a worker that has ended, with the consequences."""

    def worker_with(self, name: bytes) -> tuple[Worker, int]:
        """The worker that has a graph, and the graph's number there. Raises `NNError`."""


class Connection:
    """A channel of its own to a worker. It ends with the worker: a new worker means a new connection, so that no state
    of the old one is left.

    `begin` is the request on the control channel that gives the worker the other end. The worker answers it on the new
    channel: `began` is this answer. `to` says in an error what all this is for. `after_end` completes the error for
    those who wait when the worker ends. Raises `NNError` as `ask` does.
    """

    _apart: OutputReader | None = None  # of outputs that come without a reader of their own

    def __init__(self, worker: Worker, settings: Isolation, begin: Message, to: str, after_end: AfterEnd) -> None:
        self.worker = worker
        self._settings = settings
        self._after_end = after_end
        # Numbers of calls: the last one, and the one that is awaited (0: none).
        self._calls = self._under_way = 0
        self.data = memoryview(b"")
        """The bytes beside the last answer."""
        self._channel, theirs = Channel.pair()
        # Before the garbage collector would find the socket open, in whatever order it goes.
        self._end = weakref.finalize(self, self._channel.close)
        self._end.atexit = False
        with theirs:
            if not self.worker.tell(begin, [theirs.fileno()]):
                self.close()
                raise self.worker.died()
        try:
            with stopped_by(self.worker.kill):
                self.began = self.ask(None, to=to)
        except BaseException:
            self.close()
            raise

    @property
    def is_usable(self) -> bool:
        """Whether the other side can be asked: its worker is alive, and no call failed half-way."""
        return self._end.alive and self.worker.is_alive

    def close(self) -> None:
        """Close the channel, by which the worker drops what is on the other side."""
        self._end()

    def ask(
        self, content: bytes | None, files: Sequence[int] = (), outputs: OutputReader | None = None, *, to: str = ""
    ) -> Message:
        """Send a request (None: it was sent already), and wait for the answer. `outputs` gets the room for outputs.

        `to` says what the request is for, in an error, and bounds it by `Isolation.load_time`; without it, the caller
        bounds the time. Raises `NNError`: the other side's own, `timeout`, and `runtime-error` if the worker ends.
        """
        self._calls += 1
        self._under_way = self._calls
        try:
            with self._channel.within(self._settings.load_time) if to else _AS_LONG_AS_IT_TAKES:
                answer = self._answer(content, files, outputs or self._apart)
        except TimeoutError:
            self.close()
            raise self._after_end(self.worker.too_slow(to)) from None
        except Gone:
            self.close()
            raise self._after_end(self.worker.died()) from None
        except ValueError as error:
            raise self.misled(error) from error
        except NNError:
            self.worker.kill("it asked for more memory than its outputs may have")
            self.close()
            raise
        except BaseException:
            self.worker.kill("the host was interrupted")
            self.close()
            raise
        finally:
            self._under_way = 0
        self.worker.listen(every=_LISTEN_EVERY)
        if "error" in answer:
            raise self.worker.told(answer["error"])
        return answer

    def misled(self, error: Exception) -> NNError:
        """The error for an answer that can't be true. The worker is killed."""
        self.close()
        return self._after_end(self.worker.misled(error))

    def _answer(self, content: bytes | None, files: Sequence[int], outputs: OutputReader | None) -> Message:
        """Send a request and receive its answer; meanwhile, give room for outputs and pass texts on."""
        if content is not None:
            self._channel.send_encoded(content, files)
        while True:
            answer, data, _ = self._channel.receive()
            if "room" in answer:
                if outputs is None:
                    raise InvalidWorkerMessage("room for outputs, although there are none")
                self._channel.send({}, files=self._given_room(outputs, answer["room"]))
            elif "show" in answer:
                self._show(data)
            else:
                self.data = data
                return answer

    def _given_room(self, outputs: OutputReader, size: Any) -> list[int]:
        """The file of new room for outputs. Raises as `OutputReader.give_room` does."""
        return [outputs.give_room(size).file]

    def _show(self, text: memoryview) -> None:
        """Take generated text."""

    def read(self, outputs: OutputReader, answer: Message, index: int | None = None) -> list[Array]:
        """The outputs of an answer, in shared memory: of all, or of one. Raises `NNError` with `runtime-error` for
        outputs that can't be."""
        try:
            return outputs.read(answer, index)
        except InvalidWorkerMessage as error:
            raise self.misled(error) from error


class RunnerConnection(Connection):
    """A connection to a runner in a worker, for the graph of one configuration, or of one signature of a set."""

    def __init__(self, graph: Graph, models: Models, name: bytes) -> None:
        worker, place = models.worker_with(name)
        self.outputs = OutputReader(declared_outputs(graph), worker.outputs)
        self._apart = self._copied_at_once = OutputReader(declared_outputs(graph), worker.outputs)
        self.text_sink: Callable[[bytes], None] | None = None
        self._number = next(_numbers)
        self._insisted = 0  # the number of the last call that was interrupted
        begin = request(Request.RUNNER, graph=place, runner=self._number)
        super().__init__(worker, models.settings, begin, "begin an execution context", models.after_end)
        features = self.began.get("features", ())
        told = set(map(str, features)) if isinstance(features, list) else set()
        self.features = frozenset(OPTIONAL) & told
        """The optional methods that the runner in the worker has."""

    def _show(self, text: memoryview) -> None:
        if self.text_sink is not None:
            self.text_sink(bytes(text))

    def taken(self, answer: Message, index: int | None = None) -> list[Array]:
        """Copies of the outputs of an answer: of all, or of one. Raises as `read` does."""
        return copies(self.read(self._copied_at_once, answer, index))

    def interrupt(self) -> None:
        """End the call that is awaited, from any thread. The worker is killed if it goes on for longer than
        `Isolation.grace`, or at once if the runner has no `interrupt`."""
        call = self._under_way
        if not call:
            return

        def insist() -> None:
            if self._under_way == call:
                self.worker.kill("it went on computing past the deadline")

        if "interrupt" not in self.features:
            insist()
            return
        self.worker.tell(request(Request.INTERRUPT, runner=self._number))
        if self._insisted != call:  # one timer for each call, however often it is interrupted
            self._insisted = call
            timer = threading.Timer(self._settings.grace, insist)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # there is no thread to wait with
                insist()
