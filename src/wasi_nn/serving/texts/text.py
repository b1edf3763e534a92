"""`Text`: a text that a language model writes on a thread, and that comes to the event loop piece by piece."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_nn.errors import NNError, PromptTooLong, one_line
from wasi_nn.serving.computing.served_graph import GuardedContext
from wasi_nn.serving.computing.thread_calls import call_in_thread
from wasi_nn.serving.failures import Reason, ServingError, of_compute
from wasi_nn.serving.settings import how_to_raise
from wasi_nn.serving.texts.stops import StopFilter

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph

_GRACE = 1.0  # seconds between the end of the request's time, at which the text is interrupted, and giving it up


class PromptDoesNotFit(ServingError):
    """A prompt is longer than the context of its model."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.INVALID, message)


@dataclass(frozen=True)
class TextEnd:
    """The end of a text: whether the model or a stop ended it, not a limit on tokens or the end of the context; and
    the numbers of tokens."""

    is_complete: bool
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True)
class Writing:
    """What a text is written from. `options` are those of the graph, as on its input 1. `until` is the end of the
    request's time, and `longest` the seconds that no request may exceed."""

    prompt: bytes
    options: Mapping[str, Any]
    stops: Sequence[str]
    until: float
    longest: float


class Text:
    """An asynchronous iterator of the parts of a text, of one token or more. After the last one there is `end`.

    Each text has an execution context of its own, so that nothing of a text is kept for another one. A text that nobody
    wants any more must be closed. `told` is called for each token, with its time. All methods but `_write` run in
    the event loop.
    """

    def __init__(self, graph: Graph, writing: Writing, told: Callable[[float], None]) -> None:
        self.end: TextEnd | None = None
        self.waited = 0.0
        """The seconds before it began."""
        self._writing = writing
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._guarded = GuardedContext(graph, writing.longest)
        self._guarded.guard.run_until = writing.until
        self._parts: list[str] = []
        self._failure: ServingError | None = None
        self._changed = asyncio.Event()
        self._has_ended = False
        self._is_closed = False
        self._at_end: Callable[[], None] = lambda: None
        self._alarm: asyncio.TimerHandle | None = None

    def start(self, at_end: Callable[[], None]) -> None:
        """Begin to write; `at_end` is called when the thread has ended. Raises `ServingError` without a thread."""
        self._at_end = at_end
        call_in_thread(self._write, self._ended)
        self._alarm = self._loop.call_at(self._writing.until + _GRACE, self._give_up)

    def __aiter__(self) -> Text:
        return self

    async def __anext__(self) -> str:
        """The next part of the text. Raises `ServingError`."""
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.end is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        part = "".join(self._parts)
        self._parts.clear()
        return part

    async def whole(self) -> str:
        """All of the text. Raises `ServingError`."""
        return "".join([part async for part in self])

    async def begun(self) -> None:
        """Wait for the first part, or the end. Raises `ServingError`."""
        while not self._parts and self.end is None:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Have the text end at its next token."""
        self._is_closed = True
        if not self._has_ended:
            self._guarded.guard.stop()

    def _arrived(self, part: str, at: float | None = None) -> None:
        if at is not None:
            self._told(at)
        if part:
            self._parts.append(part)
            self._changed.set()

    def _give_up(self) -> None:
        self._failure = self._failure or self._late()
        self._changed.set()

    def _ended(self, end: TextEnd | None, failure: BaseException | None) -> None:
        self._has_ended = True
        self._guarded.guard.close()
        if self._alarm is not None:
            self._alarm.cancel()
        self._at_end()
        if end is not None:
            self.end = end
        elif self._failure is None:
            self._failure = self._serving_error(failure)
        self._changed.set()

    def _write(self) -> TextEnd:
        """Write the text, on a thread."""
        context = self._guarded.context()
        context.set_input("prompt", self._writing.prompt)
        context.set_input("options", json.dumps(self._writing.options).encode())
        stops = StopFilter(self._writing.stops)
        tokens = 0
        with closing(context.pieces()) as pieces:  # type: ignore[type-var]  # it is a generator
            for piece in pieces:
                tokens += 1
                part = stops.take(piece.tobytes().decode())
                self._loop.call_soon_threadsafe(self._arrived, part, time.monotonic())
                if stops.has_stopped:
                    about = json.loads(bytes(context.single_output_bytes(1)))
                    return TextEnd(True, about["input_tokens"], tokens)
        rest = stops.rest()
        if rest:
            self._loop.call_soon_threadsafe(self._arrived, rest)
        about = json.loads(bytes(context.output(1)[1]))
        # Where the model ends the text, its last token is counted and has no piece.
        is_complete = about["output_tokens"] > tokens and not context.context_full
        return TextEnd(is_complete, about["input_tokens"], about["output_tokens"])

    def _late(self) -> ServingError:
        seconds = f"{self._writing.longest:g} s"
        message = f"the text didn't end within the request's time, {seconds} ({how_to_raise('request_time')})"
        return ServingError(Reason.LATE, message)

    def _serving_error(self, failure: BaseException | None) -> ServingError:
        if self._is_closed:
            return ServingError(Reason.CANCELLED, "nobody waits for the text any more")
        if isinstance(failure, PromptTooLong):
            return PromptDoesNotFit(failure.message)
        if isinstance(failure, NNError):
            error = of_compute(failure)
            return self._late() if error.reason is Reason.LATE else error
        if failure is None:
            return ServingError(Reason.FAILED, "the text ended without a reason")
        return ServingError(Reason.FAILED, f"the text failed: {one_line(failure)}")
