"""Computes on tensors that stay in the bridge, beside those that the host holds (`guests/bridge/kept.h`).

The request of a compute has everything but the elements. So where a context gets a request for the second time, its
inputs and outputs are bound: from then on, the host only copies the elements of small tensors between the bridge and
the arrays that the runtime has, and the guest's next large input goes into the memory of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING

from wasi_nn.abi.component.exchange import (
    SLOT_SIZE,
    SLOTS,
    Answer,
    Copies,
    Exchange,
    Input,
    Output,
    fit_answer,
    placed,
)
from wasi_nn.errors import NNError
from wasi_nn.graph.named_tensors import named_outputs
from wasi_nn.session.tensor import BoundTensor, Tensor, as_tensor

if TYPE_CHECKING:
    from wasi_nn.abi.component.memories import GuestMemories
    from wasi_nn.graph.bound_compute import BoundCompute
    from wasi_nn.graph.execution_context import ExecutionContext
    from wasi_nn.session.session import Session
    from wasi_nn.types import Array

IN_ANSWER, AS_TEXT = 0, 1
"""Where the outputs of a compute are: in the answer of the exchange, or among `KeptTensors.outputs`."""


_MOST_COPIED = 65536  # bytes of outputs: to copy more takes longer than to have the runtime make new arrays


class Plan:
    """What the host knows of a context's next compute, if that has the same request as the last one."""

    def __init__(self, request: bytes, exchange: Exchange) -> None:
        self.request = request
        self.exchange = exchange
        """The exchange at the time. The plan is void where the bridge's memory was found anew."""
        self.output_bytes = 0
        """The size of the outputs of the last compute."""
        self.may_bind: bool | None = None
        """Whether to bind the inputs. None: nothing was computed yet."""
        self.compute: BoundCompute | None = None
        self.read: Copies = ()
        """Copies of inputs out of their slots."""
        self.tensors: list[BoundTensor] = []
        """The inputs that the host holds."""
        self.places: list[int] = []
        """Their places among the graph's inputs."""
        self.handles = Struct("")
        """Unpacks their handles."""
        self.arrays: Sequence[Array] | None = None
        """The outputs of the last bound compute."""
        self.write: Copies = ()
        """Copies of these outputs into their slots."""
        self.views: Sequence[Tensor] = ()
        """Tensors over those outputs that have no slot."""
        self.answer = Answer(b"", ())
        """The answer for these outputs."""


class KeptTensors:
    """The tensors in the bridge's memory, and the computes on them."""

    def __init__(self, session: Session, memories: GuestMemories) -> None:
        self.outputs: list[tuple[str, int]] = []
        """The names and handles of the outputs of the last compute whose outputs were too many for the answer."""
        self._session = session
        self._memories = memories
        self._exchanges: dict[int, Exchange] = {}

    def find(self, memory: int, mark: int, pages: int, exchange: int, slots: int) -> int:
        """Find a bridge's memory, of so many pages, by the place of its mark; returns its number, or 0 if no tensors
        may stay there. `memory` is the number from an earlier call, or 0; `exchange` and `slots` are places there.

        All slots count as bytes of tensors, and so not the tensors in them.
        """
        bindings, size = self._session.bindings, SLOTS * SLOT_SIZE
        if not memory and not bindings.take_slots(SLOTS, size):
            return 0
        number = self._memories.find(memory, pages, mark)
        if number:
            self.use(number, exchange, slots)
        else:
            bindings.give_slots(size)
        return number

    def use(self, memory: int, exchange: int, slots: int) -> None:
        """Use the exchange and the slots at these places of a memory that was found."""
        self._exchanges[memory] = Exchange(partial(self._part, memory), exchange, slots)

    def _part(self, memory: int, at: int, size: int) -> memoryview:
        return self._memories.part(memory, at, size).data

    def compute(self, memory: int, context: int, size: int) -> int:
        """Compute as the request in a bridge's memory says, which has `size` bytes; returns `IN_ANSWER` or `AS_TEXT`.
        The host's tensors among the inputs are gone afterwards. Raises `NNError` as `Session.compute_named_tensors`
        does."""
        exchange = self._exchanges[memory]
        request = bytes(exchange.request[:size])
        item = self._session.context(context)
        plan = item.plan
        if not isinstance(plan, Plan) or plan.request != request or plan.exchange is not exchange:
            plan = item.plan = Plan(request, exchange)
        compute = plan.compute
        if compute is None:
            return self._compute_anew(context, item, plan)
        handles = plan.handles.unpack_from(exchange.handles)
        for tensor, handle in zip(plan.tensors, handles, strict=True):
            if tensor.handle != handle:
                if not self._rebound(plan, compute, handles):
                    return self._compute_anew(context, item, plan)
                break
        for to, content in plan.read:
            to[:] = content
        try:
            arrays = compute()
        finally:
            if handles:
                self._session.bindings.take_back(plan.tensors, handles)
        if arrays is not plan.arrays:
            return self._give_bound(item, plan, arrays)
        for to, content in plan.write:
            to[:] = content
        copies = self._session.add_tensors([view.copy() for view in plan.views]) if plan.views else ()
        exchange.write_again(plan.answer, copies)
        return IN_ANSWER

    def _drop(self, handles: Sequence[int]) -> None:
        for handle in handles:
            self._session.drop(handle)

    def _rebound(self, plan: Plan, compute: BoundCompute, handles: Sequence[int]) -> bool:
        """Have a bound compute take the tensors with these handles. Returns False if they aren't like its own."""
        for at, handle in enumerate(handles):
            tensor = self._session.tensor(handle)
            if tensor is plan.tensors[at]:
                continue
            bound = self._bound_tensor(tensor) if plan.tensors[at].is_alike(tensor) else None
            if bound is None:
                return False
            plan.tensors[at] = bound
            compute.replace(plan.places[at], bound.elements)
        return True

    def _bound_tensor(self, tensor: Tensor) -> BoundTensor | None:
        return self._session.bindings.tensor(tensor, tensor.array(""))

    def _compute_anew(self, context: int, item: ExecutionContext, plan: Plan) -> int:
        """Compute as a request says whose inputs aren't bound; bind them if it comes for the second time."""
        inputs = plan.exchange.inputs(plan.request)
        handles = [given.handle for given in inputs if given.handle]
        bound = None
        try:
            tensors = [given.tensor or self._session.tensor(given.handle) for given in inputs]
            arrays = [(given.name, tensor.array(given.name)) for given, tensor in zip(inputs, tensors, strict=True)]
            if plan.may_bind:
                bound = plan.compute = self._bound(item, plan, inputs, tensors)
            if bound is not None:
                results = bound()
            else:
                outputs = self._outputs(item, plan, self._session.compute_named(context, arrays))
        finally:
            if bound is not None:
                self._session.bindings.take_back(plan.tensors, handles)
            else:
                self._drop(handles)
        if bound is not None:
            return self._give_bound(item, plan, results)
        if plan.may_bind is None:
            plan.output_bytes = sum(len(output.tensor.data) for output in outputs)
            plan.may_bind = plan.output_bytes <= _MOST_COPIED and not any(each.tensor.holds_strings for each in outputs)
        return self._give(plan, outputs)

    def _bound(
        self, item: ExecutionContext, plan: Plan, inputs: Sequence[Input], tensors: Sequence[Tensor]
    ) -> BoundCompute | None:
        """A bound compute on these inputs, for the plan; None if they can't be bound, now or at all."""
        pairs, held, read = [], [], []
        for given, tensor in zip(inputs, tensors, strict=True):
            if not given.handle:
                read.append((tensor.data.data, given.slot))
                pairs.append((given.name, tensor.array(given.name)))
            elif (bound := self._bound_tensor(tensor)) is not None:
                held.append(bound)
                pairs.append((given.name, bound.elements))
            else:
                return None
        plan.may_bind = False
        small_bytes = plan.output_bytes + sum(len(slot) for _, slot in read)
        try:
            compute = self._session.bindings.compute(item, pairs, small_bytes, self._session.file_reader)
        except NNError:  # `compute_named` raises it, too
            return None
        if compute is None:
            return None
        places = {id(array): place for place, array in enumerate(compute.inputs)}
        if not all(id(tensor.elements) in places for tensor in held):  # the graph takes an array of another shape
            return None
        plan.tensors, plan.places = held, [places[id(tensor.elements)] for tensor in held]
        plan.read, plan.handles = read, Struct(f"<{len(held)}I")
        return compute

    def _give_bound(self, item: ExecutionContext, plan: Plan, arrays: Sequence[Array]) -> int:
        """Give the guest the outputs of a bound compute, into which the next one may write."""
        outputs = self._outputs(item, plan, named_outputs(item.graph, arrays))
        views = [output.tensor for output in outputs if output.slot is None]
        if not fit_answer(outputs) or sum(len(view.data) for view in views) > _MOST_COPIED:
            plan.compute = None
        elif all(array.flags.c_contiguous and array.dtype != object for array in arrays):  # else, they were copied
            plan.arrays, plan.write, plan.views = arrays, plan.exchange.copies(outputs), views
        return self._give(plan, [output._replace(tensor=output.tensor.copy()) for output in outputs])

    def _outputs(self, item: ExecutionContext, plan: Plan, named: Sequence[tuple[str, Array]]) -> list[Output]:
        takes_strings = self._session.takes_byte_strings
        tensors = [(name, as_tensor(item.graph, name, array, takes_strings)) for name, array in named]
        return placed(plan.request, tensors)

    def _give(self, plan: Plan, outputs: Sequence[Output]) -> int:
        """Give the guest outputs; returns where they are, as `compute` does."""
        if not fit_answer(outputs):
            handles = self._session.add_tensors([output.tensor for output in outputs])
            self.outputs = [(output.name, handle) for output, handle in zip(outputs, handles, strict=True)]
            return AS_TEXT
        handles = self._session.add_tensors([output.tensor for output in outputs if output.slot is None])
        plan.answer = plan.exchange.write(outputs, handles)
        return IN_ANSWER
