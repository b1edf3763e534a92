"""A guest that serves a model, as a graph: each of its computes is a request that the guest answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, GuestError, NNError, last_lines, last_words, printable
from wasi_nn.graph.datatypes import BYTES, DTYPE_NAMES
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import STRINGS
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.host import Host
from wasi_nn.limits.limits import HostLimits
from wasi_nn.process.threads import Call
from wasi_nn.serving.guests.guest_runners import FreshRunner, ReusingRunner
from wasi_nn.serving.guests.kinds import directories_of
from wasi_nn.types import dtype_named

if TYPE_CHECKING:
    from wasi_nn.graph.runner import Runner
    from wasi_nn.guests.runs import Run
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.served_guest import DeclaredTensor, ServedGuest
    from wasi_nn.serving.guests.sandboxes import Sandbox
    from wasi_nn.serving.observing.guest_stages import GuestStages
    from wasi_nn.session.guest_requests import GuestRequest

logger = logging.getLogger("wasi_nn.serving")


class GuestGraph(Graph):
    """A guest that serves a model. It has a host of its own, so that what it leaves behind limits no other guest.

    The guest is compiled, and run once without requests within `longest` seconds: what it lacks shows then, and the
    graphs that it loads are loaded. Raises `GuestError` if it can't be run, or ends with another exit code than 0.
    """

    runtime, platform = "guest", "wasm_guest"

    def __init__(self, name: str, guest: ServedGuest, registry: Registry, longest: float) -> None:
        super().__init__(map(_info, guest.inputs), map(_info, guest.outputs))
        self.name = name
        self.guest = guest
        self._lock = threading.Lock()
        self.version = 0
        """How many times a graph has changed that the guest may have loaded."""
        self._sandboxes: set[Sandbox] = set()
        self._host = Host(
            registry,
            allow_load=False,
            allow_names=guest.graphs,
            limits=guest.limits,
            totals=HostLimits(computes=None, workers=None),
        )
        self._dirs = directories_of(guest)
        self._compiled = self._host.compile(guest.path)
        self._try_out(longest)

    def _try_out(self, longest: float) -> None:
        try:
            result = self.start([], run_time=longest).wait()  # longer than a request may have: it may load graphs
        except GuestError as error:
            self.log(getattr(error, "stderr", b""))
            raise
        self.log(result.stderr)
        if result.exit_code:
            said = last_words(result.stderr)
            raise GuestError(f"the guest ended with exit code {result.exit_code} before any request{said}")

    def start(self, requests: Iterable[GuestRequest], *, run_time: float | None) -> Run:
        """Start the guest on these requests, on a thread of its own."""
        guest = self.guest
        return self._host.start(
            self._compiled,
            guest.arguments,
            env=guest.environment,
            dirs=self._dirs,
            stdin=b"",
            capture_output=True,
            limits=replace(guest.limits, run_time=run_time),
            requests=requests,
        )

    def answer(self, request: GuestRequest, began: Callable[[Run], None], stages: GuestStages | None) -> Run:
        """Have the guest answer one request in a fresh sandbox, on this thread. `began` gets the run before that,
        `stages` the guest's calls."""
        guest = self.guest
        return self._host.answer_here(
            *(self._compiled, guest.arguments, guest.environment, self._dirs, _taken_once(request), began),
            stages,
        )

    def runner(self) -> Runner:
        """A runner, with a sandbox of its own that it uses again if the operator allows that."""
        return ReusingRunner(self) if self.guest.reuse else FreshRunner(self)

    def log(self, stderr: bytes) -> None:
        """Log the last lines of what the guest wrote to its standard error."""
        lines = last_lines(stderr)
        if lines:
            logger.warning("guest %r: its standard error:\n%s", printable(self.name), "\n".join(lines))

    def failed(self, message: str) -> NNError:
        """The error of a request that the guest didn't answer."""
        return NNError(ErrorCode.RUNTIME_ERROR, f"guest {self.name!r}: {message}")

    def keep(self, sandbox: Sandbox) -> None:
        """Have a sandbox end with the graph. Raises `NNError` if the graph is closed."""
        with self._lock:
            self._sandboxes = {it for it in self._sandboxes if not it.run.has_ended} | {sandbox}
        try:
            self.require_usable()
        except NNError:  # it was closed meanwhile
            sandbox.requests.end()
            raise

    @property
    def sandboxes(self) -> int:
        """The number of sandboxes that have begun and not ended, but for those that began with their request."""
        with self._lock:
            return sum(not sandbox.run.has_ended for sandbox in self._sandboxes)

    def renew(self) -> None:
        """Give no further request to a sandbox that has begun: a graph has changed that the guest may have loaded."""
        self.version += 1

    def close(self) -> None:
        """End the guest's idle sandboxes, and start it no more."""
        super().close()
        with self._lock:
            for sandbox in self._sandboxes:
                sandbox.requests.end()
        Call(self._host.close)  # which may wait for guests


def _taken_once(request: GuestRequest) -> Iterable[GuestRequest]:
    request.is_taken = True
    yield request


def _info(tensor: DeclaredTensor) -> TensorInfo:
    dims = tuple("?" if dim < 0 else dim for dim in tensor.shape)
    if tensor.datatype == BYTES:
        return TensorInfo(tensor.name, np.dtype(object), dims, STRINGS, optional=tensor.optional)
    return TensorInfo(tensor.name, dtype_named(DTYPE_NAMES[tensor.datatype]), dims, optional=tensor.optional)
