"""Receives the messages of gRPC, whose sizes nobody knows before they are there."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

import grpc

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.settings import ServingLimits, how_to_raise


class MessageReader:
    """Receives so many messages at once that they can't be larger together than all requests may be. Until a message's
    turn comes, flow control keeps it at its client. Half of the turns are the most that one machine has, so that calls
    whose messages don't come hold up no other machine's."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits = limits
        turns = max(1, limits.total_bytes // limits.body_bytes)
        self._turns = asyncio.Semaphore(turns)
        self._most_of_one = max(1, turns // 2)
        self._machines: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def read(self, context: Any) -> bytes:
        """The message of a call. Raises `ServingError`: `late` if its turn doesn't come within the time of a request,
        `too-slow` if it doesn't arrive within the time of a body then, `invalid` if there is none."""
        machine = context.peer().rpartition(":")[0]  # without the port
        own = self._machines.get(machine) or self._machines.setdefault(machine, asyncio.Semaphore(self._most_of_one))
        if own.locked() or self._turns.locked():
            try:
                async with asyncio.timeout(self._limits.request_time):
                    await self._turn(own)
            except TimeoutError:
                message = "the request's time was over before its message could be received"
                raise ServingError(Reason.LATE, message) from None
        else:
            await self._turn(own)
        seconds = self._limits.body_time
        try:
            async with asyncio.timeout(seconds):
                content = await context.read()
        except TimeoutError:
            message = f"the message didn't arrive within {seconds:g} s ({how_to_raise('body_time')})"
            raise ServingError(Reason.TOO_SLOW, message) from None
        finally:
            self._turns.release()
            own.release()
        if not isinstance(content, bytes):
            assert content is grpc.aio.EOF
            raise ServingError(Reason.INVALID, "the call has no message")
        return content

    async def _turn(self, own: asyncio.Semaphore) -> None:
        """Wait for a turn among those of one machine, and then among all."""
        await own.acquire()
        try:
            await self._turns.acquire()
        except BaseException:
            own.release()
            raise
