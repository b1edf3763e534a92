"""The core ABI, byte for byte: a guest's calls, their results, and the errno of each mistake."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from struct import pack, unpack

import numpy as np
import onnx_models as models
import onnxruntime
import pytest
import wasmtime
from core_guest import (
    AUTODETECT,
    BUILDERS,
    DATA,
    DIMS,
    F16,
    F32,
    F64,
    I32,
    I64,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    MISSING_MEMORY,
    NAME,
    NOT_FOUND,
    ONNX,
    OUT,
    RUNTIME_ERROR,
    SUCCESS,
    TENSOR,
    TOO_LARGE,
    TRAP,
    U8,
    UNSUPPORTED_OPERATION,
    CoreGuest,
    wat,
)

import wasi_nn
from wasi_nn import NamedGraph, NNError, Session, TensorType
from wasi_nn.abi.core.spec import CoreAbi

pytestmark = pytest.mark.usefixtures("either_call")

MEMORY_SIZE = 16 * 65536
GRAPHS = {
    "relu": models.relu(),
    "two": models.add_and_mul(),
    "dynamic": models.relu(["batch", 2]),
    "scalar": models.identity(dims=()),
    "failing": models.failing(),
    "nonzero": models.nonzero(),
    "int8": models.cast(3, 3),
    "to int8": models.cast(1, 3),
    **{kind.value: models.identity(kind) for kind in TensorType},
}
REGISTRY = wasi_nn.Registry(GRAPHS)
FLOATS = pack("<4f", 1, -2, 3, -4)


@pytest.fixture
def guest(either_call: str) -> Iterator[CoreGuest]:
    """A guest that may load the graphs above by name."""
    with wasi_nn.Session(REGISTRY) as session:
        yield CoreGuest(session)


# Calls that succeed


def test_errno_is_the_result_and_the_out_pointer_has_the_payload_alone(guest: CoreGuest) -> None:
    guest.write(0, b"\xee" * 32)
    assert guest.load_by_name("relu") == SUCCESS
    assert guest.read(0, 8) == b"\xee" * 8
    assert guest.u32() in range(1, 10)
    assert guest.read(OUT + 4, 8) == b"\xee" * 8


def test_an_inference_equals_the_runtime_called_directly(guest: CoreGuest) -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    model = models.convolution(32)
    direct = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]
    assert guest.load(model) == SUCCESS
    assert guest.call("init_execution_context", guest.u32(), OUT) == SUCCESS
    context = guest.u32()
    assert guest.set_input(context, 0, image.shape, F32, image.tobytes()) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.get_output(context) == direct.tobytes()


@pytest.mark.parametrize("kind", [F16, F32, F64, U8, I32, I64])
def test_every_tensor_type_goes_in_and_out(guest: CoreGuest, kind: int) -> None:
    name = ("f16", "f32", "f64", "u8", "i32", "i64")[kind]
    data = np.array([0, 1, 2, 100], TensorType(name).dtype).tobytes()
    context = guest.context(name)
    assert guest.set_input(context, 0, [4], kind, data) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.get_output(context) == data


def test_a_model_may_lie_at_any_address_and_be_autodetected(guest: CoreGuest) -> None:
    assert guest.load(models.relu(), encoding=AUTODETECT) == SUCCESS
    model = models.relu()
    guest.write(DATA + 3, model)
    guest.write(BUILDERS + 1, pack("<II", DATA + 3, len(model)))
    assert guest.call("load", BUILDERS + 1, 1, 6, 0, OUT + 1) == SUCCESS


def test_the_model_may_change_after_load(guest: CoreGuest) -> None:
    model = models.relu()
    assert guest.load(model) == SUCCESS
    graph = guest.u32()
    guest.write(DATA, b"\0" * len(model))
    assert guest.call("init_execution_context", graph, OUT) == SUCCESS
    context = guest.u32()
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS


def test_the_tensor_may_change_after_set_input(guest: CoreGuest) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    guest.write(DATA, b"\0" * 16)
    guest.memory.grow(guest.store, 100)
    assert guest.call("compute", context) == SUCCESS
    assert unpack("<4f", guest.get_output(context)) == (1, 0, 3, 0)


def test_unaligned_tensors_are_read(guest: CoreGuest) -> None:
    context = guest.context("relu")
    guest.write(DATA + 1, FLOATS)
    guest.write(DIMS + 1, pack("<I", 4))
    guest.write(TENSOR + 3, pack("<IIB3sII", DIMS + 1, 1, F32, b"", DATA + 1, 16))
    assert guest.call("set_input", context, 0, TENSOR + 3) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert unpack("<4f", guest.get_output(context)) == (1, 0, 3, 0)


def test_several_inputs_and_outputs_in_the_models_order(guest: CoreGuest) -> None:
    context = guest.context("two")
    assert guest.set_input(context, 0, [2], F32, pack("<2f", 3, 5)) == SUCCESS
    assert guest.set_input(context, 1, [2], F32, pack("<2f", 4, 10)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert unpack("<2f", guest.get_output(context, 0)) == (12, 50)
    assert unpack("<2f", guest.get_output(context, 1)) == (7, 15)


def test_inputs_stay_set_between_computes(guest: CoreGuest) -> None:
    context = guest.context("two")
    assert guest.set_input(context, 0, [1], F32, pack("<f", 3)) == SUCCESS
    for other in (1, 2, 3):
        assert guest.set_input(context, 1, [1], F32, pack("<f", other)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert unpack("<f", guest.get_output(context, 1)) == (3 + other,)


def test_dynamic_dims_may_change_from_compute_to_compute(guest: CoreGuest) -> None:
    context = guest.context("dynamic")
    for batch in (1, 3, 0, 2):
        data = np.arange(2 * batch, dtype=np.float32).tobytes()
        assert guest.set_input(context, 0, [batch, 2], F32, data) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert guest.get_output(context) == data


@pytest.mark.parametrize("dims", [[1], []])
def test_a_scalar_has_the_dims_1_or_none(guest: CoreGuest, dims: list[int]) -> None:
    context = guest.context("scalar")
    assert guest.set_input(context, 0, dims, F32, pack("<f", 7)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert unpack("<f", guest.get_output(context)) == (7,)


def test_contexts_on_one_graph_are_independent(guest: CoreGuest) -> None:
    one, other = guest.context("relu"), guest.context("relu")
    assert one != other
    assert guest.set_input(one, 0, [4], F32, pack("<4f", 1, 1, 1, 1)) == SUCCESS
    assert guest.set_input(other, 0, [4], F32, pack("<4f", 2, 2, 2, 2)) == SUCCESS
    assert guest.call("compute", one) == guest.call("compute", other) == SUCCESS
    assert unpack("<4f", guest.get_output(one)) == (1, 1, 1, 1)
    assert unpack("<4f", guest.get_output(other)) == (2, 2, 2, 2)


def test_the_size_of_an_output_can_be_asked_for(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("get_output", context, 0, 0, 0, OUT) == TOO_LARGE
    assert guest.u32() == 16
    assert not caplog.records, "to ask for the size is no failure"


def test_a_buffer_too_small_stays_as_it_was(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    guest.write(DATA, b"\xee" * 32)
    assert guest.call("get_output", context, 0, DATA, 15, OUT) == TOO_LARGE
    assert guest.u32() == 16
    assert guest.read(DATA, 32) == b"\xee" * 32
    assert "16 bytes, the guest's buffer only 15" in caplog.text


def test_a_larger_buffer_is_written_no_further_than_needed(guest: CoreGuest) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    guest.write(DATA, b"\xee" * 32)
    assert guest.call("get_output", context, 0, DATA, 32, OUT) == SUCCESS
    assert guest.u32() == 16
    assert guest.read(DATA + 16, 16) == b"\xee" * 16


# Old guests


@pytest.mark.parametrize(("kind", "name", "data"), [(2, "u8", b"\1\2\3\4"), (3, "i32", pack("<4i", 1, -2, 3, -4))])
def test_tensor_types_of_before_2023_are_told_by_their_length(
    guest: CoreGuest, caplog: pytest.LogCaptureFixture, kind: int, name: str, data: bytes
) -> None:
    context = guest.context(name)
    for _ in range(3):
        assert guest.set_input(context, 0, [4], kind, data) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.get_output(context) == data
    assert len(caplog.records) == 1, "one warning"
    assert "before August 2023" in caplog.text


# Calls that fail


@pytest.mark.parametrize("encoding", [7, 14, 255, 256, 2**32 - 1])
def test_an_encoding_that_does_not_exist(guest: CoreGuest, encoding: int, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load(models.relu(), encoding=encoding) == INVALID_ENCODING
    assert f"no graph encoding has the number {encoding}; there are 0 (openvino), 1 (onnx), " in caplog.text


@pytest.mark.parametrize("encoding", [2, 3])
def test_an_encoding_whose_bytes_are_refused(guest: CoreGuest, encoding: int, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load(models.relu(), encoding=encoding) == UNSUPPORTED_OPERATION
    assert "by name only" in caplog.text


@pytest.mark.parametrize("target", [3, 255, 256, 2**32 - 1])
def test_a_target_that_does_not_exist(guest: CoreGuest, target: int, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load(models.relu(), target=target) == INVALID_ARGUMENT
    assert f"no execution target has the number {target}; there are 0 (cpu), 1 (gpu), 2 (tpu)" in caplog.text


@pytest.mark.parametrize("target", [1, 2])
def test_a_target_that_is_not_there_is_refused(guest: CoreGuest, target: int, caplog: pytest.LogCaptureFixture) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a GPU here")
    assert guest.load(models.relu(), target=target) == UNSUPPORTED_OPERATION
    assert "no execution provider" in caplog.text


def test_a_target_that_is_not_there_may_fall_back(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(rules=wasi_nn.LoadRules(target_fallback="cpu")) as session:
        guest = CoreGuest(session)
        assert guest.load(models.relu(), target=2) == SUCCESS
        assert session.graph(guest.u32()).device == "cpu"
    assert "cpu is used instead" in caplog.text


@pytest.mark.parametrize("model", [b"", b"\0", b"no model", b"\x08\x08" + b"\xff" * 100, models.relu()[:-20]])
def test_bytes_that_are_no_model(guest: CoreGuest, model: bytes) -> None:
    assert guest.load(model) == RUNTIME_ERROR
    assert guest.load(models.relu()) == SUCCESS


def test_builders_too_few_or_too_many(guest: CoreGuest) -> None:
    assert guest.load() == INVALID_ARGUMENT
    assert guest.call("load", 4, 0, ONNX, 0, OUT) == INVALID_ARGUMENT, "a dangling pointer to none"
    assert guest.load(models.relu(), models.relu()) == INVALID_ARGUMENT
    assert guest.call("load", 0, 4096, ONNX, 0, OUT) == INVALID_ARGUMENT


def test_loading_bytes_may_be_forbidden(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY, allow_load=False) as session:
        guest = CoreGuest(session)
        assert guest.load(models.relu()) == UNSUPPORTED_OPERATION
        assert guest.load_by_name("relu") == SUCCESS
    assert "by name only" in caplog.text


@pytest.mark.parametrize("name", ["", "Relu", "relu\0", "relu ", "../relu", "/etc/passwd", "n" * 65536, "n" * 70000])
def test_a_name_that_no_graph_has(guest: CoreGuest, name: str) -> None:
    assert guest.load_by_name(name) == NOT_FOUND


def test_a_name_that_is_not_utf8(guest: CoreGuest) -> None:
    assert guest.load_by_name(b"relu\xff") == INVALID_ARGUMENT


@pytest.mark.parametrize("handle", [0, 999, 2**31, 2**32 - 1])
def test_a_handle_that_was_never_given_out(guest: CoreGuest, handle: int) -> None:
    guest.put_tensor([4], F32, FLOATS)
    assert guest.call("init_execution_context", handle, OUT) == INVALID_ARGUMENT
    assert guest.call("set_input", handle, 0, TENSOR) == INVALID_ARGUMENT
    assert guest.call("compute", handle) == INVALID_ARGUMENT
    assert guest.call("get_output", handle, 0, DATA, 16, OUT) == INVALID_ARGUMENT


def test_a_handle_of_the_wrong_kind(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load_by_name("relu") == SUCCESS
    graph = guest.u32()
    assert guest.call("init_execution_context", graph, OUT) == SUCCESS
    context = guest.u32()
    assert guest.call("compute", graph) == INVALID_ARGUMENT
    assert guest.call("init_execution_context", context, OUT) == INVALID_ARGUMENT
    assert f"handle {graph} isn't an execution context: it is a graph" in caplog.text


@pytest.mark.parametrize("index", [1, 2**31, 2**32 - 1])
def test_an_index_that_does_not_exist(guest: CoreGuest, index: int) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, index, [4], F32, FLOATS) == INVALID_ARGUMENT
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("get_output", context, index, DATA, 16, OUT) == INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("dims", "kind", "size"),
    [
        ([5], F32, 20),
        ([2, 2], F32, 16),
        ([1, 4], F32, 16),
        ([], F32, 16),
        ([0], F32, 0),
        ([4], F32, 15),
        ([4], F32, 17),
        ([4], F32, 0),
        ([4], F64, 32),
        ([4], I32, 16),
        ([4], U8, 4),
        ([4], F16, 8),
        ([4], 6, 16),
        ([4], 255, 16),
        ([2**32 - 1], F32, 16),
        ([2**32 - 1] * 64, F32, 16),
        ([1] * 65, F32, 4),
        ([0, 2**32 - 1], F32, 0),
    ],
)
def test_a_tensor_that_does_not_fit_changes_nothing(guest: CoreGuest, dims: list[int], kind: int, size: int) -> None:
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.set_input(context, 0, dims, kind, b"\x40" * size) == INVALID_ARGUMENT
    assert guest.call("compute", context) == SUCCESS
    assert unpack("<4f", guest.get_output(context)) == (1, 0, 3, 0)


def test_a_model_of_a_type_that_wasi_nn_lacks(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.set_input(guest.context("int8"), 0, [4], U8, b"\1\2\3\4") == UNSUPPORTED_OPERATION
    assert "input 'x' is int8" in caplog.text
    context = guest.context("to int8")
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("get_output", context, 0, DATA, 100, OUT) == UNSUPPORTED_OPERATION
    assert "output 'y' is int8" in caplog.text


def test_compute_before_every_input_is_set(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("two")
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert guest.set_input(context, 1, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert "call set_input for 'a'" in caplog.text


def test_get_output_before_compute_gives_nothing(guest: CoreGuest) -> None:
    context = guest.context("relu")
    assert guest.call("get_output", context, 0, DATA, 16, OUT) == RUNTIME_ERROR
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("get_output", context, 0, DATA, 16, OUT) == RUNTIME_ERROR


def test_a_failed_compute_leaves_no_output_and_the_next_may_succeed(guest: CoreGuest) -> None:
    context = guest.context("failing")
    for count, errno in ((4, SUCCESS), (3, RUNTIME_ERROR), (4, SUCCESS)):
        assert guest.set_input(context, 0, [count], F32, FLOATS[: 4 * count]) == SUCCESS
        assert guest.call("compute", context) == errno
        expected = SUCCESS if errno == SUCCESS else RUNTIME_ERROR
        assert guest.call("get_output", context, 0, DATA, 16, OUT) == expected


def test_outputs_whose_size_depends_on_values(guest: CoreGuest) -> None:
    context = guest.context("nonzero")
    for values in ((0, 1, 2), (0, 0, 0), (1, 1, 1)):
        assert guest.set_input(context, 0, [3], F32, pack("<3f", *values)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        indexes = np.frombuffer(guest.get_output(context), np.int64)
        assert indexes.tolist() == np.flatnonzero(values).tolist()


def test_no_errno_above_8_is_ever_returned() -> None:
    assert set(wasi_nn.ErrorCode) == set(wasi_nn.abi.core.spec.ERRNO)
    assert max(wasi_nn.abi.core.spec.ERRNO.values()) == NOT_FOUND


# Pointers


OUTSIDE = [MEMORY_SIZE - 3, MEMORY_SIZE, 2**31, 2**32 - 4, 2**32 - 1]


@pytest.mark.parametrize("pointer", OUTSIDE)
def test_out_pointers_outside_trap_before_anything_happens(guest: CoreGuest, pointer: int) -> None:
    model = models.relu()
    guest.write(DATA, model)
    guest.write(BUILDERS, pack("<II", DATA, len(model)))
    guest.write(NAME, b"relu")
    with pytest.raises(TRAP, match=r"load: the out-pointer \["):
        guest.call("load", BUILDERS, 1, ONNX, 0, pointer)
    with pytest.raises(TRAP, match="load_by_name: the out-pointer"):
        guest.call("load_by_name", NAME, 4, pointer)
    assert guest.session.used("handles") == 0
    context = guest.context("relu")
    handles = guest.session.used("handles")
    with pytest.raises(TRAP, match="init_execution_context: the out-pointer"):
        guest.call("init_execution_context", 1, pointer)
    assert guest.session.used("handles") == handles
    assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    guest.write(DATA, b"\xee" * 16)
    with pytest.raises(TRAP, match="get_output: the out-pointer"):
        guest.call("get_output", context, 0, DATA, 16, pointer)
    assert guest.read(DATA, 16) == b"\xee" * 16


@pytest.mark.parametrize("pointer", OUTSIDE)
def test_pointers_to_what_is_read_trap_outside(guest: CoreGuest, pointer: int) -> None:
    context = guest.context("relu")
    with pytest.raises(TRAP, match="load: the builder array"):
        guest.call("load", pointer, 1, ONNX, 0, OUT)
    guest.write(BUILDERS, pack("<II", pointer, 16))
    with pytest.raises(TRAP, match="load: builder 0"):
        guest.call("load", BUILDERS, 1, ONNX, 0, OUT)
    with pytest.raises(TRAP, match="load_by_name: the name"):
        guest.call("load_by_name", pointer, 16, OUT)
    with pytest.raises(TRAP, match="set_input: the tensor "):
        guest.call("set_input", context, 0, pointer)
    guest.write(TENSOR, pack("<IIB3sII", pointer, 1, F32, b"", DATA, 16))
    with pytest.raises(TRAP, match="set_input: the tensor's dimensions"):
        guest.call("set_input", context, 0, TENSOR)
    guest.write(DIMS, pack("<I", 4))
    guest.write(TENSOR, pack("<IIB3sII", DIMS, 1, F32, b"", pointer, 16))
    with pytest.raises(TRAP, match="set_input: the tensor's data"):
        guest.call("set_input", context, 0, TENSOR)
    with pytest.raises(TRAP, match=f"get_output: the output buffer .*memory of {MEMORY_SIZE} bytes"):
        guest.call("get_output", context, 0, pointer, 16, OUT)


@pytest.mark.parametrize("count", [2**29, 2**32 - 1])
def test_lengths_that_would_overflow_trap(guest: CoreGuest, count: int) -> None:
    context = guest.context("relu")
    with pytest.raises(TRAP):
        guest.call("load", 0, count, ONNX, 0, OUT)
    with pytest.raises(TRAP):
        guest.call("load_by_name", 1, count, OUT)
    with pytest.raises(TRAP):
        guest.call("get_output", context, 0, 1, count, OUT)
    guest.write(TENSOR, pack("<IIB3sII", 0, count, F32, b"", DATA, 16))
    with pytest.raises(TRAP):
        guest.call("set_input", context, 0, TENSOR)


def test_the_instance_can_be_used_after_a_trap(guest: CoreGuest) -> None:
    with pytest.raises(TRAP):
        guest.call("load_by_name", 2**32 - 1, 16, OUT)
    assert guest.load_by_name("relu") == SUCCESS


def test_memory_may_grow_between_calls(guest: CoreGuest) -> None:
    with pytest.raises(TRAP):
        guest.call("load_by_name", NAME, 4, MEMORY_SIZE)
    guest.memory.grow(guest.store, 1)
    guest.write(NAME, b"relu")
    assert guest.call("load_by_name", NAME, 4, MEMORY_SIZE) == SUCCESS


@pytest.mark.parametrize("are_one", [True, False])
def test_memory_may_move_when_it_grows(are_one: bool) -> None:
    config = wasmtime.Config()
    config.memory_may_move = True
    config.memory_reservation = config.memory_reservation_for_growth = config.memory_guard_size = 0
    store = wasmtime.Store(wasmtime.Engine(config))
    with wasi_nn.Session(REGISTRY) as session:
        linker = wasmtime.Linker(store.engine)
        abi = CoreAbi(session)
        abi.add_to_linker(linker)
        guest = CoreGuest(session, store=store, linker=linker)
        abi.callers.are_one = are_one
        context = guest.context("relu")
        places = set()
        for pages in range(1, 20):
            places.add(ctypes.addressof(guest.memory.data_ptr(store).contents))
            last_page = guest.memory.data_len(store) - 65536
            guest.put_tensor([4], F32, pack("<4f", pages, -1, 2, -2), at=last_page)
            assert guest.call("set_input", context, 0, TENSOR) == SUCCESS
            guest.memory.grow(store, pages)
            assert guest.call("compute", context) == SUCCESS
            end = guest.memory.data_len(store)
            assert guest.call("get_output", context, 0, end - 16, 16, OUT) == SUCCESS
            assert unpack("<4f", guest.read(end - 16, 16)) == (pages, 0, 2, 0)
            with pytest.raises(TRAP):
                guest.call("get_output", context, 0, end - 15, 16, OUT)
        assert len(places) > 1, "this engine's memories stay where they are"


def test_each_instance_that_shares_the_functions_has_its_own_memory() -> None:
    with wasi_nn.Session(REGISTRY) as session:
        store = wasmtime.Store()
        linker = wasmtime.Linker(store.engine)
        wasi_nn.add_to_linker(linker, session)
        one, other = (CoreGuest(session, store=store, linker=linker) for _ in range(2))
        contexts = [guest.context("relu") for guest in (one, other)]
        for number in range(1, 4):
            for guest, context, value in ((one, contexts[0], number), (other, contexts[1], 10 * number)):
                assert guest.set_input(context, 0, [4], F32, pack("<4f", value, -1, 2, -2)) == SUCCESS
            for guest, context, value in ((one, contexts[0], number), (other, contexts[1], 10 * number)):
                assert guest.call("compute", context) == SUCCESS
                assert unpack("<4f", guest.get_output(context)) == (value, 0, 2, 0)


@pytest.mark.parametrize("memory", ["", "(memory 1)", '(memory (export "mem") 1)', '(func (export "memory"))'])
def test_a_module_without_memory_is_told(memory: str, caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY) as session:
        assert CoreGuest(session, wat(memory)).call("compute", 1) == MISSING_MEMORY
    assert "no memory named 'memory'" in caplog.text


def test_shared_memory_is_refused() -> None:
    config = wasmtime.Config()
    config.shared_memory = True
    with wasi_nn.Session(REGISTRY) as session:
        guest = CoreGuest(
            session, wat('(memory (export "memory") 1 1 shared)'), wasmtime.Store(wasmtime.Engine(config))
        )
        assert guest.call("compute", 1) == MISSING_MEMORY


def test_a_64_bit_memory_and_several_memories_are_served() -> None:
    for memory in ('(memory (export "memory") i64 16)', '(memory 1) (memory (export "memory") 16)'):
        with wasi_nn.Session(REGISTRY) as session:
            guest = CoreGuest(session, wat(memory))
            context = guest.context("relu")
            assert guest.set_input(context, 0, [4], F32, FLOATS) == SUCCESS
            assert guest.call("compute", context) == SUCCESS
            assert unpack("<4f", guest.get_output(context)) == (1, 0, 3, 0)


def test_nn_functions_may_be_called_while_the_module_is_instantiated() -> None:
    start = """(data (i32.const 1024) "relu")
        (func $start (drop (call $load_by_name (i32.const 1024) (i32.const 4) (i32.const 8)))) (start $start)"""
    with wasi_nn.Session(REGISTRY) as session:
        assert CoreGuest(session, wat(rest=start)).u32() == 1


# The log


def test_every_failure_is_explained_in_the_log(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    assert guest.load_by_name("mobilenet") == NOT_FOUND
    assert caplog.records[0].name == "wasi_nn"
    assert caplog.records[0].levelno == logging.WARNING
    assert "load_by_name failed: no graph is named 'mobilenet'" in caplog.text
    assert "[not-found, errno 8]" in caplog.text


def test_a_graph_that_isnt_loaded_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    long = "long" * 1000
    graphs: dict[str, bytes | NamedGraph] = {
        "text": b"no model",
        "changed": NamedGraph(models.relu(), sha256="0" * 64),
        "plain": models.relu(),
        long: b"no model",
    }
    guest = CoreGuest(Session(graphs))
    for name in ("text", "changed", long):
        assert guest.load_by_name(name) != SUCCESS
    with pytest.raises(NNError, match=r"^graph 'plain': graphs of onnx take no config"):
        guest.session.load_by_name("plain", b"{}")
    text, changed, cut = caplog.messages
    assert text.startswith("load_by_name failed: graph 'text': the model isn't in a format known here")
    assert changed.startswith("load_by_name failed: graph 'changed' has sha256 ")
    assert cut.startswith(f"load_by_name failed: graph '{long[:80]}...': the model isn't in a format known here")
    assert [message.count("graph ") for message in caplog.messages] == [1, 1, 1]


def test_a_guest_cannot_flood_the_log(guest: CoreGuest, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1000):
        assert guest.call("compute", 0) == INVALID_ARGUMENT
    assert len(caplog.records) == 101
    assert "not logged" in caplog.records[-1].message


# The end of a session


def test_everything_ends_with_the_session(guest: CoreGuest) -> None:
    context = guest.context("relu")
    guest.session.close()
    assert guest.session.used("handles") == 0
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert guest.context("relu") > context, "handles are not used again"


def test_a_fault_of_the_hosts_own_is_an_errno_and_logged(
    guest: CoreGuest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(guest.session, "load_by_name", fail)
    assert guest.load_by_name("relu") == RUNTIME_ERROR
    assert "ZeroDivisionError: a bug" in caplog.text
    monkeypatch.undo()
    assert guest.load_by_name("relu") == SUCCESS


def test_an_interruption_traps_and_is_kept(guest: CoreGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(guest.session, "load_by_name", interrupt)
    with pytest.raises(TRAP, match="interrupted by KeyboardInterrupt"):
        guest.load_by_name("relu")
    assert isinstance(guest.session.interruption, KeyboardInterrupt)
