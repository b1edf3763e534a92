"""A guest that serves a model, as a graph: each of its computes is a request that the guest answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, GuestError, GuestTrap, NNError, last_lines, one_line, printable
from wasi_nn.graph.datatypes import BYTES, DTYPE_NAMES
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import STRINGS
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.host import Host
from wasi_nn.limits.limits import HostLimits
from wasi_nn.process.threads import Call
from wasi_nn.serving.guests.answers import checked_outputs
from wasi_nn.serving.guests.kinds import directories_of
from wasi_nn.serving.guests.request_queue import RequestQueue
from wasi_nn.serving.observing.guest_stages import guest_stages
from wasi_nn.session.guest_requests import Fault, GuestRequest
from wasi_nn.types import dtype_named

if TYPE_CHECKING:
    from wasi_nn.guests.runs import Run
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.served_guest import DeclaredTensor, ServedGuest
    from wasi_nn.types import Array

logger = logging.getLogger("wasi_nn.serving")

_OVER = "the time of its request is over"


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
        self._sandboxes: set[_Sandbox] = set()
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
            lines = "; ".join(line.strip(" |") for line in last_lines(result.stderr)[-2:])
            said = f": {lines}" if lines else ""
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

    def answer(self, request: GuestRequest, began: Callable[[Run], None]) -> Run:
        """Have the guest answer one request in a fresh sandbox, on this thread. `began` gets the run before that."""
        guest = self.guest
        return self._host.answer_here(
            *(self._compiled, guest.arguments, guest.environment, self._dirs, _taken_once(request), began),
            guest_stages(),
        )

    def runner(self) -> Runner:
        """A runner, with a sandbox of its own that it uses again if the operator allows that."""
        return _ReusingRunner(self) if self.guest.reuse else _FreshRunner(self)

    def log(self, stderr: bytes) -> None:
        """Log the last lines of what the guest wrote to its standard error."""
        lines = last_lines(stderr)
        if lines:
            logger.warning("guest %r: its standard error:\n%s", printable(self.name), "\n".join(lines))

    def failed(self, message: str) -> NNError:
        """The error of a request that the guest didn't answer."""
        return NNError(ErrorCode.RUNTIME_ERROR, f"guest {self.name!r}: {message}")

    def new_sandbox(self) -> _Sandbox:
        """A guest that answers requests until it is told that there are no more."""
        with self._lock:
            self.require_usable()
            sandbox = _Sandbox(self)
            self._sandboxes = {it for it in self._sandboxes if not it.run.has_ended} | {sandbox}
        return sandbox

    def close(self) -> None:
        """End the guest's idle sandboxes, and start it no more."""
        super().close()
        with self._lock:
            for sandbox in self._sandboxes:
                sandbox.requests.end()
        Call(self._host.close)  # which may wait for guests


class _Sandbox:
    """A run of a guest that answers one request after another."""

    def __init__(self, graph: GuestGraph) -> None:
        self.requests = RequestQueue()
        self.is_stopped = False
        """Whether its run was stopped for a request that took too long."""
        self.run = graph.start(self.requests, run_time=None)


class _GuestRunner(Runner):
    """Has a guest answer requests, one at a time."""

    def __init__(self, graph: GuestGraph) -> None:
        self._graph = graph
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._request: GuestRequest | None = None
        self._is_interrupted = False

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        named = zip(self._graph.inputs, inputs, strict=True)
        request = GuestRequest({info.name: array for info, array in named if array is not ABSENT})
        try:
            self._answer(request)
        finally:
            with self._lock:
                self._run = self._request = None
                self._is_interrupted = False
        if request.fault is not None:
            code = ErrorCode.INVALID_ARGUMENT if request.fault is Fault.REQUEST else ErrorCode.RUNTIME_ERROR
            raise NNError(code, f"guest {self._graph.name!r}: {request.message}")
        assert request.outputs is not None  # else `_answer` has raised
        return checked_outputs(self._graph, request.outputs)

    def _answer(self, request: GuestRequest) -> None:
        """Have the guest answer a request. Raises `NNError` if it doesn't."""
        raise NotImplementedError

    def _begin(self, run: Run, request: GuestRequest) -> None:
        """Note what `interrupt` stops."""
        with self._lock:
            self._run, self._request = run, request
            if self._is_interrupted:
                self._stop()

    def interrupt(self) -> None:
        """Stop the guest."""
        with self._lock:
            self._is_interrupted = True
            self._stop()

    def _stop(self) -> None:
        if self._run is not None and self._request is not None:
            self._run.stop(_OVER)
            self._request.settle()

    def _why(self, run: Run, request: GuestRequest) -> NNError:
        """The error of a request that isn't answered, after the end of the guest's run."""
        try:
            result = run.wait()
        except GuestTrap as trap:
            self._graph.log(trap.stderr)
            if self._is_interrupted:
                return NNError(ErrorCode.TIMEOUT, f"guest {self._graph.name!r} was stopped: {_OVER}")
            return self._graph.failed(f"the guest trapped: {one_line_of(trap)}")
        except GuestError as error:
            return self._graph.failed(one_line(error))
        self._graph.log(result.stderr)
        how = "its request" if request.is_taken else "asking for its request"
        return self._graph.failed(f"the guest ended with exit code {result.exit_code} without answering {how}")


class _FreshRunner(_GuestRunner):
    """Has each request answered in a fresh sandbox."""

    def _answer(self, request: GuestRequest) -> None:
        run = self._graph.answer(request, lambda run: self._begin(run, request))
        if not request.is_answered:
            raise self._why(run, request)
        self._graph.log(run.output()[1])  # its answer counts, however it ended


class _ReusingRunner(_GuestRunner):
    """Has requests answered in one sandbox, one after another. A sandbox that fails is replaced."""

    def __init__(self, graph: GuestGraph) -> None:
        super().__init__(graph)
        self._sandbox: _Sandbox | None = None

    def __del__(self) -> None:
        """End the idle sandbox, which nobody else can use. A runner isn't kept after a request that was given up."""
        sandbox = getattr(self, "_sandbox", None)
        if sandbox is not None:
            sandbox.requests.end()

    def _answer(self, request: GuestRequest) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is None or not self._takes(sandbox, request):
            sandbox = self._graph.new_sandbox()
            sandbox.requests.put(request)
            self._wait_for(request, sandbox)
        if not request.is_answered:
            sandbox.requests.end()  # for a guest that dropped the request, and goes on
            raise self._why(sandbox.run, request)
        self._graph.log(sandbox.run.take_output()[1])
        with self._lock:
            self._run = None  # which is stopped no more
            if self._is_interrupted or sandbox.is_stopped:  # in the moment of its answer: it will trap
                sandbox.requests.end()
            else:
                self._sandbox = sandbox

    def _takes(self, sandbox: _Sandbox, request: GuestRequest) -> bool:
        """Have a guest that has answered requests before answer a further one. Returns whether it has taken the
        request: it may have ended, or be about to."""
        if not sandbox.requests.put(request):
            return False
        self._wait_for(request, sandbox)
        if request.is_taken or self._is_interrupted:
            return True
        request.begin_again()
        return False

    def _wait_for(self, request: GuestRequest, sandbox: _Sandbox) -> None:
        """Wait until a request is answered, or will not be: its guest has ended, or is stopped."""
        self._begin(sandbox.run, request)
        limit = self._graph.guest.limits.run_time
        if not request.wait(limit):
            sandbox.is_stopped = True
            sandbox.run.stop(f"it ran longer than {limit:g} s")


def _taken_once(request: GuestRequest) -> Iterable[GuestRequest]:
    request.is_taken = True
    yield request


def one_line_of(trap: GuestTrap) -> str:
    """The reason of a trap, without the guest's own words."""
    return printable(" ".join(trap.reason.split()))


def _info(tensor: DeclaredTensor) -> TensorInfo:
    dims = tuple("?" if dim < 0 else dim for dim in tensor.shape)
    if tensor.datatype == BYTES:
        return TensorInfo(tensor.name, np.dtype(object), dims, STRINGS, optional=tensor.optional)
    return TensorInfo(tensor.name, dtype_named(DTYPE_NAMES[tensor.datatype]), dims, optional=tensor.optional)
