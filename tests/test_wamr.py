"""WAMR's first dialect of the core ABI: the module `wasi_nn`, with tensors that have no length and sizes in f32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import pack, unpack

import onnx_models as models
import pytest
import tflite_models
from core_guest import (
    BUILDERS,
    DATA,
    DIMS,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    OUT,
    RUNTIME_ERROR,
    SUCCESS,
    TENSOR,
    TOO_LARGE,
    TRAP,
    CoreGuest,
)

import wasi_nn

F32, U8, I32 = 1, 2, 3
ONNX, TFLITE, GGML, AUTODETECT = 1, 4, 5, 6
ARRAY, DIM_ARRAY = 512, 576


@pytest.fixture
def guest() -> Iterator[CoreGuest]:
    with wasi_nn.Session({"relu": models.relu()}) as session:
        yield CoreGuest(session, dialect="wamr")


def load(guest: CoreGuest, model: bytes, encoding: int = ONNX, target: int = 0) -> int:
    guest.write(DATA, model)
    guest.write(BUILDERS, pack("<II", DATA, len(model)))
    guest.write(ARRAY, pack("<II", BUILDERS, 1))
    return guest.call("load", ARRAY, encoding, target, OUT)


def set_input(guest: CoreGuest, context: int, dims: Sequence[int], kind: int, data: bytes, index: int = 0) -> int:
    guest.write(DATA, data)
    guest.write(DIMS, pack(f"<{len(dims)}I", *dims))
    guest.write(DIM_ARRAY, pack("<II", DIMS, len(dims)))
    guest.write(TENSOR, pack("<IB3sI", DIM_ARRAY, kind, b"\xaa\xbb\xcc", DATA))
    return guest.call("set_input", context, index, TENSOR)


def get_output(guest: CoreGuest, context: int, room: int = 64, index: int = 0) -> tuple[int, int]:
    guest.write(OUT, pack("<I", room))
    errno = guest.call("get_output", context, index, DATA, OUT)
    return errno, guest.u32()


def context_of(guest: CoreGuest) -> int:
    assert guest.call("init_execution_context", guest.u32(), OUT) == SUCCESS
    return guest.u32()


@pytest.mark.parametrize("encoding", [ONNX, AUTODETECT])
def test_an_inference(guest: CoreGuest, encoding: int) -> None:
    assert load(guest, models.relu(), encoding) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [4], F32, pack("<4f", 1, -1, 2, -2)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert get_output(guest, context) == (SUCCESS, 4), "elements, not bytes"
    assert unpack("<4f", guest.read(DATA, 16)) == (1, 0, 2, 0)


def test_a_graph_by_name(guest: CoreGuest) -> None:
    assert guest.load_by_name("relu") == SUCCESS
    context = context_of(guest)
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert get_output(guest, context)[0] == RUNTIME_ERROR


def test_a_buffer_that_is_too_small_is_told_how_much_it_needs(guest: CoreGuest) -> None:
    assert load(guest, models.relu()) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [4], F32, pack("<4f", 1, 2, 3, 4)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert get_output(guest, context, room=3) == (TOO_LARGE, 4)
    assert get_output(guest, context, room=4) == (SUCCESS, 4)


def test_tensor_types_have_the_old_numbers(guest: CoreGuest) -> None:
    assert load(guest, models.identity(wasi_nn.TensorType.I32)) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [4], I32, pack("<4i", 1, -1, 2, -2)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert get_output(guest, context) == (SUCCESS, 4)
    assert unpack("<4i", guest.read(DATA, 16)) == (1, -1, 2, -2)
    assert load(guest, models.identity(wasi_nn.TensorType.U8)) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [4], U8, bytes((1, 2, 3, 4)).ljust(16)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert get_output(guest, context) == (SUCCESS, 1), "as many elements of four bytes as hold it"
    assert guest.read(DATA, 4) == bytes((1, 2, 3, 4))
    for kind in (4, 5, 255):
        assert set_input(guest, context, [4], kind, bytes(16)) == INVALID_ARGUMENT


def test_a_quantised_model_takes_and_gives_floats(guest: CoreGuest) -> None:
    element = tflite_models.ELEMENTS[wasi_nn.TensorType.U8]
    tensors = [tflite_models.tensor("x", element, (4,), 0.5, 10), tflite_models.tensor("y", element, (4,), 0.5, 10)]
    assert load(guest, tflite_models.build(tensors, [(tflite_models.RELU, [0], [1])], [0], [1]), TFLITE) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [4], F32, pack("<4f", -3, 0, 2.5, 1000)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert get_output(guest, context) == (SUCCESS, 4)
    assert unpack("<4f", guest.read(DATA, 16)) == (0, 0, 2.5, 0.5 * (255 - 10))
    assert set_input(guest, context, [4], U8, bytes((9, 10, 11, 12)).ljust(16)) == SUCCESS, "raw, as it is"


@pytest.mark.parametrize(("encoding", "errno"), [(7, INVALID_ENCODING), (14, INVALID_ENCODING), (2**31, 2)])
def test_encodings_that_do_not_exist(guest: CoreGuest, encoding: int, errno: int) -> None:
    assert load(guest, models.relu(), encoding) == errno


def test_what_does_not_fit(guest: CoreGuest) -> None:
    assert load(guest, models.relu(), target=3) == INVALID_ARGUMENT
    assert load(guest, models.relu()) == SUCCESS
    context = context_of(guest)
    assert set_input(guest, context, [5], F32, bytes(20)) == INVALID_ARGUMENT
    assert set_input(guest, context, [4], F32, bytes(16), index=1) == INVALID_ARGUMENT
    assert set_input(guest, context, [1] * 65, F32, bytes(4)) == INVALID_ARGUMENT
    assert guest.call("compute", 77) == INVALID_ARGUMENT


def test_pointers_out_of_bounds_trap(guest: CoreGuest) -> None:
    end = guest.memory.data_len(guest.store)
    assert load(guest, models.relu()) == SUCCESS
    context = context_of(guest)
    for call in (
        ("load", end - 7, ONNX, 0, OUT),
        ("load", ARRAY, ONNX, 0, end),
        ("set_input", context, 0, end - 11),
        ("get_output", context, 0, DATA, end - 3),
    ):
        with pytest.raises(TRAP, match="is outside the memory"):
            guest.call(*call)
    guest.write(OUT, pack("<I", 2**31))
    with pytest.raises(TRAP, match="the output buffer"):
        guest.call("get_output", context, 0, DATA, OUT)
    guest.write(TENSOR, pack("<IB3sI", end - 7, F32, b"", DATA))
    with pytest.raises(TRAP, match="the dimension array"):
        guest.call("set_input", context, 0, TENSOR)
    guest.write(DIMS, pack("<2I", 2**31, 2**31))
    guest.write(DIM_ARRAY, pack("<II", DIMS, 2))
    guest.write(TENSOR, pack("<IB3sI", DIM_ARRAY, F32, b"", DATA))
    with pytest.raises(TRAP, match="the tensor's data"):
        guest.call("set_input", context, 0, TENSOR)


def test_builders_beyond_all_bounds(guest: CoreGuest) -> None:
    guest.write(ARRAY, pack("<II", BUILDERS, 2**32 - 1))
    assert guest.call("load", ARRAY, ONNX, 0, OUT) == INVALID_ARGUMENT
