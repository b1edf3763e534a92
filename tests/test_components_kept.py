"""Small tensors that stay in the bridge, and repeated inferences: the same answers with fewer calls of the host."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import numpy as np
import onnx_models
import pytest
import wasmtime
from driven_component import TYPES, Driven, GuestFailed, dtype_of
from driven_extensions import Extended
from extension_graphs import Echo, Speller
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper
from wasmtime.component import Component

from wasi_nn import (
    ErrorCode,
    Graph,
    HostLimits,
    Limits,
    LoadRules,
    NNError,
    Session,
    TensorInfo,
    TensorType,
    wrap_component,
)
from wasi_nn.abi.component import host_functions
from wasi_nn.abi.component.bridge import VERSIONS
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.limits.usage import Usage
from wasi_nn.session.bindings import Bindings
from wasi_nn.tracing import RecordingSession, replay

if TYPE_CHECKING:
    from wasmtime.component import LinkerInstance

    from wasi_nn.abi.component.host_functions import HostFunction
    from wasi_nn.types import Array

NEWEST = VERSIONS[-1]
LOOKS = 16  # at this compute, the bridge has the host look for its memory
SLOTS, MOST = 64, 4032  # how many tensors stay in the bridge, and the bytes of each
SLOT_BYTES = SLOTS * 4096  # what the slots count as bytes of tensors
F32 = np.dtype(np.float32)
LARGE = 100_000  # bytes


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


class Counting:
    """Defines host functions that count their calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __call__(
        self,
        instance: LinkerInstance,
        name: str,
        parameters: Sequence[str],
        result: str | None,
        function: HostFunction,
    ) -> None:
        def counted(*arguments: Any) -> Any:
            self.calls[name] += 1
            return function(*arguments)

        host_functions.define(instance, name, parameters, result, counted)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(GRAPHS) as session:
        yield session


GRAPHS: dict[str, Any] = {
    "relu": onnx_models.relu(["n"]),
    "add_and_mul": onnx_models.add_and_mul(),
    "nonzero": onnx_models.nonzero(),
    "failing": onnx_models.failing(),
    "scalar": onnx_models.identity(dims=()),
    "bool": onnx_models.cast(TensorProto.FLOAT, TensorProto.BOOL),
    "sum": onnx_models.build(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": (1, ["n"])}, {"y": (1, [])}
    ),
    "halves": onnx_models.build(
        [helper.make_node("Split", ["x"], ["first", "second"], axis=0), helper.make_node("Relu", ["first"], ["y"])],
        {"x": (1, [4000])},
        {"first": (1, [2000]), "second": (1, [2000]), "y": (1, [2000])},
    ),
}


def context_on(guest: Driven, name: str) -> int:
    graph = guest.load_by_name(name)
    context = guest.init_execution_context(graph)
    guest("drop-graph", graph)
    return context


def kept(session: Session, define: Any = host_functions.define, **options: Any) -> Driven:
    """A guest whose bridge keeps small tensors from now on."""
    return warm(Driven(NEWEST, session, define, **options))


Guest = TypeVar("Guest", bound=Driven)


def warm(guest: Guest) -> Guest:
    session = guest.session
    session.registry.add("warm", Answering(lambda inputs: [f32(1)]), overwrite=True)  # type: ignore[attr-defined]
    context = context_on(guest, "warm")
    for _ in range(LOOKS):
        for _, tensor in guest.compute_named(context, []):
            guest("drop-tensor", tensor)
    guest("drop-context", context)
    return guest


class Answering(Graph):
    """A graph whose outputs are those that a function gives for its inputs."""

    def __init__(
        self, answer: Callable[[Sequence[Array]], Sequence[Array]], inputs: Sequence[Sequence[int | str]] = ()
    ) -> None:
        infos = [TensorInfo(f"x{place}", F32, tuple(dims)) for place, dims in enumerate(inputs)]
        super().__init__(infos, [TensorInfo("y", F32, ("n",))])
        self.answer = answer

    def runner(self) -> Any:
        def run(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
            return self.answer(inputs)

        return run


# Calls of the host


def test_an_inference_on_small_tensors_is_one_call(session: Session) -> None:
    counting = Counting()
    guest = kept(session, counting)
    context = context_on(guest, "relu")
    for number in range(5):
        counting.calls.clear()
        assert guest.infer(context, {"x": f32(-1, number)}, ["y"])["y"].tolist() == [0, number]
        assert counting.calls == {"compute-kept": 1}


def test_an_inference_on_a_large_tensor_is_two(session: Session) -> None:
    counting = Counting()
    guest = kept(session, counting)
    context = context_on(guest, "sum")
    guest.infer(context, {"x": np.ones(LARGE, np.float32)}, ["y"])  # the host finds the guest's memory
    for number in range(5):
        counting.calls.clear()
        x = np.zeros(LARGE, np.float32)
        x[number * 100] = number
        assert guest.infer(context, {"x": x}, ["y"])["y"].item() == number
        assert counting.calls == {"tensor-new-direct": 1, "compute-kept": 1}


def test_each_inference_counts_as_one_nn_call(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "relu")
    before = session.calls
    for _ in range(5):
        guest.infer(context, {"x": f32(1)}, ["y"])
    assert session.calls == before + 5


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_guest_of_an_older_version_keeps_none(session: Session, version: str) -> None:
    counting = Counting()
    guest = Driven(version, session, counting)
    context = context_on(guest, "relu")
    for number in range(2 * LOOKS):
        assert guest.infer(context, {"x": f32(-1, number)}, ["y"])["y"].tolist() == [0, number]
    assert not counting.calls["memory-keep"]


# The same answers


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("kind", range(len(TYPES)), ids=TYPES)
def test_every_type_and_size(session: Session, kind: int, direct: bool) -> None:
    guest = kept(session, direct=direct)
    random = np.random.default_rng(kind)
    size = dtype_of(kind).itemsize
    of = next(tensor_type for tensor_type in TensorType if tensor_type.dtype == dtype_of(kind))
    context = guest.init_execution_context(guest.load([onnx_models.identity(of, ["n"])]))
    for count in (0, 1, 3, MOST // size, MOST // size + 1, 70_001):
        for _ in range(4):
            content = np.resize(random.integers(0, 100, 500), count).astype(dtype_of(kind))
            tensor = guest.tensor(content)
            assert guest.data(tensor) == content.tobytes()
            assert (guest("tensor-dimensions", tensor), guest("tensor-type", tensor)) == ([count], kind)
            [(name, output)] = guest.compute_named(context, [("x", tensor)])
            assert (name, guest.data(output), guest("tensor-type", output)) == ("y", content.tobytes(), kind)
            assert guest("tensor-dimensions", output) == [count]
            guest("drop-tensor", output)
    guest("drop-context", context)
    gc.collect()
    assert session.used("tensor_bytes") == SLOT_BYTES


@pytest.mark.parametrize("rank", [0, 1, 11, 12, 13, 64, 65, 5000])
def test_dimensions_of_any_number(session: Session, rank: int) -> None:
    guest = kept(session)
    dims = np.random.default_rng(rank).integers(0, 2**32, rank).tolist()
    tensor = guest.raw_tensor(dims, TYPES.index("uint8"), b"12345")
    assert (guest("tensor-dimensions", tensor), guest.data(tensor)) == (dims, b"12345")
    guest("drop-tensor", tensor)


def test_a_scalar_has_the_dimensions_1(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "scalar")
    for number in range(4):
        output = guest.infer(context, {"x": f32(number)}, ["y"])["y"]
        assert (output.shape, output.tolist()) == ((1,), [number])


def test_outputs_of_other_sizes_than_before(session: Session) -> None:
    """Dims that depend on values: outputs that stay in the bridge, and one that is too large for it."""
    guest = kept(session)
    context = context_on(guest, "nonzero")
    for ones in (1, 1, 2, 3, 0, 3, 600, 1, 600, 600, 1):
        x = np.zeros(600, np.float32)
        x[:ones] = 1
        assert guest.infer(context, {"x": x}, ["y"])["y"].tolist() == [list(range(ones))]


@pytest.mark.parametrize("size", [2, MOST // 4 + 1, 16_384, 16_385])
def test_outputs_stay_as_they_are_while_others_are_computed(session: Session, size: int) -> None:
    guest = kept(session)
    context, outputs = context_on(guest, "relu"), []
    guest("make-tensors", 64)  # by now, the host has looked for the guest's memory
    for number in range(6):
        [(_, output)] = guest.compute_named(context, [("x", guest.tensor(np.full(size, number, np.float32)))])
        outputs.append(output)
    assert [set(guest.array(output).tolist()) for output in outputs] == [{number} for number in range(6)]
    # An output is the next input.
    for output in outputs:
        number = guest.array(output)[0]
        [(_, again)] = guest.compute_named(context, [("x", output)])
        assert (guest.array(again) == number).all()
        guest("drop-tensor", again)
    guest("drop-context", context)
    gc.collect()
    assert (session.used("handles"), session.used("tensor_bytes")) == (0, SLOT_BYTES)


def test_small_and_large_outputs_of_one_compute() -> None:
    def answer(inputs: Sequence[Array]) -> Sequence[Array]:
        return [inputs[0], np.resize(inputs[0], LARGE), inputs[0] + 1]

    graph = Answering(answer, [("n",)])
    graph.outputs = tuple(TensorInfo(name, F32, ("n",)) for name in ("small", "large", "more"))
    with Session({"g": graph}) as session:
        guest = kept(session)
        context = context_on(guest, "g")
        for number in range(5):
            outputs = guest.infer(context, {"x0": f32(number)}, [])
            assert [outputs["small"].item(), outputs["more"].item()] == [number, number + 1]
            assert (outputs["large"] == number).all()
        assert session.used("handles") == 1


@pytest.mark.parametrize(("count", "length"), [(7, 1), (8, 20), (9, 1), (20, 1), (20, 500), (3, 1000)])
def test_outputs_of_any_number_with_names_of_any_length(count: int, length: int) -> None:
    number = 0
    graph = Answering(lambda inputs: [f32(number + place) for place in range(count)])
    names = [f"{place}\N{SNOWMAN}".ljust(length, "y") for place in range(count)]
    graph.outputs = tuple(TensorInfo(name, F32, (1,)) for name in names)
    with Session({"g": graph}) as session:
        guest = kept(session)
        context = context_on(guest, "g")
        for number in range(5):
            outputs = guest.infer(context, {}, [])
            assert list(outputs) == names
            assert [array.item() for array in outputs.values()] == [number + place for place in range(count)]
        assert session.used("handles") == 1


@pytest.mark.parametrize(
    ("count", "length"), [(2, 10), (30, 50), (63, 1), (64, 1), (65, 1), (70, 100), (1, 1990), (1, 3000)]
)
@pytest.mark.parametrize("large", [True, False])
def test_inputs_of_any_number_with_names_of_any_length(count: int, length: int, large: bool) -> None:
    size = 2000 if large else 2
    graph = Answering(lambda inputs: [f32(*(array[0] for array in inputs))], [(size,)] * count)
    names = [f"{place}\N{SNOWMAN}".ljust(length, "x") for place in range(count)]
    graph.inputs = tuple(TensorInfo(name, F32, (size,)) for name in names)
    with Session({"g": graph}) as session:
        guest = kept(session)
        context = context_on(guest, "g")
        for number in range(4):
            inputs = {name: np.full(size, number + place, np.float32) for place, name in enumerate(names)}
            assert guest.infer(context, inputs, [])["y"].tolist() == [number + place for place in range(count)]
        guest("drop-context", context)
        gc.collect()
        assert (session.used("handles"), session.used("tensor_bytes")) == (0, SLOT_BYTES)


@pytest.mark.parametrize("size", [2, LARGE])
def test_contexts_in_turn(session: Session, size: int) -> None:
    guest = kept(session)
    contexts = [context_on(guest, "sum") for _ in range(3)]
    for number in range(12):
        x = np.zeros(size, np.float32)
        x[-1] = number
        assert guest.infer(contexts[number % 3], {"x": x}, [])["y"].item() == number


@pytest.mark.parametrize("ahead", [2, 3])
@pytest.mark.parametrize("size", [2, LARGE])
def test_tensors_that_are_made_ahead(session: Session, size: int, ahead: int) -> None:
    guest = kept(session)
    context, made = context_on(guest, "sum"), []
    for number in range(20):
        x = np.zeros(size, np.float32)
        x[0] = number
        made.append(guest.tensor(x))
        if len(made) == ahead:
            [(_, output)] = guest.compute_named(context, [("x", made.pop(0))])
            assert guest.array(output).item() == number - ahead + 1
            guest("drop-tensor", output)


def test_two_inputs_of_one_size(session: Session) -> None:
    guest = kept(session)
    graph = Answering(lambda inputs: [f32(inputs[0][0], inputs[1][0])], [(LARGE,), (LARGE,)])
    session.registry.add("two", graph)  # type: ignore[attr-defined]
    context = context_on(guest, "two")
    for number in range(6):
        inputs = {name: np.full(LARGE, value, np.float32) for name, value in (("x1", number), ("x0", -number))}
        assert guest.infer(context, inputs, [])["y"].tolist() == [-number, number]


def test_a_runner_that_gives_back_its_inputs(session: Session) -> None:
    guest = kept(session)
    for answer in (lambda inputs: inputs, list, lambda inputs: [inputs[0]]):
        for size in (3, MOST // 4 + 1):
            session.registry.add("same", Answering(answer, [("n",)]), overwrite=True)  # type: ignore[attr-defined]
            context, outputs = context_on(guest, "same"), []
            for number in range(6):
                x = np.full(size, number, np.float32)
                [(_, output)] = guest.compute_named(context, [("x0", guest.tensor(x))])
                outputs.append(output)
            assert [guest.array(output)[-1] for output in outputs] == list(range(6))
            for output in outputs:
                guest("drop-tensor", output)


def test_the_memory_of_the_bridge_grows(session: Session) -> None:
    guest = kept(session, direct=False)
    context = context_on(guest, "relu")
    held = guest.tensor(f32(-3, 4))
    for size in (2, 2, 2, 3_000_000, 2, 2, 2, 9_000_000, 2, 2, 2):
        x = np.full(size, 7, np.float32)
        assert (guest.infer(context, {"x": x}, ["y"])["y"] == x).all()
    assert guest.array(held).tolist() == [-3, 4]


def test_the_memory_of_the_bridge_moves(session: Session) -> None:
    config = wasmtime.Config()
    config.memory_reservation = 0
    config.memory_reservation_for_growth = 0
    engine = wasmtime.Engine(config)
    wasm = next(Path(__file__).parent.glob("support/components/driver-2024-10-28.wasm")).read_bytes()
    component = Component(engine, wrap_component(wasm, direct=False))
    guest = kept(session, engine=engine, component=component)
    context = context_on(guest, "relu")
    for round_ in range(8):
        x = np.full(40_000 << round_, round_, np.float32)
        assert (guest.infer(context, {"x": x}, ["y"])["y"] == x).all()
        for number in range(4):
            assert guest.infer(context, {"x": f32(-1, number)}, ["y"])["y"].tolist() == [0, number]


def test_two_instances_of_a_component_in_one_linker(session: Session) -> None:
    guests = [kept(session)]
    guests.append(guests[0].twin())
    contexts = [context_on(guest, "relu") for guest in guests]
    for number in range(3 * LOOKS):
        for guest, context, sign in zip(guests, contexts, (1, -1), strict=True):
            held = guest.tensor(f32(sign, number))
            assert guest.infer(context, {"x": f32(number, sign)}, ["y"])["y"].tolist() == [number, max(sign, 0)]
            assert guest.array(held).tolist() == [sign, number]
            guest("drop-tensor", held)


def test_isolated_graphs(isolation: None) -> None:
    graphs = {name: GRAPHS[name] for name in ("relu", "sum")}
    with Session(graphs, rules=LoadRules(isolate=True)) as session:
        guest = kept(session)
        relu, total = context_on(guest, "relu"), context_on(guest, "sum")
        for number in range(5):
            assert guest.infer(relu, {"x": f32(-1, number)}, ["y"])["y"].tolist() == [0, number]
            x = np.zeros(LARGE, np.float32)
            x[number] = number
            assert guest.infer(total, {"x": x}, ["y"])["y"].item() == number


# Lifetimes, limits


def test_thousands_of_small_tensors(session: Session) -> None:
    guest = kept(session)
    before = session.used("handles")
    tensors = [guest.tensor(np.array([number, number + 1], np.int32)) for number in range(3000)]
    assert session.used("handles") == before + 3000 - SLOTS
    Random(1).shuffle(tensors)
    for tensor in tensors:
        assert guest("tensor-dimensions", tensor) == [2]
        first, second = guest.array(tensor).tolist()
        assert second == first + 1
        guest("drop-tensor", tensor)
    assert session.used("handles") == before
    again = [guest.tensor(f32(number)) for number in range(SLOTS)]
    assert session.used("handles") == before
    assert [guest.array(tensor).item() for tensor in again] == list(range(SLOTS))


def test_computes_while_all_slots_are_taken(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "relu")
    held = []
    for number in range(2 * SLOTS):
        [(_, output)] = guest.compute_named(context, [("x", guest.tensor(f32(number, -1)))])
        held.append(output)
    assert [guest.array(output).tolist() for output in held] == [[number, 0] for number in range(2 * SLOTS)]
    for output in held:
        guest("drop-tensor", output)
    assert session.used("handles") == 1


@pytest.mark.parametrize("limits", [Limits(tensor_bytes=1 << 20), Limits(handles=500)], ids=["bytes", "handles"])
def test_no_tensor_stays_where_the_guest_may_have_few(limits: Limits) -> None:
    with Session(GRAPHS, limits=limits) as session:
        guest = kept(session)
        tensors = [guest.tensor(f32(number)) for number in range(5)]
        assert (session.used("handles"), session.used("tensor_bytes")) == (5, 5 * 8)
        assert [guest.array(tensor).item() for tensor in tensors] == list(range(5))


def test_the_slots_count_for_all_guests_together() -> None:
    totals = Usage(HostLimits(tensor_bytes=10 * SLOT_BYTES))
    sessions = [Session(GRAPHS, totals=totals) for _ in range(4)]
    for session in sessions:
        kept(session)
    assert [session.used("tensor_bytes") for session in sessions] == [SLOT_BYTES, SLOT_BYTES, SLOT_BYTES, 0]
    assert totals.used("tensor_bytes") == 3 * SLOT_BYTES
    for session in sessions:
        session.close()
    assert totals.used("tensor_bytes") == 0


def test_the_memory_of_large_inputs_counts_until_the_context_is_dropped(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "sum")
    x = np.ones(LARGE, np.float32)
    for _ in range(5):
        guest.infer(context, {"x": x}, ["y"])
        assert session.used("tensor_bytes") <= SLOT_BYTES + x.nbytes + 100
    assert session.used("tensor_bytes") >= SLOT_BYTES + x.nbytes
    assert session.used("handles") == 2
    held = guest.tensor(x)
    assert session.used("handles") == 2
    guest("drop-context", context)
    gc.collect()
    assert session.used("handles") == 1
    assert x.nbytes <= session.used("tensor_bytes") - SLOT_BYTES <= x.nbytes + 100
    guest("drop-tensor", held)
    gc.collect()
    assert (session.used("handles"), session.used("tensor_bytes")) == (0, SLOT_BYTES)


def test_the_memory_of_large_inputs_isnt_kept_where_there_is_little_room() -> None:
    x = np.ones(LARGE, np.float32)
    with Session(GRAPHS, limits=Limits(tensor_bytes=5 << 20)) as session:
        guest = kept(session)
        rest = [guest.tensor(x) for _ in range(10)]
        context = context_on(guest, "sum")
        before = session.used("tensor_bytes")
        for _ in range(5):
            assert guest.infer(context, {"x": x}, ["y"])["y"].item() == LARGE
            assert session.used("tensor_bytes") <= before + 100
        assert (guest.array(rest[0]) == x).all()


def test_a_tensor_over_the_limit_traps_as_ever() -> None:
    with Session(GRAPHS, limits=Limits(tensor_bytes=5 << 20)) as session:
        guest = kept(session)
        context = context_on(guest, "relu")
        for _ in range(4):
            guest.infer(context, {"x": f32(1)}, ["y"])
        with pytest.raises(wasmtime.WasmtimeError, match=r"tensor-new: .*5242880.*tensor_bytes"):
            guest.raw_tensor([6 << 20], TYPES.index("uint8"), bytes(6 << 20))


def test_memory_that_is_used_again_has_the_new_tensors_bytes_dims_and_type(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "sum")
    for _ in range(4):
        guest.infer(context, {"x": np.full(LARGE, 5, np.float32)}, ["y"])
    for array in (
        np.full(LARGE, 6, np.int32),
        np.full((2, LARGE // 2), 7, np.float32),
        np.full(LARGE, 8, np.float32),
        np.full(LARGE, 9, np.float32),
    ):
        tensor = guest.tensor(array)
        assert (guest.array(tensor) == array).all()
        assert guest.array(tensor).dtype == array.dtype
    assert guest.infer(context, {"x": np.ones(LARGE, np.float32)}, ["y"])["y"].item() == LARGE


def test_a_tensor_is_the_guests_as_long_as_it_holds_it(session: Session) -> None:
    """Other tensors of the same size are computed meanwhile, bound and not bound."""
    guest = kept(session)
    first, second = context_on(guest, "sum"), context_on(guest, "relu")
    for number in range(6):
        guest.infer(first, {"x": np.full(LARGE, number, np.float32)}, ["y"])
    held = [guest.tensor(np.full(LARGE, 50 + number, np.float32)) for number in range(3)]
    for number in range(6):
        x = np.full(LARGE, number, np.float32)
        assert guest.infer(first, {"x": x}, ["y"])["y"].item() == number * LARGE
        assert (guest.infer(second, {"x": x}, ["y"])["y"] == x).all()
        with pytest.raises(GuestFailed):
            guest.compute_named(first, [("x", guest.tensor(x.reshape(2, -1)))])
    assert [set(guest.array(tensor).tolist()) for tensor in held] == [{50}, {51}, {52}]


def test_a_context_that_is_gone(session: Session) -> None:
    guest = kept(session)
    for round_ in range(5):
        context = context_on(guest, "sum")
        for number in range(round_):
            x = np.full(LARGE, number, np.float32)
            assert guest.infer(context, {"x": x}, ["y"])["y"].item() == number * LARGE
        guest("drop-context", context)
    gc.collect()
    assert (session.used("handles"), session.used("tensor_bytes")) == (0, SLOT_BYTES)


def test_nothing_stays_after_the_session(session: Session) -> None:
    guest = kept(session)
    graph = guest.load_by_name("sum")
    context = guest.init_execution_context(graph)
    for _ in range(4):
        guest.infer(context, {"x": np.ones(LARGE, np.float32)}, ["y"])
    held = ref(context_of(session))
    session.close()
    gc.collect()
    assert held() is None
    assert guest.instance is not None, "the guest is still there"


def context_of(session: Session) -> ExecutionContext:
    """The first context that a session holds."""
    for handle in range(1, 1000):
        with suppress(NNError):
            return session.context(handle)
    raise AssertionError


# Failures


@pytest.mark.parametrize("size", [2, LARGE])
def test_a_failed_compute_takes_its_inputs_and_the_next_one_succeeds(session: Session, size: int) -> None:
    guest = kept(session)
    fails = False

    def answer(inputs: Sequence[Array]) -> Sequence[Array]:
        if fails:
            raise NNError(ErrorCode.RUNTIME_ERROR, "so it is")
        return [inputs[0][:1].copy()]

    session.registry.add("fails", Answering(answer, [(size,)]))  # type: ignore[attr-defined]
    context = context_on(guest, "fails")
    for number in range(12):
        fails = number % 3 == 2
        tensor = guest.tensor(np.full(size, number, np.float32))
        if fails:
            with pytest.raises(GuestFailed, match="so it is"):
                guest.compute_named(context, [("x0", tensor)])
            continue
        [(_, output)] = guest.compute_named(context, [("x0", tensor)])
        assert guest.array(output).item() == number
        guest("drop-tensor", output)
    with pytest.raises(wasmtime.WasmtimeError, match="unknown handle"):
        guest("tensor-type", tensor)


MISTAKES = {
    "a name": ([("nope", f32(1, 2))], "no input is named 'nope'"),
    "a type": ([("a", f32(1, 2).astype(np.float64)), ("b", f32(1, 2))], "input 'a' is f32, got f64"),
    "dims": ([("a", f32(1, 2).reshape(1, 2)), ("b", f32(1, 2))], r"input 'a' has dims \['?n'?\], got \[1, 2\]"),
    "one is missing": ([("b", f32(1, 2))], "no value is given for the input 'a'"),
    "none": ([], "no value is given for the inputs 'a', 'b'"),
    "one is given twice": ([("a", f32(1, 2))] * 2, "input 'a' is given twice"),
    "one is given by its name and its index": ([("a", f32(1, 2)), ("0", f32(1, 2))], "input 'a' is given twice"),
}


@pytest.mark.parametrize(("inputs", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_the_guest(session: Session, inputs: list[tuple[str, Array]], message: str) -> None:
    guest = kept(session)
    context = context_on(guest, "add_and_mul")
    for _ in range(4):
        with pytest.raises(GuestFailed, match=message) as failed:
            guest.compute_named(context, [(name, guest.tensor(array)) for name, array in inputs])
        assert failed.value.code == "invalid-argument"
        outputs = guest.infer(context, {"b": f32(3, 4), "a": f32(1, 2)}, [])
        assert {name: array.tolist() for name, array in outputs.items()} == {"product": [3, 8], "sum": [4, 6]}
    assert session.used("handles") == 1


@pytest.mark.parametrize(("dims", "kind", "size"), [([4], "float32", 15), ([2**31, 2], "uint8", 0), ([5], "uint8", 4)])
def test_a_tensor_that_is_none(session: Session, dims: list[int], kind: str, size: int) -> None:
    guest = kept(session)
    context = context_on(guest, "relu")
    for _ in range(3):
        tensor = guest.raw_tensor(dims, TYPES.index(kind), bytes(size))
        assert (guest("tensor-dimensions", tensor), guest.data(tensor)) == (dims, bytes(size))
        with pytest.raises(GuestFailed) as failed:
            guest.compute_named(context, [("x", tensor)])
        assert failed.value.code == "invalid-argument"


def test_the_runtime_fails_and_an_output_has_no_type(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "failing")
    for _ in range(3):
        with pytest.raises(GuestFailed, match="the runtime failed"):
            guest.infer(context, {"x": f32(1, 2, 3)}, ["y"])
        assert guest.infer(context, {"x": f32(1, 2, 3, 4)}, ["y"])["y"].tolist() == [[1, 2], [3, 4]]
        with pytest.raises(GuestFailed, match="wasi-nn has no tensors of bool"):
            guest.infer(context_on(guest, "bool"), {"x": f32(0, 1, 2, 3)}, ["y"])


class Waiting(Graph):
    """y = x[:1]. While the test has it wait, only an interruption ends a compute."""

    def __init__(self) -> None:
        super().__init__([TensorInfo("x", F32, ("n",))], [TensorInfo("y", F32, (1,))])
        self.waits = False

    def runner(self) -> Any:
        return _WaitingRunner(self)


class _WaitingRunner:
    def __init__(self, graph: Waiting) -> None:
        self.graph = graph
        self.interrupted = Event()

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        if self.graph.waits:
            assert self.interrupted.wait(60)
            self.interrupted.clear()
            raise RuntimeError
        return [inputs[0][:1].copy()]

    def interrupt(self) -> None:
        self.interrupted.set()


@pytest.mark.parametrize("size", [2, LARGE])
def test_a_compute_that_is_stopped_at_its_deadline(size: int) -> None:
    graph = Waiting()
    with Session({"g": graph}, limits=Limits(compute_time=1)) as session:
        guest = kept(session)
        context = context_on(guest, "g")
        for number in range(8):
            graph.waits = number == 4
            x = np.full(size, number, np.float32)
            if not graph.waits:
                assert guest.infer(context, {"x": x}, [])["y"].tolist() == [number]
                continue
            with pytest.raises(GuestFailed, match="compute_time") as failed:
                guest.infer(context, {"x": x}, [])
            assert failed.value.code == "timeout"


def test_an_interruption_stops_the_guest(session: Session) -> None:
    guest = kept(session)
    interrupts = False

    def answer(inputs: Sequence[Array]) -> Sequence[Array]:
        if interrupts:
            raise KeyboardInterrupt
        return [f32(1)]

    session.registry.add("g", Answering(answer, [("n",)]))  # type: ignore[attr-defined]
    context = context_on(guest, "g")
    for _ in range(4):
        guest.infer(context, {"x0": f32(1)}, [])
    interrupts = True
    with pytest.raises(wasmtime.WasmtimeError, match="compute-named: interrupted by KeyboardInterrupt"):
        guest.infer(context, {"x0": f32(1)}, [])
    assert isinstance(session.interruption, KeyboardInterrupt)


def test_in_a_fork(session: Session) -> None:
    guest = kept(session)
    context = context_on(guest, "relu")
    for number in range(4):
        guest.infer(context, {"x": f32(number)}, ["y"])
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            try:
                guest.infer(context, {"x": f32(1)}, ["y"])
            except GuestFailed as failed:
                code = 0 if "was made in another process" in failed.data else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Guests with wasi-nn:ext


def word(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


def test_a_compute_ends_a_sequence_that_began_on_a_tensor_in_the_bridge() -> None:
    with Session({"speller": Speller()}) as session:
        guest = warm(Extended(session))
        context = guest.context("speller")
        for _ in range(4):
            sequence = guest.begin(context, {"prompt": word("abc")})
            assert guest.next(sequence) is not None
            for _ in range(4):
                outputs = guest.infer(context, {"prompt": word("xyz")}, [])
                assert (outputs["letter"].tobytes(), outputs["count"].tobytes()) == (b"xyz", b"3")
            with pytest.raises(GuestFailed, match="the sequence was ended by another sequence, a compute"):
                guest.next(sequence)
            guest("drop-sequence", sequence)
            assert guest.pieces(guest.begin(context, {"prompt": word("ab")})) == [b"a", b"b"]


def test_tensors_of_numbers_and_of_strings() -> None:
    with Session({"echo": Echo(), "relu": GRAPHS["relu"]}) as session:
        guest = warm(Extended(session))
        echo, relu = guest.context("echo"), guest.context("relu")
        for number in range(5):
            tensor = guest.tensor(f32(number))
            with pytest.raises(GuestFailed, match=r"has numbers.* not byte strings"):
                guest.strings(tensor)
            assert guest.array(tensor).item() == number
            texts = [b"one", b"%d" % number]
            [(_, output)] = guest.compute_named(echo, [("x", guest.strings_tensor(texts))])
            assert guest.strings(output) == texts
            [(_, output)] = guest.compute_named(relu, [("x", tensor)])
            assert guest.array(output).item() == number
            with pytest.raises(GuestFailed, match="input 'x' must be an array of f32"):
                guest.compute_named(relu, [("x", guest.strings_tensor(texts))])


# Traces


def test_each_compute_is_recorded_and_replayed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    model = onnx_models.relu(["n"])
    with RecordingSession(trace, {"relu": model}, data=True) as session:
        guest = kept(session)
        context = context_on(guest, "relu")
        for number in range(6):
            for size in (2, LARGE):
                x = np.full(size, number, np.float32)
                assert (guest.infer(context, {"x": x}, ["y"])["y"] == x).all()
        with pytest.raises(GuestFailed):
            guest.infer(context, {"nope": f32(1)}, ["y"])
    replayed = replay(trace, {"relu": model, "warm": Answering(lambda inputs: [f32(1)])})
    assert not replayed.differences
    assert trace.read_text().count('"name":"compute_named"') == LOOKS + 12 + 1


# Random guests


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_random_guests_behave_alike_whether_tensors_stay_or_not(seed: int) -> None:
    ways = [outcome(seed, keeps=keeps, direct=direct) for keeps in (True, False) for direct in (True, False)]
    assert ways[0] == ways[1] == ways[2] == ways[3]


def outcome(seed: int, *, keeps: bool, direct: bool) -> list[Any]:
    """What a guest sees that makes random calls."""
    random = Random(seed)
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, Session(GRAPHS) as session:
        if not keeps:
            patch.setattr(Bindings, "take_slots", lambda *_: False)
        guest = kept(session, direct=direct)
        guest("make-tensors", 64)  # by now, the host has looked for the guest's memory
        contexts = [(name, context_on(guest, name)) for name in ("relu", "add_and_mul", "nonzero", "halves", "sum")]
        tensors: list[int] = []
        for _ in range(40):
            act = random.random()
            if act < 0.4:
                tensors.append(guest.tensor(random_array(random)))
            elif act < 0.6 and tensors:
                tensor = random.choice(tensors)
                seen.append((guest("tensor-type", tensor), guest("tensor-dimensions", tensor), guest.data(tensor)))
            elif act < 0.7 and tensors:
                guest("drop-tensor", tensors.pop(random.randrange(len(tensors))))
            else:
                name, context = random.choice(contexts)
                inputs = ["a", "b"] if name == "add_and_mul" else ["x"]
                given = [(each, guest.tensor(random_array(random, name))) for each in inputs]
                if tensors and random.random() < 0.3:
                    guest("drop-tensor", given[0][1])
                    given[0] = given[0][0], tensors.pop(random.randrange(len(tensors)))
                try:
                    outputs = guest.compute_named(context, given)
                except GuestFailed as failed:  # a runtime may tell of the same failure in two ways
                    seen.append(failed.code if failed.code == "runtime-error" else str(failed))
                    continue
                seen.append([(output, guest.data(tensor)) for output, tensor in outputs])
                tensors += [tensor for _, tensor in outputs]
        for tensor in tensors:
            guest("drop-tensor", tensor)
        seen.append(session.used("handles"))
    return seen


def random_array(random: Random, graph: str = "") -> Array:
    sizes = {"add_and_mul": [2, 2, 2, 3], "halves": [4000, 4000, 5]}.get(graph, [1, 2, 2, 2, 900, 1008, 1009, 1009])
    dtype = random.choice([np.float32] * 9 + [np.int32])
    return np.random.default_rng(random.randrange(2**32)).integers(-3, 4, random.choice(sizes)).astype(dtype)
