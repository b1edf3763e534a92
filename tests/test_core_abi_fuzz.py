"""Random guests and damaged ONNX models: any call with any numbers, over any memory, gives an errno or a trap, and the
host still works."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from struct import pack

import numpy as np
import onnx_models as models
import pytest
from core_guest import BUILDERS, DATA, DIMS, F32, NAME, NOT_FOUND, OUT, SUCCESS, TENSOR, TRAP, CoreGuest, wat
from hypothesis import HealthCheck, example, given, settings, strategies as st
from numpy_graphs import Counting, Shouting, Trainable

import wasi_nn
from wasi_nn.abi.core import extensions, spec
from wasi_nn.backends.onnx.class_labels import keys_of_maps
from wasi_nn.backends.onnx.model import is_onnx, tensors_with_shape, uses_external_data
from wasi_nn.session.policy import EXTENSIONS

MEMORY_SIZE = 16 * 65536
GRAPHS: dict[str, bytes | wasi_nn.Graph] = {
    "relu": models.relu(),
    "two": models.add_and_mul(),
    "any": models.identity(dims=None),
    "shout": Shouting(),
    "train": Trainable(),
    "count": Counting(),
}
REGISTRY = wasi_nn.Registry(GRAPHS)
FUNCTIONS = {**spec.FUNCTIONS, **{name: function.parameters for name, function in extensions.FUNCTIONS.items()}}
MODEL = models.relu()

u32 = st.integers(0, 2**32 - 1)
interesting = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 20, 255, OUT, TENSOR, DIMS, NAME, BUILDERS, DATA, len(MODEL)]
    + [MEMORY_SIZE - n for n in (0, 1, 3, 4, 19, 20)]
    + [2**31 - 1, 2**31, 2**32 - 20, 2**32 - 4, 2**32 - 1]
)
number = st.one_of(interesting, interesting, u32)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    """A call of any function with any arguments."""
    name = draw(st.sampled_from(sorted(FUNCTIONS)))
    return name, tuple(draw(number) for _ in range(FUNCTIONS[name]))


patches = st.tuples(st.integers(0, 4096), st.one_of(st.binary(max_size=64), st.builds(lambda n: pack("<I", n), number)))
steps = st.lists(st.one_of(calls(), calls(), patches), min_size=1, max_size=25)

fuzz = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


def prepared(session: wasi_nn.Session) -> CoreGuest:
    """A guest with graphs, a context on each, and a model, a tensor and a name in memory."""
    guest = CoreGuest(session, wat(extensions=EXTENSIONS))
    for name in ("relu", "any", "shout", "train", "count"):
        guest.context(name)
    guest.write(DATA, MODEL)
    guest.write(BUILDERS, pack("<IIII", DATA, len(MODEL), 0, 0))
    guest.write(NAME, b"relu")
    guest.put_tensor([4], F32, pack("<4f", 1, 2, 3, 4), at=DATA + 8192)
    return guest


@pytest.mark.usefixtures("either_call")
@fuzz
@given(steps)
@example([("get_output", (3, 0, 0, 2**32 - 1, OUT))])
@example([("describe", (1, 2**32 - 1, 0, OUT)), ("describe", (1, MEMORY_SIZE - 4, 4, OUT))])
@example([("set_byte_strings", (6, 0, DIMS, 2, DATA, 0)), ("state_get", (7, 0, 0, MEMORY_SIZE - 4))])
@example([("load", (0, 2**29, 1, 0, OUT)), ("set_input", (3, 0, MEMORY_SIZE - 20))])
def test_any_calls_give_an_errno_or_a_trap(steps: list[tuple[str, tuple[int, ...]] | tuple[int, bytes]]) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logger = logging.getLogger("wasi_nn")
    logger.addHandler(handler)
    try:
        with wasi_nn.Session(REGISTRY) as session:
            guest = prepared(session)
            for step in steps:
                if isinstance(step[0], int):
                    guest.write(*step)
                    continue
                try:
                    assert 0 <= guest.call(step[0], *step[1]) <= NOT_FOUND
                except TRAP as trap:
                    assert f"{step[0]}: " in str(trap)
            check_inference(guest)
            check_inference(CoreGuest(session))
    finally:
        logger.removeHandler(handler)
    assert not [record.getMessage() for record in records if record.levelno > logging.WARNING]


def check_inference(guest: CoreGuest) -> None:
    """Check that the guest can still do an inference."""
    assert guest.load_by_name("relu") == SUCCESS
    guest.check_relu(guest.u32())


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@example([(41, 13)])  # the output becomes an unknown field
def test_models_that_are_damaged_anywhere(changes: list[tuple[int, int]]) -> None:
    model = bytearray(MODEL)
    for place, byte in changes:
        model[place] = byte
    with suppress(wasi_nn.NNError):
        graph = wasi_nn.load(bytes(model), "onnx")
        assert len(graph.compute({"x": np.ones(4, np.float32)})) == len(graph.outputs)


READERS: list[Callable[[memoryview], object]] = [
    is_onnx,
    tensors_with_shape,
    uses_external_data,
    partial(keys_of_maps, outputs={"p"}),
]


@fuzz
@given(st.one_of(st.binary(max_size=200), st.integers(0, len(MODEL)).map(lambda n: MODEL[:n] + b"\xff" * 3)))
@example(models.labelled(["a", "b"])[:-20])
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x08" * 11)
@example(b"\x00\x00")
@example(b"\x0b\x0c")
@example(b"\xff\xff\xff\xff\xff\xff\x7f")
def test_reading_any_bytes_ends_in_an_answer_or_a_value_error(content: bytes) -> None:
    for read in READERS:
        try:
            read(memoryview(content))
        except ValueError as error:
            assert read is uses_external_data, error


def test_a_model_of_countless_fields_is_given_up_on() -> None:
    assert not is_onnx(memoryview(b"\x10\x00" * 1_000_000))
    with pytest.raises(ValueError, match=r"more than \d+ fields"):
        uses_external_data(memoryview(b"\x10\x00" * 2_500_000))


def test_a_model_of_endless_depth_is_read_all_the_same() -> None:
    graph = b""
    for _ in range(2000):  # a graph in an attribute of a node in a graph
        for field in (0x32, 0x2A, 0x0A):
            graph = bytes([field]) + varint(len(graph)) + graph
    assert not uses_external_data(memoryview(b"\x3a" + varint(len(graph)) + graph))


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
