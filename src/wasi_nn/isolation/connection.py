"""A connection to one runner in a worker: its requests and answers, and the state that both sides share."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from wasi_nn.errors import NNError
from wasi_nn.graph.runner import OPTIONAL
from wasi_nn.isolation.wire.channel import Channel, Gone
from wasi_nn.isolation.wire.descriptions import InvalidWorkerMessage
from wasi_nn.isolation.wire.outputs import OutputReader, copies
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.limits.stopping import stopped_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasi_nn.graph.graph import Graph
    from wasi_nn.isolation.isolated_graph import Model
    from wasi_nn.types import Array

_numbers = itertools.count()
_LISTEN_EVERY = 0.1  # seconds
_AS_LONG_AS_IT_TAKES: AbstractContextManager[None] = nullcontext()


class Connection:
    """A runner in a worker, for the graph of one configuration. It ends with its worker: a new worker means a new
    connection, so that no state of the old one is left.

    Raises `NNError` as `ask` does.
    """

    def __init__(self, graph: Graph, model: Model, config: bytes) -> None:
        self.worker, place = model.worker_with(config)
        self.outputs = OutputReader(graph, self.worker.outputs)
        self.apart = OutputReader(graph, self.worker.outputs)  # for outputs that are copied at once
        self.text_sink: Callable[[bytes], None] | None = None
        self._settings = model.settings
        self._number = next(_numbers)
        # Numbers of calls: the last one, the one that is awaited (0: none), and the last that was interrupted.
        self._calls = self._under_way = self._insisted = 0
        self._channel, theirs = Channel.pair()
        # Before the garbage collector would find the socket open, in whatever order it goes.
        self._end = weakref.finalize(self, self._channel.close)
        self._end.atexit = False
        with theirs:
            if not self.worker.tell(request(Request.RUNNER, graph=place, runner=self._number), [theirs.fileno()]):
                self.close()
                raise self.worker.died()
        try:
            with stopped_by(self.worker.kill):
                features = self.ask(None, to="begin an execution context").get("features", ())
        except BaseException:
            self.close()
            raise
        told = set(map(str, features)) if isinstance(features, list) else set()
        self.features = frozenset(OPTIONAL) & told
        """The optional methods that the runner in the worker has."""

    @property
    def is_usable(self) -> bool:
        """Whether the runner can be asked: its worker is alive, and no call failed half-way."""
        return self._end.alive and self.worker.is_alive

    def close(self) -> None:
        """Close the channel, by which the worker drops the runner."""
        self._end()

    def ask(
        self, content: bytes | None, files: Sequence[int] = (), outputs: OutputReader | None = None, *, to: str = ""
    ) -> Message:
        """Send a request (None: it was sent already), and wait for the answer. `outputs` gets the room for outputs.

        `to` says what the request is for, in an error, and bounds it by `Isolation.load_time`; without it, the caller
        bounds the time, by `interrupt`. Raises `NNError`: the runner's own, `timeout`, and `runtime-error` if the
        worker ends.
        """
        self._calls += 1
        self._under_way = self._calls
        try:
            with self._channel.within(self._settings.load_time) if to else _AS_LONG_AS_IT_TAKES:
                answer = self._answer(content, files, outputs or self.apart)
        except TimeoutError:
            self.close()
            raise self.worker.too_slow(to) from None
        except Gone:
            self.close()
            raise self.worker.died() from None
        except ValueError as error:
            self.close()
            raise self.worker.misled(error) from error
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

    def _answer(self, content: bytes | None, files: Sequence[int], outputs: OutputReader) -> Message:
        """Send a request and receive its answer; meanwhile, give room for outputs and pass texts on."""
        if content is not None:
            self._channel.send_encoded(content, files)
        while True:
            answer, data, _ = self._channel.receive()
            if "room" in answer:
                self._channel.send({}, files=[outputs.give_room(answer["room"]).file])
            elif "show" not in answer:
                return answer
            elif self.text_sink is not None:
                self.text_sink(bytes(data))

    def told(self, outputs: OutputReader, answer: Message) -> list[Array]:
        """The outputs of an answer, in shared memory. Raises `NNError` with `runtime-error` for outputs that can't
        be."""
        return self._read(outputs, answer, None)

    def taken(self, answer: Message, index: int | None = None) -> list[Array]:
        """Copies of the outputs of an answer: of all, or of one. Raises as `told` does."""
        return copies(self._read(self.apart, answer, index))

    def _read(self, outputs: OutputReader, answer: Message, index: int | None) -> list[Array]:
        try:
            return outputs.read(answer, index)
        except InvalidWorkerMessage as error:
            raise self.worker.misled(error) from error

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
