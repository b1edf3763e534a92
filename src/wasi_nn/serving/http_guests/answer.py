"""`GuestAnswer`: what a guest has said so far, for the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from wasi_nn.abi.http.exchange import Listener, ResponseHead
from wasi_nn.abi.http.fields import Field
from wasi_nn.guests.http.cgi_guest import CgiHead
from wasi_nn.serving.http_guests.pipes import ReadingEnd

_QUICK = 0.002  # seconds


class GuestAnswer(Listener):
    """The head, the parts and the end of an answer. The guest's thread tells of them; all else is called in the event
    loop."""

    def __init__(self, body: ReadingEnd) -> None:
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.on_left: Callable[[], None] = lambda: None
        """Called when the guest reads no more of the request's body."""
        self._quick_until = time.monotonic() + _QUICK
        self.head: ResponseHead | None = None
        self.refusal: tuple[str, str] | None = None
        self.trailers: Sequence[Field] = ()
        self.is_finished = False
        """Whether the guest has ended the body as it should."""
        self.is_broken = False
        """Whether the guest has dropped the body before its end, or has ended itself."""
        self.has_ended = False
        """Whether the guest itself has ended, or is given up."""

    def answered(self, head: ResponseHead) -> None:
        self.head = head
        # To wake the event loop costs more than all of this. If the guest is quick, the end of its answer will do that,
        # or the alarm of `wait_for_head`.
        if time.monotonic() > self._quick_until:
            self._tell(lambda: None)

    def refused(self, error: str, text: str) -> None:
        self._tell(lambda: setattr(self, "refusal", (error, text)))

    def finished(self, trailers: Sequence[Field]) -> None:
        def finish() -> None:
            self.is_finished, self.trailers = not self.is_broken, trailers

        self._tell(finish)

    def broke(self) -> None:
        self._tell(lambda: setattr(self, "is_broken", not self.is_finished))

    def left_body(self) -> None:
        self._tell(lambda: self.on_left())

    def written(self) -> int:
        return self._body.written()

    def _tell(self, change: Callable[[], Any]) -> None:
        def tell() -> None:
            change()
            self._changed.set()

        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(tell)

    @property
    def is_at_end(self) -> bool:
        """Whether the guest has ended the body, and all of it has been read."""
        return self.is_whole and self._body.is_empty()

    @property
    def is_whole(self) -> bool:
        """Whether the guest has ended the body, and no part of it was dropped when the guest was stopped."""
        return self.is_finished and not self._body.has_lost_bytes

    def ended(self) -> None:
        """Note that the guest has ended, or is stopped. An end of the body that it gives after a stop isn't one: what
        it had of the request was cut."""
        self.has_ended = True
        self.is_broken |= not self.is_finished
        self._changed.set()

    async def wait_for_head(self) -> None:
        """Wait until there is a head or a refusal, or the guest has ended without one."""
        alarm = self._loop.call_at(self._quick_until + _QUICK, self._changed.set)
        try:
            while self.head is None and self.refusal is None and not self.has_ended:
                self._changed.clear()
                await self._changed.wait()
        finally:
            alarm.cancel()

    async def part(self) -> bytes:
        """The next bytes of the body; empty when there are no more, as the guest has ended it or itself."""
        while True:
            is_over = self.is_finished or self.is_broken or self.has_ended  # before the look: what it wrote is there
            content = self._body.read()
            if content:
                return content
            if is_over:
                return b""
            self._changed.clear()
            if content is None:  # else the guest has closed the body, and `ended` follows
                self._body.watch(self._readable)
            await self._changed.wait()

    def _readable(self) -> None:
        """Look at the body once: it may be a while until somebody reads it."""
        self._body.watch(None)
        self._changed.set()


class CgiAnswer(GuestAnswer):
    """The same of a guest that writes the head before the body. `most` is the most bytes of a head."""

    def __init__(self, body: ReadingEnd, most: int) -> None:
        super().__init__(body)
        self._reader = CgiHead(most)

    async def wait_for_head(self) -> None:
        while self.head is None:
            content = await super().part()
            if not content:
                return
            self.head = self._reader.add(content)

    async def part(self) -> bytes:
        rest, self._reader.rest = self._reader.rest, b""
        return rest or await super().part()
