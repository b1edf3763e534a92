"""Computes the requests of a graph in batches: those that wait and are of one kind are joined, and computed at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.errors import Busy, ErrorCode, NNError
from wasi_nn.graph.named_tensors import named_inputs
from wasi_nn.graph.runner import ABSENT
from wasi_nn.serving.computing.batching import Batching, Kind, NotByRows, joined, kind_of, rows_of, split
from wasi_nn.serving.computing.compute_queue import ComputeQueue, Line
from wasi_nn.serving.computing.executions import Computed, Execution
from wasi_nn.serving.computing.fitting import graph_inputs, wanted_outputs
from wasi_nn.serving.computing.jobs import Job, late, require_free_threads, serving_error
from wasi_nn.serving.computing.thread_calls import in_thread
from wasi_nn.serving.failures import Reason, ServingError, of_compute

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.serving.computing.computes import Executed
    from wasi_nn.serving.computing.served_graph import GuardedContext, ServedGraph
    from wasi_nn.serving.request import InferenceRequest, NamedArrays
    from wasi_nn.types import Array

_numbers = itertools.count()
_PATIENCE = 0.01  # seconds that a batch may take beyond the double of the usual, before others begin beside it
_MANY_STRINGS = 1000  # of a request: looking at each of them takes too long for the event loop


class _Member:
    """A request of a batch that is, or will be."""

    def __init__(self, request: InferenceRequest, arrays: Sequence[Array], rows: int) -> None:
        self.request = request
        self.arrays = arrays
        self.rows = rows
        self.kind = kind_of(arrays)
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Computed] = loop.create_future()
        self.arrived = time.monotonic()
        self.number = next(_numbers)
        self.is_waiting = False
        """Whether it waits for a turn."""
        self.batch: _Batch | None = None

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for the request's outputs any more. May be called from any thread."""
        return self.outcome.done()

    def settle(self, outcome: Computed | ServingError) -> None:
        """Answer the request, if somebody still waits."""
        if self.outcome.done():
            return
        if isinstance(outcome, ServingError):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class _Group:
    """The requests of one kind that wait, in the order of their arrival."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.rows = 0
        self.is_due = False
        """Whether the first request has waited for others as long as it may."""
        self.is_overdue = False
        """Whether it has also waited for the end of a batch that takes longer than usual."""
        self.alarm: asyncio.TimerHandle | None = None

    def take(self, most: int) -> list[_Member]:
        """Take the first requests that have so many rows together; a larger one is taken alone."""
        count, rows = 1, self.members[0].rows
        while count < len(self.members) and rows + self.members[count].rows <= most:
            rows += self.members[count].rows
            count += 1
        taken, self.members = self.members[:count], self.members[count:]
        self.rows -= rows
        return taken

    def remove(self, member: _Member) -> None:
        """Take out a request that doesn't wait any more."""
        self.members.remove(member)
        self.rows -= member.rows


class BatchComputes:
    """Computes the requests of one graph in batches; all methods run in the event loop.

    Requests whose inputs have the same types and dims, but for the first dim, are joined along it. A turn goes to the
    kind of requests whose first one has waited longest, of those that have waited for others long enough or fill a
    batch. While a batch of the graph computes, only a full one begins beside it, so that requests gather: two halves of
    a batch take longer than the whole. One that takes much longer than usual is waited for no more.
    """

    def __init__(self, queue: ComputeQueue, served: ServedGraph, batching: Batching, executed: Executed) -> None:
        self._line = Line(queue, self)
        self._served = served
        self._batching = batching
        self._executed = executed
        self._groups: dict[Kind, _Group] = {}
        self._usual = 0.0  # seconds of a batch: the longest lately

    async def compute(self, request: InferenceRequest) -> Computed:
        """The outputs that a request asks for, as `Computes.compute` gives them. The request's time is over at its
        deadline, and others of its batch go on."""
        require_free_threads(self._served)
        member = await self._member(request)
        self._line.enter()
        self._wait(member)
        alarm = asyncio.get_running_loop().call_at(request.until, self._expire, member)
        try:
            return await member.outcome
        except asyncio.CancelledError:
            self._leave(member)
            raise
        finally:
            alarm.cancel()

    async def _member(self, request: InferenceRequest) -> _Member:
        """A request whose inputs were checked, so that they harm no others. Raises `ServingError`."""
        graph = self._served.graph
        check = partial(_checked, graph, request)
        try:
            has_many = any(array.dtype == object and array.size > _MANY_STRINGS for _, array in request.inputs)
            arrays, rows = await in_thread(check) if has_many else check()
        except NNError as error:
            raise of_compute(error) from error
        return _Member(request, arrays, rows)

    def _wait(self, member: _Member) -> None:
        group = self._groups.setdefault(member.kind, _Group())
        member.is_waiting = True
        group.members.append(member)
        group.rows += member.rows
        if len(group.members) == 1:
            group.is_due = self._batching.max_delay == 0
        self._line.offer()
        if member.is_waiting and group.members[0] is member:
            self._set_alarm(group)

    def _set_alarm(self, group: _Group) -> None:
        """Have the first request of a group wait no longer than it may, be it for others or for a batch's end."""
        if group.alarm is not None:
            group.alarm.cancel()
        due, overdue = self._times(group)
        if not group.is_overdue:
            at = overdue if group.is_due else due
            group.alarm = asyncio.get_running_loop().call_at(at, self._ring, group)

    def _times(self, group: _Group) -> tuple[float, float]:
        """When the first request of a group is due, and overdue."""
        due = group.members[0].arrived + self._batching.max_delay
        return due, due + 2 * self._usual + _PATIENCE

    def _ring(self, group: _Group) -> None:
        group.is_due, group.is_overdue = True, group.is_due
        self._line.offer()
        if group.members:
            self._set_alarm(group)

    def _expire(self, member: _Member) -> None:
        if not member.outcome.done():
            message = "the request's time was over before its turn came"
            member.settle(ServingError(Reason.LATE, message) if member.is_waiting else late())
            self._leave(member)

    def _leave(self, member: _Member) -> None:
        """Let a request go whose outcome nobody waits for."""
        if member.batch is not None:
            member.batch.look()
        elif member.is_waiting:
            member.is_waiting = False
            self._line.leave()
            group = self._groups[member.kind]
            group.remove(member)
            if not group.members:
                self._forget(member.kind)

    def _forget(self, kind: Kind) -> None:
        alarm = self._groups.pop(kind).alarm
        if alarm is not None:
            alarm.cancel()

    @property
    def is_ready(self) -> bool:
        """Whether a batch can begin."""
        return bool(self._that_can_begin(beside=self._line.running))

    def _that_can_begin(self, beside: int) -> list[tuple[Kind, _Group]]:
        """The groups of which a batch can begin beside so many others."""
        return [
            (kind, group)
            for kind, group in self._groups.items()
            if group.rows >= self._batching.max_rows or (group.is_overdue if beside else group.is_due)
        ]

    def _give_back(self) -> None:
        self._line.give_back()
        self._line.offer()  # what has waited for the end of the batch

    def _ended(self, execution: Execution) -> None:
        self._usual = max(execution.seconds, self._usual / 2)
        self._executed(execution)

    def begin(self) -> None:
        """Begin the batch whose first request has waited longest. Its own turn is counted already."""
        ready = self._that_can_begin(beside=self._line.running - 1)
        kind, group = min(ready, key=lambda item: item[1].members[0].number)
        members = group.take(self._batching.max_rows)
        self._line.leave(len(members))
        if group.members:
            due, overdue = self._times(group)
            now = time.monotonic()
            group.is_due, group.is_overdue = due <= now, overdue <= now
            self._set_alarm(group)
        else:
            self._forget(kind)
        batch = _Batch(self._served.graph, members, self._ended)
        for member in members:
            member.is_waiting, member.batch = False, batch
        try:
            batch.start(self._give_back, self._served)
        except ServingError as error:
            for member in members:
                member.settle(error)


class _Batch:
    """Some requests that are computed at once."""

    def __init__(self, graph: Graph, members: Sequence[_Member], executed: Executed) -> None:
        self._graph = graph
        self._members = members
        self._executed = executed
        self._loop = asyncio.get_running_loop()
        self._job: Job[None] | None = None

    def start(self, give_back: Callable[[], None], served: ServedGraph) -> None:
        """Compute, on a thread. Raises `ServingError` if there is none; the turn is free then."""
        until = max(member.request.until for member in self._members)
        self._job = Job(give_back, served, until, self._work, self._ended)

    def look(self) -> None:
        """A request of the batch is gone: interrupt the compute if all are."""
        if self._job is not None and all(member.is_gone for member in self._members):
            self._job.stop()

    def _ended(self, _: None, error: ServingError | None) -> None:
        for member in self._members:
            member.settle(error or late())

    def _tell(self, execution: Execution, outcomes: Sequence[tuple[_Member, NamedArrays | ServingError]]) -> None:
        """Have the event loop answer requests of an execution."""

        def settle() -> None:
            self._executed(execution)
            for member, outcome in outcomes:
                member.settle(outcome if isinstance(outcome, ServingError) else Computed(outcome, execution))

        self._loop.call_soon_threadsafe(settle)

    def _work(self, guarded: GuardedContext) -> None:
        """Compute the batch. Where that fails, each request is computed alone, so that only those fail whose data is
        the cause. On a thread."""
        members = [member for member in self._members if not member.is_gone]
        try:
            self._compute(guarded, members)
            return
        except NNError as failed:
            is_of_all = failed.code is ErrorCode.TIMEOUT or isinstance(failed, NotByRows | Busy)
            if len(members) == 1 or is_of_all:
                raise
        except Exception:
            if len(members) == 1:
                raise
        error_of_time = None
        for member in members:
            if member.is_gone:
                continue
            guarded.guard.run_until = member.request.until
            if self._job is not None and self._job.is_stopped:  # it may have been stopped just before
                return
            try:
                self._compute(guarded, [member])
            except Exception as failure:
                error = serving_error(failure)
                error_of_time = error if error.reason is Reason.LATE else error_of_time
                self._loop.call_soon_threadsafe(member.settle, error)
        if error_of_time is not None:  # a context of a compute that was interrupted isn't used again
            raise error_of_time

    def _compute(self, guarded: GuardedContext, members: Sequence[_Member]) -> None:
        if not members:
            return
        began = time.monotonic()
        arrays = joined([member.arrays for member in members])
        context = guarded.context()
        ready = time.monotonic()
        outputs = context.compute_named(_named(self._graph, arrays))
        computed = time.monotonic()
        rows = [member.rows for member in members]
        outcomes = [
            (member, _wanted(self._graph, member, part))
            for member, part in zip(members, split(outputs, rows), strict=True)
        ]
        times = (ready - began, computed - ready, time.monotonic() - computed)
        self._tell(Execution(len(members), sum(rows), began, *times), outcomes)


def _checked(graph: Graph, request: InferenceRequest) -> tuple[Sequence[Array], int]:
    arrays = named_inputs(graph, graph_inputs(graph, request))
    return arrays, rows_of(graph, arrays)


def _named(graph: Graph, arrays: Sequence[Array]) -> list[tuple[str, Array]]:
    return [(info.name, array) for info, array in zip(graph.inputs, arrays, strict=True) if array is not ABSENT]


def _wanted(graph: Graph, member: _Member, outputs: NamedArrays) -> NamedArrays | ServingError:
    try:
        return wanted_outputs(graph, member.request.outputs, outputs)
    except NNError as error:
        return of_compute(error)
