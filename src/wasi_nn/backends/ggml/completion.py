"""Generates texts with llama.cpp, piece by piece.

llama.cpp's server writes a text in a slot, and goes on when nobody reads it: a slot can't pause. So the pieces are kept
until they are read, eight bytes for each beside the text itself. No text is longer than its slot's context.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from wasi_nn.backends.ggml.grammar_watch import GrammarWatch
from wasi_nn.backends.ggml.server import require_success
from wasi_nn.backends.ggml.slots import Slot, interrupted
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set_option

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.server import Engine

_AHEAD = 16  # pieces that a text may be ahead of its reader when the interpreter ends


Prompt = str | list[dict[str, Any]]
"""A text, or the texts and images of a message."""


class _End(NamedTuple):
    """The end of a text: its reason, and the numbers of tokens."""

    reason: str
    input_tokens: int
    output_tokens: int


class Completion:
    """An iterable of the pieces of a text, in whole characters, as llama.cpp writes them. It can be iterated over once.

    `owner` is the execution context whose text it is: a slot has only the tokens of its owner's last text.
    `input_tokens` and `output_tokens` count the tokens up to the last piece; after the end, also the token that ended
    the text, which `tokens_of_text` leaves out. `full` says whether the text ended because the context is full. To stop
    early, close the iterator or drop it.
    """

    def __init__(self, engine: Engine, prompt: Prompt, options: Mapping[str, Any], owner: object) -> None:
        self.input_tokens = self.output_tokens = self.tokens_of_text = 0
        self.full = False
        # With the progress of the prompt, a text can be stopped between two batches of it.
        fixed = {"stream": True, "timings_per_token": True, "return_progress": True}
        asked = {"prompt": prompt} if isinstance(prompt, str) else {"messages": [{"role": "user", "content": prompt}]}
        self._request = {**options, **asked, **fixed}
        self._writer = _Writer(engine, self._request, owner)

    @property
    def text(self) -> str:
        """The text so far."""
        return self._writer.text

    def interrupt(self) -> None:
        """Make the iterator raise an error at its next piece, or now if it waits for one. Any thread may call this."""
        self._writer.interrupt()

    def __iter__(self) -> Iterator[str]:
        writer = self._writer
        try:
            writer.start()
            while (piece := writer.next_piece()) is not None:
                self.input_tokens, self.output_tokens = writer.input_tokens, writer.tokens_read
                yield piece
        finally:
            writer.stop()
        end = writer.end()
        self._set_totals(end)
        if "json_schema" in self._request:
            _require_json(self.text, whole=end.reason == "stop" and "stop" not in self._request)

    def _set_totals(self, end: _End) -> None:
        limit = self._request["n_predict"]
        self.input_tokens = end.input_tokens
        self.output_tokens = end.output_tokens if limit else 0  # for n_predict 0, llama.cpp writes a token
        self.full = end.reason == "length" and (limit < 0 or end.output_tokens < limit)
        self.tokens_of_text = self.output_tokens - (end.reason == "stop")


class _Writer:
    """Has llama.cpp write a text, in its own thread, and keeps the pieces until the reader asks for them."""

    def __init__(self, engine: Engine, request: Mapping[str, Any], owner: object) -> None:
        self.is_stopped = False
        self.input_tokens = self.tokens_read = 0
        self._engine = engine
        self._request = request
        self._owner: object = owner
        self._text = bytearray()
        # The end of each piece in the text, and the number of tokens up to it.
        self._ends, self._tokens = array("I"), array("I")
        self._read = 0  # pieces
        self._is_interrupted = False
        self._end: _End | Mapping[str, Any] | BaseException | None = None  # of the writing
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # A hostile grammar never ends. In a worker, that costs the process.
        self._may_be_endless = engine.in_worker and ("grammar" in request or "json_schema" in request)
        self._watch: GrammarWatch | None = None

    @property
    def text(self) -> str:
        return self._text.decode()

    def start(self) -> None:
        """Wait for a slot, and begin to write."""
        slot, has_tokens = self._engine.slots.take(self, self._owner)
        self._owner = None
        keeps = has_tokens and not self._engine.settings.reproducible
        request = {**self._request, "id_slot": slot.number, "cache_prompt": keeps}
        self._thread = threading.Thread(target=self._write, args=(request, slot), name="wasi-nn ggml")
        try:
            if self._may_be_endless:
                self._watch = GrammarWatch(self._engine.go_round, self._engine.grammar_time)
            self._thread.start()
        except BaseException:
            self._thread = None
            self._end_watch()
            self._engine.slots.give_back(slot)
            raise

    def stop(self) -> None:
        """Have llama.cpp stop at its next token, or its next batch of the prompt."""
        self.is_stopped = True

    def interrupt(self) -> None:
        """Make `start` or `next_piece` raise now, even while llama.cpp still computes."""
        self.is_stopped = True
        with self._changed:
            self._is_interrupted = True
            self._changed.notify_all()
        self._engine.slots.wake()

    def next_piece(self) -> str | None:
        """The next piece; None at the end. Raises the error of llama.cpp if there is one."""
        with self._changed:
            self._tell_watch(waits=True)
            while self._read == len(self._ends) and self._end is None and not self._is_interrupted:
                self._changed.wait()
            self._tell_watch(waits=self._is_interrupted)
            if not self._is_interrupted:
                place = self._read
                if place == len(self._ends):
                    return None
                self._read += 1
                self.tokens_read = self._tokens[place]
                return self._text[self._ends[place - 1] if place else 0 : self._ends[place]].decode()
        if self._may_be_endless:
            self._join()  # for ever, until the host ends this process: it isn't left to other texts
        raise interrupted()

    def end(self) -> _End:
        """The end of a text whose pieces are all read. Raises the error of llama.cpp if there is one."""
        self._join()
        end = self._end
        try:
            if isinstance(end, BaseException):
                raise end
            if isinstance(end, Mapping):
                require_success(end)
            if not isinstance(end, _End):
                raise NNError(ErrorCode.RUNTIME_ERROR, "llama.cpp ended the text and gave no reason")
            return end
        finally:
            self._end = end = None  # else an exception and this frame would be a cycle, which keeps the engine

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _tell_watch(self, *, waits: bool) -> None:
        if self._watch is not None:
            self._watch.reader_waits(waits)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()

    def _write(self, request: Mapping[str, Any], slot: Slot) -> None:
        end: _End | Mapping[str, Any] | BaseException = {}

        def take(answer: dict[str, Any]) -> bool:
            nonlocal end
            if self._watch is not None:
                self._watch.progress()
            if "error" in answer:
                end = answer
                return True
            (choice,) = answer["choices"]
            if choice["finish_reason"]:
                timings = answer["timings"]
                end = _End(choice["finish_reason"], timings["prompt_n"] + timings["cache_n"], timings["predicted_n"])
                return False
            text = choice["text"] if "text" in choice else choice["delta"].get("content")
            if text and request["n_predict"]:
                self._add(text, answer["timings"])
            if self._is_too_far_ahead():
                end = _unread(self._engine.max_unread)
                return True
            return self.is_stopped

        try:
            self._engine.complete(request, take)
            if self._may_be_endless:
                self._engine.go_round()  # a text that was stopped may have left llama.cpp in its grammar
        except BaseException as error:
            end = error
        finally:
            self._end_watch()
            self._engine.slots.give_back(slot)
            with self._changed:
                self._end = end
                self._changed.notify_all()
            end = {}

    def _add(self, text: str, timings: Mapping[str, Any]) -> None:
        with self._changed:
            self.input_tokens = timings["prompt_n"] + timings["cache_n"]
            self._text += text.encode()
            self._ends.append(len(self._text))
            self._tokens.append(timings["predicted_n"])
            self._changed.notify_all()

    def _is_too_far_ahead(self) -> bool:
        ahead = len(self._ends) - self._read
        if ahead >= _AHEAD and not threading.main_thread().is_alive():
            return True  # at its end, the interpreter waits for this thread
        return ahead > self._engine.max_unread and self._engine.slots.waiters > 0


def _unread(limit: int) -> NNError:
    how = f"read faster, or allow more ({how_to_set_option('max-unread', 2 * limit)})"
    message = f"the text was ended since {limit} tokens of it weren't read while other texts waited: {how}"
    return NNError(ErrorCode.TOO_LARGE, message)


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
