"""Ends the work for a request whose client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from wasi_nn.serving.failures import Reason, ServingError

if TYPE_CHECKING:
    from starlette.types import Receive

Result = TypeVar("Result")


class Connection(Protocol):
    """A connection that tells when it is lost."""

    is_lost: bool
    when_lost: Callable[[], object] | None
    """Called once the connection is lost."""


async def while_connected(
    receive: Receive, work: Coroutine[Any, Any, Result], connection: Connection | None = None
) -> Result:
    """The result of work that is cancelled if the client closes the connection. The body must have been read.
    `connection` saves a task that waits for its end by `receive`. Raises `ServingError` with `cancelled` then."""
    task = asyncio.current_task()
    assert task is not None  # a request is served by a task
    has_gone = False

    def gone() -> None:
        nonlocal has_gone
        has_gone = True
        task.cancel()

    def ended(watcher: asyncio.Task[None]) -> None:
        if not watcher.cancelled() and watcher.exception() is None:
            gone()

    watcher = None
    if connection is None:
        watcher = asyncio.create_task(_disconnected(receive))
        watcher.add_done_callback(ended)
    elif connection.is_lost:
        work.close()
        raise _cancelled()
    else:
        connection.when_lost = gone
    try:
        return await work
    except asyncio.CancelledError:
        if not has_gone:
            raise
        task.uncancel()
        raise _cancelled() from None
    finally:
        if watcher is not None:
            watcher.remove_done_callback(ended)
            watcher.cancel()
        elif connection is not None:
            connection.when_lost = None


def _cancelled() -> ServingError:
    return ServingError(Reason.CANCELLED, "the client closed the connection")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
