"""What has a guest answer requests: in a fresh sandbox each, or in one that is reused."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wasi_nn.errors import ErrorCode, GuestError, GuestTrap, NNError, one_line, printable
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.serving.guests.answers import checked_outputs
from wasi_nn.serving.guests.sandboxes import NextSandbox, Sandbox
from wasi_nn.serving.observing.guest_stages import guest_stages
from wasi_nn.session.guest_requests import Fault, GuestRequest

if TYPE_CHECKING:
    from wasi_nn.guests.runs import Run
    from wasi_nn.serving.guests.guest_graph import GuestGraph
    from wasi_nn.serving.guests.sandboxes import SandboxAhead
    from wasi_nn.types import Array

_OVER = "the time of its request is over"


class GuestRunner(Runner):
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

    def _takes(self, sandbox: Sandbox, request: GuestRequest) -> bool:
        """Have a guest that runs already answer a request. Returns whether it has taken the request, or was stopped: it
        may have ended, or be about to."""
        if not sandbox.requests.put(request):
            return False
        self._wait_for(request, sandbox)
        if request.is_taken or self._is_interrupted or sandbox.is_stopped:
            return True
        request.begin_again()
        return False

    def _wait_for(self, request: GuestRequest, sandbox: Sandbox) -> None:
        """Wait until a request is answered, or will not be: its guest has ended, or is stopped."""
        self._begin(sandbox.run, request)
        limit = self._graph.guest.limits.run_time
        if not request.wait(limit):
            sandbox.is_stopped = True
            sandbox.run.stop(f"it ran longer than {limit:g} s")

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
            return self._graph.failed(
                f"the guest trapped: {printable(' '.join(trap.reason.split()))}"
            )  # no words of its own
        except GuestError as error:
            return self._graph.failed(one_line(error))
        self._graph.log(result.stderr)
        how = "its request" if request.is_taken else "asking for its request"
        return self._graph.failed(f"the guest ended with exit code {result.exit_code} without answering {how}")


class FreshRunner(GuestRunner):
    """Has each request answered in a fresh sandbox, which may have begun before the request came."""

    def __init__(self, graph: GuestGraph) -> None:
        super().__init__(graph)
        self._next = NextSandbox(graph)
        self._former: SandboxAhead | None = None

    def __del__(self) -> None:
        """End the sandbox that waits, which nobody else can use."""
        following = getattr(self, "_next", None)
        if following is not None:
            following.close()

    def _answer(self, request: GuestRequest) -> None:
        ahead, stages = self._next.take(), guest_stages()
        if ahead is None or not self._answers(ahead, request, is_traced=stages is not None):
            run = self._graph.answer(request, lambda run: self._begin(run, request), stages)
            if not request.is_answered:
                raise self._why(run, request)
            self._graph.log(run.output()[1])  # its answer counts, however it ended
        if self._graph.guest.start_ahead:
            self._next.begin_soon()

    def _answers(self, ahead: SandboxAhead, request: GuestRequest, *, is_traced: bool) -> bool:
        """Have the guest that waits answer a request. Returns whether it has: it may have ended. A trace has
        all calls of a guest, so it needs a sandbox that begins with the request. Raises `NNError`."""
        if not ahead.claim() or is_traced or not self._takes(ahead, request):
            ahead.requests.end()
            return False
        if not request.is_answered:
            ahead.requests.end()
            raise self._why(ahead.run, request)
        ahead.end()
        if self._former is not None:  # one at most goes on after its answer
            self._former.run.stop("the guest has answered a further request since")
        self._former = ahead
        return True


class ReusingRunner(GuestRunner):
    """Has requests answered in one sandbox, one after another. A sandbox that fails is replaced."""

    def __init__(self, graph: GuestGraph) -> None:
        super().__init__(graph)
        self._sandbox: Sandbox | None = None

    def __del__(self) -> None:
        """End the idle sandbox, which nobody else can use. A runner isn't kept after a request that was given up."""
        sandbox = getattr(self, "_sandbox", None)
        if sandbox is not None:
            sandbox.requests.end()

    def _answer(self, request: GuestRequest) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None and not sandbox.is_current:
            sandbox.requests.end()
            sandbox = None
        if sandbox is None or not self._takes(sandbox, request):
            sandbox = Sandbox(self._graph)
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
