"""A text that a server writes, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.backends.openai.server import OpenAIServer
    from wasi_nn.backends.remote.calls import Call
    from wasi_nn.backends.remote.failover import Servers


class Completion:
    """An iterable of the pieces of a text. It can be iterated over once; to stop early, close the iterator.

    `input_tokens` are 0 until the server tells them, at the end. `output_tokens` are counted by pieces until then; at
    the end, they have the token that ended the text too. `tokens_of_text` leaves that one out. `full` says whether the
    text ended because the context is full.
    """

    def __init__(self, servers: Servers[OpenAIServer], call: Call, path: str, request: Mapping[str, Any]) -> None:
        self.input_tokens = self.output_tokens = self.tokens_of_text = 0
        self.full = False
        self._servers = servers
        self._call = call
        self._path = path
        self._request = request
        self._parts: list[str] = []
        self._reason = ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def __iter__(self) -> Iterator[str]:
        with ExitStack() as stack:

            def begin(server: OpenAIServer) -> tuple[OpenAIServer, Iterator[dict[str, Any]], dict[str, Any] | None]:
                with ExitStack() as begun:  # another server may be asked until the first event has come
                    request = {**self._request, "model": server.model}
                    events = begun.enter_context(server.events(self._call, self._path, request))
                    first = next(events, None)
                    stack.enter_context(begun.pop_all())
                    return server, events, first

            server, events, event = self._servers.ask(self._call, begin)
            most = self._request["max_tokens"]
            while event is not None:
                piece = self._piece(server, event)
                if piece:
                    if self.output_tokens == most:
                        raise server.wrong(f"it has more than {most} tokens")
                    self.output_tokens += 1
                    self._parts.append(piece)
                    yield piece
                event = next(events, None)
            self._end(server)

    def _piece(self, server: OpenAIServer, event: Mapping[str, Any]) -> str:
        """The text of an event; what else it tells is noted."""
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._take_usage(server, usage)
        choices = event.get("choices")
        if not choices:  # the last event has only the usage
            return ""
        try:
            choice = choices[0]
            reason = choice.get("finish_reason")
            piece = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
        except (AttributeError, KeyError, TypeError, IndexError):
            raise server.wrong("an event has no text") from None
        if not isinstance(piece, str) or not isinstance(reason, str | None):
            raise server.wrong("the text of an event is none")
        self._reason = reason or self._reason
        return piece.encode(errors="replace").decode()  # half of a surrogate pair is no character

    def _take_usage(self, server: OpenAIServer, usage: Mapping[str, Any]) -> None:
        counts = [usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens")]
        if any(type(count) is not int or not 0 <= count < 2**31 for count in counts):
            raise server.wrong("the numbers of tokens are none")
        self.input_tokens, self._told = counts

    _told = 0  # tokens of the text, as the server counts them

    def _end(self, server: OpenAIServer) -> None:
        if not self._reason:
            raise server.wrong("the text ended without a reason")
        is_complete = self._reason == "stop"
        self.output_tokens = max(self._told, self.output_tokens + is_complete)
        self.tokens_of_text = self.output_tokens - is_complete
        self.full = self._reason == "length" and 0 < self._told < self._request["max_tokens"]
