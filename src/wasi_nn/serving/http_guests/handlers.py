"""`Handlers`: the guests of a file of graphs that answer HTTP requests, each under a path of its own."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from wasi_nn.errors import GuestError, WasiNNError, one_line
from wasi_nn.limits.compute_guard import Turns
from wasi_nn.limits.limits import HostLimits
from wasi_nn.limits.usage import Usage
from wasi_nn.loading.served_guest import ServedGuest, Serves
from wasi_nn.serving.computing.compute_queue import ComputeQueue
from wasi_nn.serving.computing.thread_calls import in_thread
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.guests.kinds import kind_of, mount_of
from wasi_nn.serving.http_guests.compiling import HttpGuests
from wasi_nn.serving.http_guests.endpoint import Endpoint
from wasi_nn.serving.http_guests.handler import Handler, Shared

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from wasi_nn.loading.registry import Registry
    from wasi_nn.serving.front import Front

logger = logging.getLogger("wasi_nn.serving")

_CLOSE_TIME = 1.0  # seconds for guests to end when the server ends


class Handlers:
    """The application for all paths that the server itself has none for. All methods are called in the event loop."""

    def __init__(self, front: Front, registry: Registry) -> None:
        limits = front.service.limits
        self._front = front
        self._registry = registry
        self.queue = queue = ComputeQueue(limits.guests, limits.total_queue, limits.queue)
        front.metrics.watch_guests(queue)
        turns, usage = Turns(HostLimits(computes=limits.computes)), Usage(HostLimits())
        count = front.metrics.count_outgoing
        self._shared = Shared(registry, queue, turns, usage, limits.header_bytes, count)
        self._guests = HttpGuests()
        self.handlers: dict[str, Handler] = {}
        """The guests that are compiled, by their names."""
        self._endpoints: dict[str, Endpoint] = {}
        self._mounts: dict[str, str] = {}  # the names by the beginnings of their paths, the longest of them first
        self._failures: dict[str, str] = {}
        self._retired: list[Handler] = []  # that others have taken the place of, with requests that go on
        self._changing = asyncio.Lock()

    async def load(self, changed: frozenset[str] = frozenset()) -> None:
        """Compile the guests of the registry that are new or changed; the old ones answer until then, and further if
        the new ones can't be compiled. What fails is logged."""
        async with self._changing:
            served = {name: await in_thread(partial(_serves_http, it)) for name, it in self._registry.guests.items()}
            guests = {name: it for name, it in self._registry.guests.items() if served.get(name)}
            mounts = sorted(((mount_of(name, it), name) for name, it in guests.items()), key=lambda it: -len(it[0]))
            self._mounts = {}
            for path, name in mounts:
                self._mounts.setdefault(path, name)  # of two with one path, the first has it
            for name in set(self.handlers) - set(guests):
                self._retire(self.handlers.pop(name))
                del self._endpoints[name]
            for name, described in guests.items():
                if name not in changed and name in self.handlers and self.handlers[name].described == described:
                    continue
                prefix = mount_of(name, described)
                try:
                    if self._mounts[prefix] != name:
                        raise GuestError(f"its path {prefix} is that of guest {self._mounts[prefix]!r}")
                    handler = await in_thread(partial(self._handler, name, described))
                except (WasiNNError, OSError) as error:
                    self._failures[name] = one_line(error)
                    logger.error("guest %r can't be served: %s", name, one_line(error))
                    continue
                self._failures.pop(name, None)
                if name in self.handlers:
                    self._retire(self.handlers[name])
                self.handlers[name] = handler
                self._endpoints[name] = Endpoint(self._front, handler)

    def places(self) -> list[tuple[str, str, str]]:
        """For each guest that answers requests or should, its name, its path, and why it isn't ready, or nothing."""
        return [(name, f"{mount}/", self._reason(name)) for mount, name in sorted(self._mounts.items())]

    def _retire(self, handler: Handler) -> None:
        handler.retire()
        self._retired = [it for it in (*self._retired, handler) if it.calls]

    def _reason(self, name: str) -> str:
        return "" if name in self.handlers else self._failures.get(name, "not loaded yet")

    async def close(self) -> None:
        """Stop all guests, and wait a little for their ends: none should come back into an interpreter that ends."""
        handlers = [*self.handlers.values(), *self._retired]
        for handler in handlers:
            handler.stop_all()
            handler.retire()
        until = asyncio.get_running_loop().time() + _CLOSE_TIME
        while asyncio.get_running_loop().time() < until and any(it.calls for it in handlers):
            await asyncio.sleep(0.01)

    def _handler(self, name: str, described: ServedGuest) -> Handler:
        """A guest, compiled. Raises `GuestError`."""
        return Handler(name, described, self._guests.compile(described), self._shared)

    async def on_own_port(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of a port that has only guests: their pages are of another origin than the server's."""
        scope["is_on_own_port"] = True
        await self(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("latin-1")
        found = next((item for item in self._mounts.items() if f"{path}/".startswith(f"{item[0]}/")), None)
        if found is None:
            raise HTTPException(404)
        mount, name = found
        if name not in self._endpoints:
            raise ServingError(Reason.UNAVAILABLE, f"guest {name!r} isn't ready: {self._reason(name)}", retry_after=10)
        await self._endpoints[name].answer(mount, scope, receive, send)


def _serves_http(guest: ServedGuest) -> bool:
    try:
        return kind_of(guest) is Serves.HTTP
    except GuestError:  # it counts as a model, of which clients can ask why it isn't ready
        return False
