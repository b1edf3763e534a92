"""Calls on threads whose results come to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from wasi_nn.process.threads import Call
from wasi_nn.serving.failures import Reason, ServingError

Result = TypeVar("Result")


def call_in_thread(
    function: Callable[[], Result], ended: Callable[[Result | None, BaseException | None], None]
) -> None:
    """Make a call on a thread of its own, and then `ended` in the event loop, with the result or the error.

    Of no further effect if the event loop ends first. Raises `ServingError` if no thread can be started.
    """
    loop = asyncio.get_running_loop()

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(ended, result, failure)

    try:
        Call(work)
    except RuntimeError as error:
        raise ServingError(
            Reason.OVERLOADED, f"the server has no thread left for this: {error}", retry_after=1
        ) from error


async def in_thread(function: Callable[[], Result]) -> Result:
    """The result of a call on a thread of its own. A call whose caller is cancelled goes on."""
    outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    call_in_thread(function, partial(settle, outcome))
    return await outcome


def settle(outcome: asyncio.Future[Result], result: Result | None, failure: BaseException | None) -> None:
    """Give a future the result or the error of a call, unless nobody waits for it any more."""
    if outcome.done():
        return
    if failure is not None:
        outcome.set_exception(failure)
    else:
        outcome.set_result(result)  # type: ignore[arg-type]  # a call without an error has a result
