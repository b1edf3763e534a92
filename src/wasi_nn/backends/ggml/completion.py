"""Generates texts with llama.cpp, piece by piece.

llama.cpp's server writes one text at a time, and goes on when nobody reads it. So that a half-read text doesn't block
all others, it gives way: it is cancelled, and when it is read further, it is written again from the beginning. That
gives the same text, since its seed is fixed.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.ggml.options import RANDOM_SEED
from wasi_nn.backends.ggml.server import require_success
from wasi_nn.errors import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.server import Engine

_AHEAD = 16  # pieces that a text must be ahead of its reader before it gives way


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The next characters of a text, and the numbers of tokens so far. The last chunk of a text has no characters, but
    an `end`, which says why the text ends."""

    text: str
    input_tokens: int
    output_tokens: int
    end: str


_Event = _Chunk | Mapping[str, Any] | BaseException | None
"""What a writer's thread reports: a chunk, an error of llama.cpp's as JSON, an exception, or None: it gave way."""

_INTERRUPTED = _Chunk("", 0, 0, "interrupted")


class Completion:
    """An iterable of the pieces of a text, in whole characters, as llama.cpp writes them. It can be iterated over once.

    `input_tokens` and `output_tokens` count the tokens up to the last piece; after the end, also the token that ended
    the text, which `tokens_of_text` leaves out. `full` says whether the text ended because the context is full. To stop
    early, close the iterator or drop it.
    """

    def __init__(self, engine: Engine, prompt: str, options: Mapping[str, Any]) -> None:
        self.input_tokens = self.output_tokens = self.tokens_of_text = 0
        self.full = False
        self._engine = engine
        self._writer: _Writer | None = None
        # The cache of prompts is off, so that no text depends on those of other contexts.
        fixed = {"prompt": prompt, "stream": True, "cache_prompt": False, "timings_per_token": True}
        self._request = {**options, **fixed}
        if options["seed"] == RANDOM_SEED:  # drawn here, so that the text can be written again
            self._request["seed"] = secrets.randbelow(RANDOM_SEED)

    def interrupt(self) -> None:
        """Make the iterator raise an error at its next piece, or now if it waits for one. Any thread may call this."""
        if self._writer is not None:
            self._writer.interrupt()

    def __iter__(self) -> Iterator[str]:
        pieces: list[str] = []
        writer = self._writer = _Writer(self._engine, self._request, 0)
        try:
            place = 0
            while True:
                chunk = writer.next()
                if chunk is None:
                    place = 0
                    writer = self._writer = _Writer(self._engine, self._request, len(pieces))
                elif chunk.end:
                    break
                elif place < len(pieces):  # written again
                    if chunk.text != pieces[place]:
                        message = "llama.cpp had to begin the text again, and wrote another one"
                        raise NNError(ErrorCode.RUNTIME_ERROR, message)
                    place += 1
                else:
                    place += 1
                    pieces.append(chunk.text)
                    self.input_tokens, self.output_tokens = chunk.input_tokens, chunk.output_tokens
                    yield chunk.text
        finally:
            writer.stopped = True
            self._writer = None
        self._set_totals(chunk)
        if "json_schema" in self._request:
            _require_json("".join(pieces), whole=chunk.end == "stop" and "stop" not in self._request)

    def _set_totals(self, last: _Chunk) -> None:
        limit = self._request["n_predict"]
        self.input_tokens = last.input_tokens
        self.output_tokens = last.output_tokens if limit else 0  # for n_predict 0, llama.cpp writes a token
        self.full = last.end == "length" and (limit < 0 or last.output_tokens < limit)
        self.tokens_of_text = self.output_tokens - (last.end == "stop")


class _Writer:
    """Has llama.cpp write a text, in its own thread, so that the reader can wait for one piece at a time.

    `repeated` is the number of pieces that were written already before the text gave way.
    """

    def __init__(self, engine: Engine, request: Mapping[str, Any], repeated: int) -> None:
        self.stopped = False
        self._engine = engine
        self._request = request
        # It gives way again only when it is four times as long, so that most of the time goes into new pieces.
        self._least = 4 * repeated + _AHEAD
        self._written = 0
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="wasi-nn ggml")
        engine.turns.take(self)
        try:
            self._thread.start()
        except BaseException:
            engine.turns.give_back(self)
            raise

    def interrupt(self) -> None:
        """Make `next` raise now, even while llama.cpp still computes: it stops at its next token."""
        self.stopped = True
        self._events.put(_INTERRUPTED)

    def next(self) -> _Chunk | None:
        """The next chunk; None if the text gave way to another. Raises the error of llama.cpp if there is one."""
        event = self._events.get()
        if event is _INTERRUPTED:
            if self._engine.in_worker and ("grammar" in self._request or "json_schema" in self._request):
                # A hostile grammar never ends. Then the host ends this process, and doesn't leave it to other texts.
                self._thread.join()
            raise NNError(ErrorCode.RUNTIME_ERROR, "the completion was interrupted")
        if isinstance(event, _Chunk) and not event.end:
            return event
        self._thread.join()
        try:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Mapping):
                require_success(event)
                raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp ended the text and gave no reason")
            return event
        finally:
            del event  # else an exception and this frame would be a cycle, which keeps the engine in memory

    def _write(self) -> None:
        end: _Event = None

        def take(answer: dict[str, Any]) -> bool:
            nonlocal end
            if "error" in answer:
                end = answer
                return True
            chunk = _read(answer)
            if chunk.end:
                end = chunk
                return False
            if chunk.text and self._request["n_predict"]:
                self._written += 1
                self._events.put(chunk)
            return self.stopped or self._gives_way()

        try:
            self._engine.complete(self._request, take)
        except BaseException as error:
            end = error
        finally:
            self._engine.turns.give_back(self)
            self._events.put(end)
            end = None

    def _gives_way(self) -> bool:
        if self._events.qsize() < _AHEAD:
            return False
        others_wait = self._engine.turns.has_waiters and self._written >= self._least
        # At its end, the interpreter waits for this thread.
        return others_wait or not threading.main_thread().is_alive()


def _read(answer: Mapping[str, Any]) -> _Chunk:
    (choice,) = answer["choices"]
    if choice["finish_reason"]:
        usage = answer["usage"]
        return _Chunk("", usage["prompt_tokens"], usage["completion_tokens"], choice["finish_reason"])
    timings = answer["timings"]
    return _Chunk(choice["text"], timings["prompt_n"], timings["predicted_n"], "")


def _require_json(text: str, whole: bool) -> None:
    """Raise `NNError` for text that isn't JSON, or doesn't begin like JSON if it isn't `whole`: llama.cpp ignores a
    JSON schema that it can't read, and reports no error."""
    try:
        if text.lstrip()[:1] not in '{["-0123456789tfn':  # as no character is
            raise ValueError
        if whole:
            json.loads(text)
    except ValueError:
        message = "llama.cpp didn't follow the JSON schema, since it can't read it: simplify the schema"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from None
