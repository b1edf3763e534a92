"""Bodies of requests: read within their time and size, and decompressed."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from starlette.requests import ClientDisconnect, Request

from wasi_nn.arguments import shown
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.request_bytes import HeldRequest
from wasi_nn.serving.settings import ServingLimits, how_to_raise

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's word for each compression that clients may use."""

_STEP_IN, _STEP_OUT = 64 * 2**10, 2**20  # bytes that are decompressed before other requests have their turn


async def read_body(request: Request, limits: ServingLimits, held: HeldRequest) -> bytes:
    """The body of a request, decompressed, whose bytes `held` counts. Raises `ServingError`."""
    headers = request.scope["facts"].headers
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity" and encoding not in _WINDOWS:
        message = f"no compression is named {shown(encoding)} here; there are {', '.join(_WINDOWS)}"
        raise ServingError(Reason.UNSUPPORTED, message)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large(limits, "the body")
    try:
        async with asyncio.timeout(limits.body_time):
            body = await _received(request, limits, held)
        request.scope["facts"].has_read_body = True
    except TimeoutError:
        message = f"the body didn't arrive within {limits.body_time:g} s ({how_to_raise('body_time')})"
        raise ServingError(Reason.TOO_SLOW, message) from None
    except ClientDisconnect:
        raise ServingError(Reason.CANCELLED, "the client closed the connection before the end of the body") from None
    if encoding == "identity":
        return body
    return await _inflated(body, zlib.decompressobj(_WINDOWS[encoding]), limits, held)


async def _received(request: Request, limits: ServingLimits, held: HeldRequest) -> bytes:
    parts: list[bytes] = []
    async for part in request.stream():
        held.add(len(part))
        if held.size > limits.body_bytes:
            raise too_large(limits, "the body")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _inflated(body: bytes, decompressor: Any, limits: ServingLimits, held: HeldRequest) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        for place in range(0, len(body), _STEP_IN):
            rest = body[place : place + _STEP_IN]
            while rest and not decompressor.eof:
                part = decompressor.decompress(rest, _STEP_OUT)
                rest = decompressor.unconsumed_tail
                held.add(len(part))
                size += len(part)
                if size > limits.body_bytes:
                    raise too_large(limits, "the body, decompressed,")
                parts.append(part)
                await asyncio.sleep(0)
    except zlib.error as error:
        raise ServingError(Reason.INVALID, f"the body can't be decompressed: {error}") from None
    if not decompressor.eof:
        raise ServingError(Reason.INVALID, "the compressed body ends too early")
    return b"".join(parts)


def too_large(limits: ServingLimits, what: str) -> ServingError:
    """The error for a body that has more bytes than it may."""
    message = f"{what} has more than {limits.body_bytes} bytes ({how_to_raise('body_bytes')})"
    return ServingError(Reason.TOO_LARGE, message)
