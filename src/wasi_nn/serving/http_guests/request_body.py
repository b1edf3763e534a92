"""Passes the body of a request on to a guest, and watches for the end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from wasi_nn.abi.http.fields import end_to_end
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import too_large
from wasi_nn.serving.settings import how_to_raise

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from wasi_nn.serving.http_guests.call import GuestCall
    from wasi_nn.serving.http_guests.pipes import WritingEnd
    from wasi_nn.serving.settings import ServingLimits

_LOOK_EVERY = 1.0  # seconds, for the client's end while the guest doesn't read


async def pass_body(
    scope: Scope, receive: Receive, call: GuestCall, pipe: WritingEnd | None, limits: ServingLimits
) -> None:
    """Pass the body on as the guest takes it, and then wait for the client to close the connection. Whatever goes wrong
    stops the guest. One piece of the body waits here, of about 64 KiB."""
    try:
        await _pass_all(scope, receive, pipe, limits)
        trailers = [(name.decode("latin-1"), value) for name, value in scope["trailers"]]
        call.exchange.give_trailers(end_to_end(trailers))
        call.has_whole_request = True
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _gone()
    except ServingError as error:
        call.stop(error)


async def _pass_all(scope: Scope, receive: Receive, pipe: WritingEnd | None, limits: ServingLimits) -> None:
    facts, size, is_last = scope["facts"], 0, False
    while not is_last:
        try:
            async with asyncio.timeout(limits.body_time):
                content = await receive()
        except TimeoutError:
            text = f"the body didn't arrive within {limits.body_time:g} s ({how_to_raise('body_time')})"
            raise ServingError(Reason.TOO_SLOW, text) from None
        if content["type"] == "http.disconnect":
            raise _gone()
        part = memoryview(content.get("body", b""))
        size += len(part)
        facts.bytes_in = size
        if size > limits.body_bytes:
            raise too_large(limits, "the body")
        is_last = not content.get("more_body", False)
        facts.has_read_body = is_last
        if pipe is not None:
            rest = pipe.write_some(part)
            if rest:
                await _write(pipe, rest, scope["is_connected"])
    if pipe is not None:
        pipe.close()


def _gone() -> ServingError:
    return ServingError(Reason.CANCELLED, "the client closed the connection")


async def _write(pipe: WritingEnd, part: memoryview, is_connected: Callable[[], bool]) -> None:
    """Write to the guest, as it takes the bytes. Raises `ServingError` if the client goes meanwhile."""
    writing = asyncio.ensure_future(pipe.write(part))
    try:
        while not writing.done():
            await asyncio.wait((writing,), timeout=_LOOK_EVERY)
            if not (writing.done() or is_connected()):
                raise _gone()
        writing.result()
    finally:
        writing.cancel()
