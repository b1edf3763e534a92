"""Receives the messages of gRPC, whose sizes nobody knows before they are there."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.settings import ServingLimits, how_to_raise


class MessageReader:
    """Receives so many messages at once that they can't be larger together than all requests may be. Until a message's
    turn comes, flow control keeps it at its client."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(max(1, limits.total_bytes // limits.body_bytes))

    async def read(self, context: Any) -> bytes:
        """The message of a call. Raises `ServingError`: `late` if its turn doesn't come within the time of a request,
        `too-slow` if it doesn't arrive within the time of a body then, `invalid` if there is none."""
        if self._turns.locked():
            try:
                await asyncio.wait_for(self._turns.acquire(), self._limits.request_time)
            except TimeoutError:
                message = "the request's time was over before its message could be received"
                raise ServingError(Reason.LATE, message) from None
        else:
            await self._turns.acquire()
        seconds = self._limits.body_time
        try:
            async with asyncio.timeout(seconds):
                content = await context.read()
        except TimeoutError:
            message = f"the message didn't arrive within {seconds:g} s ({how_to_raise('body_time')})"
            raise ServingError(Reason.TOO_SLOW, message) from None
        finally:
            self._turns.release()
        if not isinstance(content, bytes):
            assert content is grpc.aio.EOF
            raise ServingError(Reason.INVALID, "the call has no message")
        return content
