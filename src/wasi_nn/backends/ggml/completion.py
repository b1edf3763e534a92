"""Texts that llama.cpp writes, piece by piece.

llama.cpp's server writes on whether or not anybody reads, and it writes one text at a time. So that a text that is left
half read keeps no other from being written, it gives way: it is cancelled, and written once more from its beginning
when it is read on, which gives the same text again.
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

_AHEAD = 16
"""The pieces that a text has to be ahead of its reader before it gives way."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What llama.cpp says of a text as it goes on: the next characters, and how many tokens there are by then. The last
    one has no characters and says why the text ends."""

    text: str
    input_tokens: int
    output_tokens: int
    end: str


_Said = _Chunk | Mapping[str, Any] | BaseException | None
"""What a text comes to: a chunk, an answer that says what is wrong, what was raised; None where it gave way."""


_INTERRUPTED = _Chunk("", 0, 0, "interrupted")


class Completion:
    """The pieces of a text, in whole characters, as llama.cpp writes them.

    To be gone through once. `input_tokens` and `output_tokens` count what there was by the last piece; when all is
    written, also the token that ended the text. `tokens_of_text` leaves that one out, and `full` says whether the text
    ends where the context is full. To stop early, close the iterator or drop it.
    """

    def __init__(self, engine: Engine, prompt: str, wanted: Mapping[str, Any]) -> None:
        self.input_tokens = self.output_tokens = self.tokens_of_text = 0
        self.full = False
        self._engine = engine
        self._writing: _Writing | None = None
        # Nothing of one prompt is kept for the next, so that what a context gets depends on itself alone.
        fixed = {"prompt": prompt, "stream": True, "cache_prompt": False, "timings_per_token": True}
        self._request = {**wanted, **fixed}
        if wanted["seed"] == RANDOM_SEED:  # one that can be had again
            self._request["seed"] = secrets.randbelow(RANDOM_SEED)

    def interrupt(self) -> None:
        """End the text with an error, at the next piece that is waited for. From any thread."""
        if self._writing is not None:
            self._writing.interrupt()

    def __iter__(self) -> Iterator[str]:
        pieces: list[str] = []
        writing = self._writing = _Writing(self._engine, self._request, 0)
        try:
            place = 0
            while True:
                chunk = writing.next()
                if chunk is None:
                    place, writing = 0, _Writing(self._engine, self._request, len(pieces))
                    self._writing = writing
                elif chunk.end:
                    break
                elif place < len(pieces):
                    if chunk.text != pieces[place]:
                        message = "llama.cpp began a text once more, and wrote another"
                        raise NNError(ErrorCode.RUNTIME_ERROR, message)
                    place += 1
                else:
                    place += 1
                    pieces.append(chunk.text)
                    self.input_tokens, self.output_tokens = chunk.input_tokens, chunk.output_tokens
                    yield chunk.text
        finally:
            writing.stopped = True
            self._writing = None
        self._end(chunk)
        if "json_schema" in self._request:
            _require_json("".join(pieces), whole=chunk.end == "stop" and "stop" not in self._request)

    def _end(self, last: _Chunk) -> None:
        limit = self._request["n_predict"]
        self.input_tokens = last.input_tokens
        self.output_tokens = last.output_tokens if limit else 0  # for which llama.cpp writes 1
        self.full = last.end == "length" and (limit < 0 or last.output_tokens < limit)
        self.tokens_of_text = self.output_tokens - (last.end == "stop")


class _Writing:
    """llama.cpp at a text, in a thread of its own, so that this one may be interrupted, and ask for a piece at a time.

    `again` is how many pieces of it were written before it had to give way.
    """

    def __init__(self, engine: Engine, request: Mapping[str, Any], again: int) -> None:
        self.stopped = False
        self._engine = engine
        self._request = request
        # It gives way once more only when it has got much further: what is written again stays a part of the whole.
        self._least = 4 * again + _AHEAD
        self._written = 0
        self._chunks: SimpleQueue[_Said] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="wasi-nn ggml")
        engine.turns.take(self)
        try:
            self._thread.start()
        except BaseException:
            engine.turns.give_back(self)
            raise

    def interrupt(self) -> None:
        """Have `next` raise, now, whatever llama.cpp is at: it stops at its next token."""
        self.stopped = True
        self._chunks.put(_INTERRUPTED)

    def next(self) -> _Chunk | None:
        """What comes next; None if the text gave way to another. Raises what llama.cpp says is wrong."""
        found = self._chunks.get()
        if found is _INTERRUPTED:
            raise NNError(ErrorCode.RUNTIME_ERROR, "the text was interrupted")
        if isinstance(found, _Chunk) and not found.end:
            return found
        self._thread.join()
        try:
            if isinstance(found, BaseException):
                raise found
            if isinstance(found, Mapping):
                require_success(found)
                raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp ended a text without a word")
            return found
        finally:
            del found  # or an exception and this frame would keep each other, and the engine

    def _write(self) -> None:
        end: _Said = None

        def take(said: dict[str, Any]) -> bool:
            nonlocal end
            if "error" in said:
                end = said
                return True
            chunk = _read(said)
            if chunk.end:
                end = chunk
                return False
            if chunk.text and self._request["n_predict"]:
                self._written += 1
                self._chunks.put(chunk)
            return self.stopped or self._gives_way()

        try:
            self._engine.complete(self._request, take)
        except BaseException as error:
            end = error
        finally:
            self._engine.turns.give_back(self)
            self._chunks.put(end)
            end = None

    def _gives_way(self) -> bool:
        if self._chunks.qsize() < _AHEAD:
            return False
        wanted = self._engine.turns.are_waited_for and self._written >= self._least
        # At the end of the program this thread is waited for.
        return wanted or not threading.main_thread().is_alive()


def _read(said: Mapping[str, Any]) -> _Chunk:
    (choice,) = said["choices"]
    if choice["finish_reason"]:
        usage = said["usage"]
        return _Chunk("", usage["prompt_tokens"], usage["completion_tokens"], choice["finish_reason"])
    timings = said["timings"]
    return _Chunk(choice["text"], timings["prompt_n"], timings["predicted_n"], "")


def _require_json(text: str, whole: bool) -> None:
    """Raise `NNError` for text that can't have been kept to a JSON schema: llama.cpp drops one that it can't read, and
    says nothing."""
    if not text.strip() or text.lstrip()[0] in '{["-0123456789tfn':
        if not whole:
            return
        try:
            json.loads(text)
            return
        except ValueError:
            pass
    raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp didn't keep to the JSON schema: it can't use this one")
