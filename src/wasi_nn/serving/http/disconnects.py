"""Ends the work for a request whose client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from wasi_nn.serving.failures import Reason, ServingError

if TYPE_CHECKING:
    from starlette.types import Receive

Result = TypeVar("Result")


async def while_connected(receive: Receive, work: Awaitable[Result]) -> Result:
    """The result of work that is cancelled if the client closes the connection. The body must have been read. Raises
    `ServingError` with `cancelled` then."""
    task = asyncio.current_task()
    assert task is not None  # a request is served by a task
    has_gone = False

    def gone(watcher: asyncio.Task[None]) -> None:
        nonlocal has_gone
        if not watcher.cancelled() and watcher.exception() is None:
            has_gone = True
            task.cancel()

    watcher = asyncio.create_task(_disconnected(receive))
    watcher.add_done_callback(gone)
    try:
        return await work
    except asyncio.CancelledError:
        if not has_gone:
            raise
        task.uncancel()
        raise ServingError(Reason.CANCELLED, "the client closed the connection") from None
    finally:
        watcher.remove_done_callback(gone)
        watcher.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
