"""Deliberate faults of this host, each of which the conformance suite must notice."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import numpy as np
import pytest

from wasi_nn import ErrorCode, NNError, Session
from wasi_nn.abi.component import bridge_functions, numbers
from wasi_nn.abi.component.bridge_functions import ComponentAbi
from wasi_nn.abi.core import extensions, spec
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.graph import execution_context
from wasi_nn.graph.input_slots import InputSlots
from wasi_nn.session.tensor import Tensor

Patch = pytest.MonkeyPatch
Fault = Callable[[Patch], None]
FAULTS: dict[str, tuple[str, Fault]] = {}
"""The faults by name, each with the cases among which one must notice it."""


def fault(cases: str) -> Callable[[Fault], Fault]:
    """Register a fault under its function's name."""

    def register(function: Fault) -> Fault:
        FAULTS[function.__name__] = (cases, function)
        return function

    return register


def _errno(patch: Patch, code: ErrorCode, number: int) -> None:
    patch.setattr(spec, "ERRNO", {**spec.ERRNO, code: number})


@fault("core/load_by_name")
def an_unknown_name_is_an_unsupported_operation(patch: Patch) -> None:
    _errno(patch, ErrorCode.NOT_FOUND, 6)


@fault("core/init_execution_context")
def an_invalid_argument_is_a_runtime_error(patch: Patch) -> None:
    _errno(patch, ErrorCode.INVALID_ARGUMENT, 5)


@fault("core/get_output")
def a_buffer_too_small_is_an_invalid_argument(patch: Patch) -> None:
    _errno(patch, ErrorCode.TOO_LARGE, 1)


@fault("2024-06-25/errors")
def the_codes_of_errors_are_shifted(patch: Patch) -> None:
    shifted = {code: (number + 1) % 9 for code, number in numbers.NUMBER_OF_CODE.items()}
    patch.setattr(bridge_functions, "NUMBER_OF_CODE", shifted)


@fault("core/get_output")
def the_last_byte_of_an_output_is_missing(patch: Patch) -> None:
    deliver = extensions.deliver

    def short(memory: GuestMemory, what: str, content: memoryview, buffer: int, room: int, out: int) -> None:
        deliver(memory, what, content[:-1], buffer, room, out)

    patch.setattr(spec, "deliver", short)


@fault("core/get_output")
def a_buffer_too_small_gets_a_part(patch: Patch) -> None:
    deliver = extensions.deliver

    def part(memory: GuestMemory, what: str, content: memoryview, buffer: int, room: int, out: int) -> None:
        memory.bytes[buffer : buffer + min(room, len(content))] = content[:room]
        deliver(memory, what, content, buffer, room, out)

    patch.setattr(spec, "deliver", part)


@fault("core/get_output")
def the_size_that_an_output_needs_is_never_written(patch: Patch) -> None:
    deliver = extensions.deliver

    def silent(memory: GuestMemory, what: str, content: memoryview, buffer: int, room: int, out: int) -> None:
        before = memory.read_u32(out)
        try:
            deliver(memory, what, content, buffer, room, out)
        except Exception:
            memory.write_u32(out, before)
            raise

    patch.setattr(spec, "deliver", silent)


@fault("core/types")
def the_numbers_of_i32_and_i64_are_swapped(patch: Patch) -> None:
    types = dict(CoreAbi.tensor_types)
    patch.setattr(CoreAbi, "tensor_types", {**types, 4: types[5], 5: types[4]})


@fault("2024-10-28/tensor")
def bf16_and_f64_are_swapped_in_what_a_tensor_says(patch: Patch) -> None:
    of = numbers.NUMBER_OF_TYPE
    f64, bf16 = numbers.TENSOR_TYPES[2:4]
    patch.setattr(bridge_functions, "NUMBER_OF_TYPE", {**of, f64: of[bf16], bf16: of[f64]})


@fault("core/set_input/padding-*")
def the_padding_belongs_to_the_type(patch: Patch) -> None:
    patch.setattr(spec, "_TENSOR", Struct("<IIIII"))


def _check_with(patch: Patch, slack: int) -> None:
    def check(memory: GuestMemory, what: str, pointer: int, length: int) -> None:
        if length and pointer + length > memory.size + slack:
            raise OutOfBounds(f"{what} [{pointer}, {pointer + length}) is outside the memory of {memory.size} bytes")

    patch.setattr(GuestMemory, "check", check)


@fault("core/set_input/*past-memory*")
def a_byte_past_the_memory_is_taken(patch: Patch) -> None:
    _check_with(patch, 1)


@fault("core/load_by_name")
def the_last_byte_of_the_memory_is_refused(patch: Patch) -> None:
    _check_with(patch, -1)


@fault("core/set_input/data-may-change-after")
def inputs_are_read_when_they_are_needed(patch: Patch) -> None:
    write, compute = Session.write_input, Session.compute
    pending: list[tuple[Any, ...]] = []

    def later(session: Session, *arguments: Any) -> None:
        pending.append((session, *arguments))

    def compute_then(session: Session, context: int) -> None:
        for arguments in pending:
            write(*arguments)
        pending.clear()
        compute(session, context)

    patch.setattr(Session, "write_input", later)
    patch.setattr(Session, "compute", compute_then)


@fault("core/compute")
def inputs_are_forgotten_after_compute(patch: Patch) -> None:
    compute = Session.compute

    def forget(session: Session, context: int) -> None:
        compute(session, context)
        item = session.context(context)
        item._inputs = InputSlots(item.graph.inputs, item._runner)

    patch.setattr(Session, "compute", forget)


@fault("core/get_output")
def outputs_are_in_reverse_order(patch: Patch) -> None:
    output_bytes = Session.output_bytes

    def reverse(session: Session, context: int, index: int) -> memoryview:
        return output_bytes(session, context, len(session.context(context).graph.outputs) - 1 - index)

    patch.setattr(Session, "output_bytes", reverse)


@fault("core/set_input/three-*")
def inputs_are_in_the_order_of_their_names(patch: Patch) -> None:
    write = Session.write_input

    def sorted_write(session: Session, context: int, index: int, *tensor: Any) -> None:
        inputs = session.context(context).graph.inputs
        places = sorted(range(len(inputs)), key=lambda place: inputs[place].name)
        write(session, context, places[index], *tensor)

    patch.setattr(Session, "write_input", sorted_write)


@fault("2024-10-28/inference/outputs-have-names")
def outputs_are_in_the_order_of_their_names(patch: Patch) -> None:
    text = ComponentAbi.outputs_text
    patch.setattr(ComponentAbi, "outputs_text", lambda abi, outputs: text(abi, sorted(outputs)))


@fault("core/init_execution_context")
def a_graph_has_one_context(patch: Patch) -> None:
    init = Session.init_execution_context
    made: dict[tuple[int, int], int] = {}

    def one(session: Session, graph: int) -> int:
        key = (id(session), graph)
        if key not in made:
            made[key] = init(session, graph)
        return made[key]

    patch.setattr(Session, "init_execution_context", one)


@fault("2024-06-25/graph/*drop*")
def handles_that_are_dropped_stay(patch: Patch) -> None:
    patch.setattr(Session, "drop", lambda session, handle: None)


def _names_by(patch: Patch, change: Callable[[str], str]) -> None:
    load_by_name = Session.load_by_name

    def changed(session: Session, name: str, *configuration: Any) -> int:
        return load_by_name(session, change(name), *configuration)

    patch.setattr(Session, "load_by_name", changed)


@fault("core/load_by_name")
def names_are_in_lower_case(patch: Patch) -> None:
    _names_by(patch, str.lower)


@fault("core/load_by_name")
def names_end_at_a_nul(patch: Patch) -> None:
    _names_by(patch, lambda name: name.partition("\0")[0])


@fault("2024-10-28/graph/name-*")
def names_are_composed(patch: Patch) -> None:
    _names_by(patch, lambda name: unicodedata.normalize("NFC", name))


@fault("core/set_input")
def dimensions_are_taken_from_the_graph(patch: Patch) -> None:
    write = Session.write_input

    def ignore(session: Session, context: int, index: int, dtype: Any, dims: Any, data: memoryview) -> None:
        inputs = session.context(context).graph.inputs
        if index < len(inputs) and inputs[index].has_fixed_dims:
            dims = inputs[index].dims
        write(session, context, index, dtype, dims, data)

    patch.setattr(Session, "write_input", ignore)


@fault("core/init_execution_context")
def a_failed_call_writes_its_result(patch: Patch) -> None:
    init = CoreAbi.init_execution_context

    def write_first(abi: CoreAbi, memory: GuestMemory, graph: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.write_u32(out, 0)
        init(abi, memory, graph, out)

    patch.setattr(CoreAbi, "init_execution_context", write_first)


@fault("2024-08-19/inference/row-major")
def dimensions_of_outputs_are_reversed(patch: Patch) -> None:
    def reverse(kind: Any, array: Any) -> Tensor:
        dims = np.array((array.shape or (1,))[::-1], "<u4").view(np.uint8)
        return Tensor(kind, array.reshape(-1).view(np.uint8), dims)

    patch.setattr(Tensor, "of", reverse)


@fault("2024-10-28/inference/names-of-digits")
def a_name_of_digits_is_always_an_index(patch: Patch) -> None:
    from wasi_nn.graph import named_tensors

    for module in (named_tensors, execution_context):
        find = module.find

        def by_index(infos: Sequence[Any], key: Any, what: str, find: Any = find) -> int:
            number: int = find(infos, int(key) if isinstance(key, str) and key.isdigit() else key, what)
            return number

        patch.setattr(module, "find", by_index)


@fault("core/compute")
def outputs_stay_after_a_failed_compute(patch: Patch) -> None:
    compute = Session.compute

    def keep(session: Session, context: int) -> None:
        item = session.context(context)
        before = item._outputs
        try:
            compute(session, context)
        except Exception:
            item._outputs = before
            raise

    patch.setattr(Session, "compute", keep)


@fault("2024-06-25/inference/failure-changes-nothing")
def a_failed_set_input_clears_all_inputs(patch: Patch) -> None:
    set_tensor = Session.set_input_tensor

    def clear(session: Session, context: int, name: str, tensor: int) -> None:
        try:
            set_tensor(session, context, name, tensor)
        except NNError:
            item = session.context(context)
            item._inputs = InputSlots(item.graph.inputs, item._runner)
            raise

    patch.setattr(Session, "set_input_tensor", clear)


@fault("2024-08-19/inference/name-twice")
def the_first_tensor_of_an_input_counts(patch: Patch) -> None:
    set_tensor = Session.set_input_tensor
    seen: set[tuple[int, int, str]] = set()

    def once(session: Session, context: int, name: str, tensor: int) -> None:
        if (id(session), context, name) not in seen:
            set_tensor(session, context, name, tensor)
        seen.add((id(session), context, name))

    patch.setattr(Session, "set_input_tensor", once)
