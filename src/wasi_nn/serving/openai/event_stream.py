"""`EventStream`: sends a text as a stream of events while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.disconnects import while_connected
from wasi_nn.serving.http.door import STATUS
from wasi_nn.serving.observing.timeline import stage
from wasi_nn.serving.openai.answers import DONE, Answer, event
from wasi_nn.serving.openai.errors import error_content

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from wasi_nn.serving.texts.text import Text

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class EventStream:
    """An answer over HTTP. An error of the text is its last event. `held` is closed at the end, and the text with it;
    `ended` is called before, if the text has come to its end. A client that takes nothing for `idle_time` seconds is
    given up, as is one that closes the connection."""

    def __init__(
        self,
        answer: Answer,
        text: Text,
        held: ExitStack,
        ended: Callable[[], None],
        idle_time: float,
        *,
        has_usage: bool,
    ) -> None:
        self._answer = answer
        self._text = text
        self._held = held
        self._ended = ended
        self._idle_time = idle_time
        self._more = {"usage": None} if has_usage else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await while_connected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        async def give(content: bytes, *, is_last: bool = False) -> None:
            async with asyncio.timeout(self._idle_time):
                await send({"type": "http.response.body", "body": content, "more_body": not is_last})

        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            try:
                await self._give_text(give)
            except ServingError as error:
                await give(event(error_content(STATUS[error.reason], error.message, error)), is_last=True)
                raise
        except TimeoutError:
            message = f"the client took nothing of the text for {self._idle_time:g} s"
            raise ServingError(Reason.CANCELLED, message) from None

    async def _give_text(self, give: Callable[..., Awaitable[None]]) -> None:
        answer, more = self._answer, self._more
        begin = answer.role(**more)
        with stage("text"):
            async for part in self._text:
                await give(begin + answer.part(part, **more))
                begin = b""
        end = self._text.end
        assert end is not None  # the text has come to its end
        self._ended()
        content = begin + answer.end(end, **more) + (answer.usage(end) if more else b"") + DONE
        await give(content, is_last=True)
