"""Passes the body of a request on to a guest, and watches for the end of the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wasi_nn.abi.http.fields import end_to_end
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import too_large
from wasi_nn.serving.settings import how_to_raise

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from wasi_nn.serving.http_guests.call import GuestCall
    from wasi_nn.serving.http_guests.pipes import WritingEnd
    from wasi_nn.serving.settings import ServingLimits


async def pass_body(
    scope: Scope, receive: Receive, call: GuestCall, pipe: WritingEnd | None, limits: ServingLimits
) -> None:
    """Pass the body on as the guest takes it, and then wait for the client to close the connection. Whatever goes wrong
    stops the guest. At most two pieces of the body wait here, each of about 64 KiB."""
    facts, size = scope["facts"], 0
    message = asyncio.ensure_future(receive())
    try:
        while True:
            done, _ = await asyncio.wait((message,), timeout=limits.body_time)
            if not done:
                text = f"the body didn't arrive within {limits.body_time:g} s ({how_to_raise('body_time')})"
                return call.stop(ServingError(Reason.TOO_SLOW, text))
            content = message.result()
            if content["type"] == "http.disconnect":
                return call.stop(_gone())
            part = content.get("body", b"")
            size += len(part)
            facts.bytes_in = size
            if size > limits.body_bytes:
                return call.stop(too_large(limits, "the body"))
            is_last = not content.get("more_body", False)
            if is_last:
                facts.has_read_body = True
            message = asyncio.ensure_future(receive())
            if part and pipe is not None and not await _write(pipe, part, message):
                return call.stop(_gone())
            if is_last:
                break
        if pipe is not None:
            pipe.close()
        trailers = [(name.decode("latin-1"), value) for name, value in scope.get("trailers", ())]
        call.exchange.give_trailers(end_to_end(trailers))
        call.has_whole_request = True
        while (await message)["type"] != "http.disconnect":
            message = asyncio.ensure_future(receive())
        call.stop(_gone())
    finally:
        message.cancel()


def _gone() -> ServingError:
    return ServingError(Reason.CANCELLED, "the client closed the connection")


async def _write(pipe: WritingEnd, part: bytes, message: asyncio.Future[Any]) -> bool:
    """Write to the guest. A guest that takes no more is left alone. Returns False if the client goes meanwhile."""
    writing = asyncio.ensure_future(pipe.write(part))
    try:
        await asyncio.wait((writing, message), return_when=asyncio.FIRST_COMPLETED)
        if not writing.done() and message.result()["type"] == "http.disconnect":
            return False
        await writing
        return True
    finally:
        writing.cancel()
