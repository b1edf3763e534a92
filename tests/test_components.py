"""The component ABI: every function of every version, the mistakes of guests, and large data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_models
import pytest
import wasmtime
from checks import on_threads
from core_guest import F32, CoreGuest
from driven_component import CODES, CPU, ENGINE, GPU, HERE, ONNX, TYPES, Driven, GuestFailed, dtype_of
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn import ErrorCode, Graph, GuestError, NNError, Session, TensorInfo, TensorType
from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component import compose, host_functions
from wasi_nn.abi.component.bridge import VERSIONS

if TYPE_CHECKING:
    from wasi_nn.abi.component.linking import Define
    from wasi_nn.types import Array

JUNE, AUGUST, OCTOBER = VERSIONS
PART = 256 << 10  # bytes: the bridge splits data into parts of this size
FLOAT = np.dtype(np.float32)


@pytest.fixture(params=["raw", "public"])
def define(request: pytest.FixtureRequest) -> Define:
    """Run the test with both ways of defining host functions."""
    assert host_functions.RAW_CALLS, "the engine lacks what raw calls need"
    return host_functions.define_raw if request.param == "raw" else host_functions.define_public


@pytest.fixture
def session() -> Iterator[Session]:
    """A session with some graphs."""
    graphs = {
        "relu": onnx_models.relu(),
        "add_and_mul": onnx_models.add_and_mul(),
        "failing": onnx_models.failing(),
        "any": onnx_models.identity(TensorType.U8, ["n"]),
        "scalar": onnx_models.identity(dims=()),
        "nonzero": onnx_models.nonzero(),
        "bool": onnx_models.cast(TensorProto.FLOAT, TensorProto.BOOL),
    }
    with Session(graphs) as session:
        yield session


@pytest.fixture(params=VERSIONS)
def guest(request: pytest.FixtureRequest, session: Session, define: Define) -> Driven:
    """A guest of each version, with both ways of defining host functions."""
    return Driven(request.param, session, define)


@pytest.fixture
def newest(session: Session) -> Driven:
    """A guest of the newest version."""
    return Driven(OCTOBER, session)


def context_on(guest: Driven, name: str) -> int:
    graph = guest.load_by_name(name)
    context = guest.init_execution_context(graph)
    guest("drop-graph", graph)
    return context


def give(guest: Driven, context: int, tensor: int, name: str = "x") -> None:
    """Set an input to a tensor, by the functions that the guest's version has."""
    if guest.named:
        guest.compute_named(context, [(name, tensor)])
    else:
        guest.set_input(context, name, tensor)


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


class Failing(Graph):
    """A graph whose computes raise a given error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__([TensorInfo("x", FLOAT, (1,))], [TensorInfo("y", FLOAT, (1,))])
        self.error = error

    def runner(self) -> Any:
        def run(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
            raise self.error

        return run


# Inference


def test_infers_by_name_and_leaves_nothing(guest: Driven) -> None:
    context = context_on(guest, "relu")
    assert guest.infer(context, {"x": f32(-1, 2, -3, 4)}, ["y"])["y"].tolist() == [0, 2, 0, 4]
    assert guest.infer(context, {"x": f32(5, -6, 7, -8)}, ["y"])["y"].tolist() == [5, 0, 7, 0]
    guest("drop-context", context)
    assert guest.session.used("handles") == 0


def test_loads_from_bytes(guest: Driven) -> None:
    graph = guest.load([onnx_models.relu()], ONNX, CPU)
    context = guest.init_execution_context(graph)
    guest("drop-graph", graph)
    assert guest.infer(context, {"x": f32(-1, 2, -3, 4)}, ["y"])["y"].tolist() == [0, 2, 0, 4]
    guest("drop-context", context)
    assert guest.session.used("handles") == 0


def test_several_inputs_and_outputs_by_name(guest: Driven) -> None:
    context = context_on(guest, "add_and_mul")
    outputs = guest.infer(context, {"b": f32(3, 4), "a": f32(1, 2)}, ["product", "sum"])
    assert {name: array.tolist() for name, array in outputs.items()} == {"product": [3, 8], "sum": [4, 6]}
    assert list(outputs) == ["product", "sum"]


def test_a_decimal_name_is_an_index(guest: Driven) -> None:
    context = context_on(guest, "add_and_mul")
    outputs = guest.infer(context, {"0": f32(1, 2), "1": f32(3, 4)}, ["1"])
    assert outputs["sum" if guest.named else "1"].tolist() == [4, 6]


@pytest.mark.parametrize("kind", range(len(TYPES)), ids=TYPES)
def test_every_tensor_type_goes_in_and_out(guest: Driven, kind: int) -> None:
    of = next(tensor_type for tensor_type in TensorType if tensor_type.dtype == dtype_of(kind))
    array: Array = np.array([0, 1, 2, 200], np.float64).astype(dtype_of(kind))
    context = guest.init_execution_context(guest.load([onnx_models.identity(of)]))
    output = guest.infer(context, {"x": array}, ["y"])["y"]
    assert (output.dtype, output.tobytes()) == (array.dtype, array.tobytes())


def test_a_tensor_says_what_it_is(guest: Driven) -> None:
    tensor = guest.tensor(np.arange(6, dtype=np.int64).reshape(2, 3))
    assert guest("tensor-dimensions", tensor) == [2, 3]
    assert TYPES[guest("tensor-type", tensor)] == "int64"
    assert guest.array(tensor).tolist() == [[0, 1, 2], [3, 4, 5]]
    guest("drop-tensor", tensor)
    assert guest.session.used("handles") == 0


def test_a_scalar_has_the_dimensions_1(guest: Driven) -> None:
    output = guest.infer(context_on(guest, "scalar"), {"x": f32(3)}, ["y"])["y"]
    assert (output.shape, output.tolist()) == ((1,), [3])


def test_dims_that_depend_on_values(guest: Driven) -> None:
    context = context_on(guest, "nonzero")
    assert guest.infer(context, {"x": f32(1, 0, 2)}, ["y"])["y"].tolist() == [[0, 2]]
    assert guest.infer(context, {"x": f32(0, 0, 0)}, ["y"])["y"].shape == (1, 0)


def test_inputs_stay_set_between_computes(session: Session, define: Define) -> None:
    guest = Driven(AUGUST, session, define)
    context = context_on(guest, "add_and_mul")
    guest.infer(context, {"a": f32(1, 2), "b": f32(3, 4)}, ["sum"])
    assert guest.infer(context, {"b": f32(5, 6)}, ["sum"])["sum"].tolist() == [6, 8]


def test_the_newest_compute_has_no_state(newest: Driven) -> None:
    context = context_on(newest, "add_and_mul")
    newest.infer(context, {"a": f32(1, 2), "b": f32(3, 4)}, [])
    with pytest.raises(GuestFailed) as failed:
        newest.infer(context, {"b": f32(5, 6)}, [])
    assert (failed.value.code, failed.value.data) == ("invalid-argument", "no value is given for the input 'a'")


def test_a_context_outlives_the_guests_graph_and_a_removed_name(newest: Driven) -> None:
    context = context_on(newest, "relu")
    newest.session.registry.remove("relu")  # type: ignore[attr-defined]
    assert newest.infer(context, {"x": f32(-1, 2, -3, 4)}, [])["y"].tolist() == [0, 2, 0, 4]


def test_guests_of_all_versions_share_a_graph(session: Session) -> None:
    for version in VERSIONS:
        guest = Driven(version, session)
        graph = guest.load_by_name("relu")
        assert guest.session.graph(session.used("handles")) is session.registry.get("relu")
        guest.init_execution_context(graph)


# Errors


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_reaches_the_guest(guest: Driven, code: ErrorCode) -> None:
    guest.session.registry.add("fails", Failing(NNError(code, "it is \N{SNOWMAN}")))  # type: ignore[attr-defined]
    context = context_on(guest, "fails")
    with pytest.raises(GuestFailed) as failed:
        guest.infer(context, {"x": f32(1)}, ["y"])
    assert (failed.value.code, failed.value.data) == (code.value, "it is \N{SNOWMAN}")


@pytest.mark.parametrize("code", range(len(CODES)), ids=CODES)
def test_the_guest_makes_an_error(session: Session, define: Define, code: int) -> None:
    guest = Driven(JUNE, session, define)
    error = guest("error", code, "what \N{SNOWMAN}")
    assert (guest("error-code", error), guest("error-data", error)) == (code, "what \N{SNOWMAN}")
    guest("drop-error", error)
    assert session.used("handles") == 0


def test_unknown_graph(guest: Driven) -> None:
    with pytest.raises(GuestFailed, match=r"no graph is named 'nope'; the names here: 'relu'") as failed:
        guest.load_by_name("nope")
    assert failed.value.code == "not-found"
    assert guest.session.used("handles") == 0


def test_garbage_for_a_model(guest: Driven) -> None:
    with pytest.raises(GuestFailed) as failed:
        guest.load([b"not a model"])
    assert failed.value.code == "invalid-encoding"
    assert guest.session.used("handles") == 0


@pytest.mark.parametrize("builders", [0, 3, 1024, 1025, 100_000])
def test_a_number_of_builders_that_makes_no_sense(guest: Driven, builders: int) -> None:
    with pytest.raises(GuestFailed) as failed:
        guest.load([b""] * builders, ONNX)
    assert failed.value.code in ("invalid-argument", "runtime-error")
    assert guest.session.used("handles") == 0


def test_a_target_that_is_not_there(guest: Driven) -> None:
    with pytest.raises(GuestFailed) as failed:
        guest.load([onnx_models.relu()], ONNX, GPU)
    assert failed.value.code == "unsupported-operation"


def test_loading_from_bytes_may_be_forbidden(define: Define) -> None:
    with Session(allow_load=False) as session, pytest.raises(GuestFailed) as failed:
        Driven(OCTOBER, session, define).load([onnx_models.relu()])
    assert failed.value.code == "security"


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("nope", f32(1, 2, 3, 4), r"no input is named 'nope'; the graph's inputs: 'x'"),
        ("x", f32(1, 2), r"input 'x' has dims \[4\], got \[2\]"),
        ("x", f32(1, 2, 3, 4).astype(np.float64), r"input 'x' is f32, got f64"),
        ("x", f32(1, 2, 3, 4).reshape(2, 2), r"input 'x' has dims \[4\], got \[2, 2\]"),
        ("", f32(1, 2, 3, 4), r"no input is named ''"),
    ],
)
def test_an_input_that_does_not_fit(guest: Driven, name: str, array: Array, message: str) -> None:
    context = context_on(guest, "relu")
    with pytest.raises(GuestFailed, match=message) as failed:
        guest.infer(context, {name: array}, ["y"])
    assert failed.value.code == "invalid-argument"
    assert guest.session.used("handles") == 1, "the tensor was given away, although the call failed"


@pytest.mark.parametrize(
    ("dims", "kind", "size"),
    [
        ([4], "float32", 15),
        ([4], "float32", 17),
        ([4], "float32", 0),
        ([5], "uint8", 4),
        ([], "float64", 4),
        ([2**32 - 1, 2**32 - 1], "float32", 16),
        ([2**31, 2], "uint8", 0),
        ([2**32 - 1] * 64, "int64", 8),
        ([0, 2**32 - 1, 2**32 - 1, 2**32 - 1], "float32", 0),
        ([1] * 65, "float32", 4),
        ([1] * 100_000, "uint8", 1),
    ],
)
def test_a_tensor_that_is_none_can_be_made_but_not_used(guest: Driven, dims: list[int], kind: str, size: int) -> None:
    tensor = guest.raw_tensor(dims, TYPES.index(kind), bytes(size))
    assert guest("tensor-dimensions", tensor) == dims
    assert TYPES[guest("tensor-type", tensor)] == kind
    assert guest.data(tensor) == bytes(size)
    context = context_on(guest, "relu")
    with pytest.raises(GuestFailed) as failed:
        give(guest, context, tensor)
    assert failed.value.code == "invalid-argument"
    assert guest.session.used("handles") == 1


def test_a_name_that_nothing_can_have(guest: Driven) -> None:
    name = "\N{SNOWMAN}" * 1_000_000
    with pytest.raises(GuestFailed, match="the name of the graph has 1000000 characters") as failed:
        guest.load_by_name(name)
    assert failed.value.code == "not-found"
    context = context_on(guest, "relu")
    with pytest.raises(GuestFailed, match="the name of the input has 1000000 characters") as failed:
        give(guest, context, guest.tensor(f32(1, 2, 3, 4)), name)
    assert failed.value.code == "invalid-argument"
    assert guest.session.used("handles") == 1


def test_an_input_that_is_given_twice(newest: Driven) -> None:
    tensors = [("x", newest.tensor(f32(1, 2, 3, 4))) for _ in range(2)]
    context = context_on(newest, "relu")
    with pytest.raises(GuestFailed, match="input 'x' is given twice"):
        newest.compute_named(context, tensors)
    with pytest.raises(GuestFailed, match="no value is given for the input 'x'"):
        newest.compute_named(context, [])


def test_compute_and_get_output_before_their_time(session: Session, define: Define) -> None:
    guest = Driven(AUGUST, session, define)
    context = context_on(guest, "relu")
    with pytest.raises(GuestFailed, match="compute needs a value for each input"):
        guest.compute(context)
    with pytest.raises(GuestFailed, match="no compute has succeeded") as failed:
        guest.get_output(context, "y")
    assert failed.value.code == "runtime-error"
    with pytest.raises(GuestFailed, match="no output is named 'nope'"):
        guest.get_output(context, "nope")


def test_the_runtime_fails(guest: Driven) -> None:
    context = context_on(guest, "failing")
    with pytest.raises(GuestFailed, match="the runtime failed") as failed:
        guest.infer(context, {"x": f32(1, 2, 3)}, ["y"])
    assert failed.value.code == "runtime-error"
    assert guest.infer(context, {"x": f32(1, 2, 3, 4)}, ["y"])["y"].tolist() == [[1, 2], [3, 4]]


def test_an_output_that_wasi_nn_has_no_tensors_for(guest: Driven) -> None:
    with pytest.raises(GuestFailed, match="wasi-nn has no tensors of bool") as failed:
        guest.infer(context_on(guest, "bool"), {"x": f32(0, 1, 2, 3)}, ["y"])
    assert failed.value.code == "unsupported-operation"


def test_a_fault_of_the_hosts_own_is_an_error(guest: Driven, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def get(self, name: str) -> Graph:
            raise ZeroDivisionError

    guest.session.registry = Broken()
    with pytest.raises(GuestFailed, match="internal error of the host, ZeroDivisionError") as failed:
        guest.load_by_name("relu")
    assert failed.value.code == "runtime-error"
    assert "load-by-name failed: internal error of the host" in caplog.text


def test_failures_are_logged_but_not_without_end(newest: Driven, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wasi_nn")
    for _ in range(150):
        with pytest.raises(GuestFailed):
            newest.load_by_name("nope")
    assert caplog.messages[0].startswith("load-by-name failed: no graph is named 'nope'")
    assert len(caplog.messages) == 101
    assert caplog.messages[-1] == "this guest's further failures are not logged"


# Mistakes that can only be answered by a trap. The guest can't be used afterwards, but the host can.


def trapped(guest: Driven, name: str, *arguments: Any) -> str:
    with pytest.raises(wasmtime.WasmtimeError) as trap:
        guest(name, *arguments)
    again = Driven(guest.version, guest.session)
    assert again.infer(context_on(again, "relu"), {"x": f32(-1, 2, -3, 4)}, ["y"])["y"].tolist() == [0, 2, 0, 4]
    return " ".join(str(trap.value).split())


@pytest.mark.parametrize("name", ["tensor-dimensions", "tensor-type", "tensor-data", "error-code", "error-data"])
def test_a_handle_that_was_never_given_out(guest: Driven, name: str) -> None:
    assert "unknown handle index 7777" in trapped(guest, name, 7777)


@pytest.mark.parametrize("name", ["init-execution-context", "drop-tensor", "drop-graph", "drop-context", "drop-error"])
def test_a_handle_that_can_not_be_given_back(guest: Driven, name: str) -> None:
    assert "unknown handle index 7777" in trapped(guest, name, 7777)


def test_a_handle_of_the_wrong_kind(guest: Driven) -> None:
    assert "handle index" in trapped(guest, "init-execution-context", guest.tensor(f32(1)))


@pytest.mark.parametrize("kind", ["tensor", "graph", "context"])
def test_a_resource_that_was_dropped(guest: Driven, kind: str) -> None:
    made = {"tensor": guest.tensor(f32(1)), "graph": guest.load_by_name("relu"), "context": context_on(guest, "relu")}
    use = {"tensor": "tensor-type", "graph": "init-execution-context", "context": "drop-context"}
    guest(f"drop-{kind}", made[kind])
    assert "handle index" in trapped(guest, use[kind], made[kind])


def test_a_tensor_that_was_given_away(guest: Driven) -> None:
    tensor, context = guest.tensor(f32(1)), context_on(guest, "relu")
    with pytest.raises(GuestFailed):
        give(guest, context, tensor)
    assert "handle index" in trapped(guest, "tensor-type", tensor)


def test_a_tensor_that_is_given_twice(newest: Driven) -> None:
    tensor = newest.tensor(f32(1, 2, 3, 4))
    assert "handle index" in trapped(newest, "compute", context_on(newest, "relu"), ["x", "x"], [tensor, tensor])


@pytest.mark.parametrize("number", [7, 255, 2**32 - 1])
def test_a_tensor_type_out_of_range(guest: Driven, number: int) -> None:
    guest.stage(b"")
    assert "discriminant" in trapped(guest, "tensor", [0], number)


@pytest.mark.parametrize(("encoding", "target"), [(7, 0), (1, 3), (2**32 - 1, 0), (1, 2**31)])
def test_an_encoding_or_target_out_of_range(guest: Driven, encoding: int, target: int) -> None:
    guest.stage(b"")
    assert "discriminant" in trapped(guest, "load", [0], encoding, target)


def test_no_handles_left(guest: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_nn.session.handles._LAST_HANDLE", 0)
    guest.stage(b"")
    with pytest.raises(wasmtime.WasmtimeError, match="no handles are left in this session"):
        guest("tensor", [0], 0)


def test_an_interruption_stops_the_guest_and_is_kept(newest: Driven) -> None:
    class Interrupted:
        def get(self, name: str) -> Graph:
            raise KeyboardInterrupt

    newest.session.registry = Interrupted()
    with pytest.raises(wasmtime.WasmtimeError, match="interrupted by KeyboardInterrupt"):
        newest("load-by-name", "relu")
    assert isinstance(newest.session.interruption, KeyboardInterrupt)


def test_nothing_is_kept_for_the_next_guest_to_raise(
    session: Session, define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wasmtime.component import _enter

    guest = Driven(OCTOBER, session, define)
    monkeypatch.setattr("wasi_nn.session.handles._LAST_HANDLE", 0)
    guest.stage(b"")
    with pytest.raises(wasmtime.WasmtimeError):
        guest("tensor", [0], 0)
    assert _enter.LAST_EXCEPTION is None


# Large data


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, PART - 1, PART, PART + 1, 3 * PART, 4_915_200, 20_000_001])
def test_data_of_any_size(guest: Driven, size: int) -> None:
    content: Array = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    output = guest.infer(context_on(guest, "any"), {"x": content}, ["y"])["y"]
    assert output.tobytes() == content.tobytes()


@pytest.mark.parametrize("rank", [PART // 4 - 1, PART // 4, PART // 4 + 1, PART])
def test_dimensions_of_any_number(newest: Driven, rank: int) -> None:
    dims = np.random.default_rng(rank).integers(0, 2**32, rank).tolist()
    tensor = newest.raw_tensor(dims, TYPES.index("uint8"), b"12345")
    assert newest("tensor-dimensions", tensor) == dims
    assert newest.data(tensor) == b"12345"


def test_a_model_of_40_megabytes_by_bytes(guest: Driven) -> None:
    weights = np.random.default_rng(1).standard_normal((1000, 10_000), np.float32)
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = onnx_models.build([node], {"x": (1, [1, 1000])}, {"y": (1, [1, 10_000])}, [tensor])
    assert len(model) > 40_000_000
    context = guest.init_execution_context(guest.load([model]))
    x = np.zeros((1, 1000), np.float32)
    x[0, 7] = 1
    assert (guest.infer(context, {"x": x}, ["y"])["y"] == weights[7]).all()


def test_many_calls_do_not_pile_up(newest: Driven) -> None:
    context = context_on(newest, "any")
    newest.stage(bytes(1 << 20))
    for _ in range(3):
        assert newest("infer", context, "x", [1 << 20], TYPES.index("uint8"), 100) == 0
        assert newest.session.used("handles") == 1


# Threads, and both ABIs


def test_two_components_and_a_core_guest_share_a_graph_from_three_threads() -> None:
    registry = wasi_nn.Registry({"any": onnx_models.relu(["n"])})

    def run_component(version: str) -> None:
        with Session(registry) as session:
            guest = Driven(version, session)
            context = context_on(guest, "any")
            for number in range(100):
                values = f32(-1, number, 3)
                assert guest.infer(context, {"x": values}, ["y"])["y"].tolist() == [0, number, 3]

    def run_core() -> None:
        guest = CoreGuest(Session(registry))
        context = guest.context("any")
        for number in range(100):
            guest.set_input(context, 0, [3], F32, f32(-1, number, 3).tobytes())
            assert guest.call("compute", context) == 0
            assert guest.get_output(context) == f32(0, number, 3).tobytes()

    works: list[Callable[[], None]] = [partial(run_component, JUNE), partial(run_component, OCTOBER), run_core]
    on_threads(lambda number: works[number](), len(works))


# Calls between the engine and the host


def test_what_a_host_function_raises_traps(define: Define) -> None:
    from wasmtime.component import Component, Linker

    text = """(component
      (import "host" (instance $host (export "f" (func (param "n" u32) (result u32)))))
      (alias export $host "f" (func $f)) (core func $lowered (canon lower (func $f)))
      (core module $m (import "" "f" (func $f (param i32) (result i32)))
        (func (export "f") (param i32) (result i32) (call $f (local.get 0))))
      (core instance $i (instantiate $m (with "" (instance (export "f" (func $lowered))))))
      (func (export "f") (param "n" u32) (result u32) (canon lift (core func $i "f"))))"""

    def call(number: int) -> int:
        if number == 1:
            raise GuestFault("on purpose\0 \ud800")
        return number

    linker = Linker(ENGINE)
    with linker.root() as root, root.add_instance("host") as instance:
        define(instance, "f", ("u32",), "u32", call)
    store = wasmtime.Store(ENGINE)
    function = linker.instantiate(store, Component(ENGINE, text)).get_func(store, "f")
    assert function is not None
    for number in (0, 2**31, 2**32 - 1):
        assert function(store, number) == number
    with pytest.raises(wasmtime.WasmtimeError, match="on purpose"):
        function(store, 1)


def test_functions_stay_while_the_engine_may_call_them_and_no_longer() -> None:
    import gc

    from wasi_nn.abi import wasmtime_c_api as engine

    gc.collect()
    before = len(engine.kept)
    with Session() as session:
        guest = Driven(OCTOBER, session)
        gc.collect()
        assert guest.raw_tensor([1], 4, b"1") > 0
        del guest
    gc.collect()
    assert len(engine.kept) <= before  # functions of an earlier test may go meanwhile


def test_the_engines_own_linker_and_store() -> None:
    from wasmtime.component import Component, Linker

    wasm = (HERE / "driver-2024-10-28.wasm").read_bytes()
    component = Component(ENGINE, wasi_nn.wrap_component(wasm))
    with Session({"relu": onnx_models.relu()}) as session:
        linker = Linker(ENGINE)
        wasi_nn.add_to_component_linker(linker, session)
        store = wasmtime.Store(ENGINE)
        load = linker.instantiate(store, component).get_func(store, "load-by-name")
        assert load is not None
        assert load(store, "relu") >> 32 == 0
    assert session.used("handles") == 0


def test_a_guest_is_refused_what_wasi_nn_does_not_have() -> None:
    for name in ("wasi:nn/tensor@0.2.0", "wasi:nn/prompt@0.2.0-rc-2024-10-28", "wasi:nn/graph"):
        wasm = bytes(wasmtime.wat2wasm(f'(component (import "{name}" (instance)))'))
        with pytest.raises(GuestError, match=f"g.wasm is a component that can't be used: it imports {name}, and"):
            compose.wrap_component(wasm, "g.wasm")
