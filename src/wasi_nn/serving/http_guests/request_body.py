"""Passes the body of a request on to a guest, and watches for the end of the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wasi_nn.abi.http.fields import end_to_end
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import too_large
from wasi_nn.serving.settings import how_to_raise

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

    from wasi_nn.serving.http_guests.call import GuestCall
    from wasi_nn.serving.http_guests.pipes import WritingEnd
    from wasi_nn.serving.settings import ServingLimits


async def pass_body(
    scope: Scope, receive: Receive, call: GuestCall, pipe: WritingEnd | None, limits: ServingLimits
) -> None:
    """Pass the body on as the guest takes it, and then wait for the client to close the connection. Whatever goes wrong
    stops the guest. At most two pieces of the body wait here, each of about 64 KiB."""
    facts, size = scope["facts"], 0
    message: asyncio.Future[Message] | None = None  # the next one, if it is asked for already
    try:
        is_last = False
        while not is_last:
            try:
                async with asyncio.timeout(limits.body_time):
                    content = await (receive() if message is None else message)
            except TimeoutError:
                text = f"the body didn't arrive within {limits.body_time:g} s ({how_to_raise('body_time')})"
                return call.stop(ServingError(Reason.TOO_SLOW, text))
            message = None
            if content["type"] == "http.disconnect":
                return call.stop(_gone())
            part = content.get("body", b"")
            size += len(part)
            facts.bytes_in = size
            if size > limits.body_bytes:
                return call.stop(too_large(limits, "the body"))
            is_last = not content.get("more_body", False)
            facts.has_read_body = is_last
            rest = memoryview(part) if pipe is None else pipe.write_some(memoryview(part))
            if rest and pipe is not None:  # the guest takes its time, in which the client may go
                message = asyncio.ensure_future(receive())
                if not await _write(pipe, rest, message):
                    return call.stop(_gone())
        if pipe is not None:
            pipe.close()
        trailers = [(name.decode("latin-1"), value) for name, value in scope.get("trailers", ())]
        call.exchange.give_trailers(end_to_end(trailers))
        call.has_whole_request = True
        while (await (receive() if message is None else message))["type"] != "http.disconnect":
            message = None
        call.stop(_gone())
    finally:
        if message is not None:
            message.cancel()


def _gone() -> ServingError:
    return ServingError(Reason.CANCELLED, "the client closed the connection")


async def _write(pipe: WritingEnd, part: memoryview, message: asyncio.Future[Message]) -> bool:
    """Write to the guest, as it takes the bytes. Returns False if the client goes meanwhile."""
    writing = asyncio.ensure_future(pipe.write(part))
    try:
        await asyncio.wait((writing, message), return_when=asyncio.FIRST_COMPLETED)
        if not writing.done() and message.result()["type"] == "http.disconnect":
            return False
        await writing
        return True
    finally:
        writing.cancel()
