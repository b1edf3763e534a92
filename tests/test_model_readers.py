"""The readers that check models before their runtimes see them: time and memory stay in proportion to the model's size.

Without that, these tests would run for hours or use up the memory.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import hostile_onnx
import onnx_models
import pytest
from checks import refused
from hostile_onnx import field

from wasi_nn import ErrorCode
from wasi_nn.backends.formats.call_bounds import require_bounded
from wasi_nn.backends.onnx import class_labels
from wasi_nn.backends.onnx.class_labels import keys_of_maps
from wasi_nn.backends.onnx.functions import require_bounded_functions
from wasi_nn.backends.onnx.model import tensors_with_shape, uses_external_data
from wasi_nn.backends.pytorch.archive import require_harmless_data
from wasi_nn.backends.pytorch.code import is_shallow

MB = 1 << 20


def most_memory(call: Callable[..., Any], *arguments: Any) -> int:
    """The most bytes of memory that a call has at one time, without its arguments."""
    tracemalloc.start()
    try:
        call(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_onnx_input_that_is_described_in_many_parts() -> None:
    # ValueInfoProto has 1 name, 2 type; TypeProto 1 tensor_type; Tensor 2 shape.
    name, shape = field(1, b"n"), field(2, field(1, field(2, b"")))
    model = hostile_onnx.in_parts(100_000, name + shape)
    assert tensors_with_shape(memoryview(model)) == {"x", "y", "n"}
    assert tensors_with_shape(memoryview(hostile_onnx.in_parts(100_000, name))) == {"x", "y", "n"}


@pytest.mark.parametrize("read", [uses_external_data, require_bounded_functions])
def test_onnx_nodes_of_two_bytes(read: Callable[[memoryview], object]) -> None:
    nodes = memoryview(field(25, b"") + field(7, field(1, b"") * 20_000))
    assert most_memory(read, nodes) < MB


@pytest.mark.parametrize("fields", [class_labels._MAX_FIELDS, 100_000], ids=["many labels", "many fields"])
def test_labels_of_onnx_classifiers_that_are_too_many_to_be_told(fields: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys_of_maps(memoryview(onnx_models.labelled(list(range(65_536)))), {"p"})["p"] == tuple(range(65_536))
    monkeypatch.setattr(class_labels, "_MAX_FIELDS", fields)
    model = memoryview(onnx_models.labelled(list(range(150_000))))
    assert most_memory(keys_of_maps, model, {"p"}) < 4 * MB, "as objects, all would take 5.4 MB"
    assert keys_of_maps(model, {"p"}) == {}


@pytest.mark.parametrize("read", [uses_external_data, require_bounded_functions])
def test_onnx_subgraphs_that_no_reader_would_follow(read: Callable[[bytes], object]) -> None:
    model = memoryview(hostile_onnx.nested(40_000) + field(25, b""))
    with pytest.raises(ValueError, match="nested too deep"):
        read(model)  # type: ignore[arg-type]


def test_parts_that_call_the_next_one_twice() -> None:
    count = 10_000
    parts = {place: Counter({place + 1: 2}) for place in range(count)}

    def bounded() -> None:
        refused(ErrorCode.TOO_LARGE, "call each other more than 1000000 times", require_bounded, parts, Counter([0]))

    assert most_memory(bounded) < 10 * MB, "one number of 10,000 bits for each part would take more"


def test_parts_that_all_call_each_other() -> None:
    count = 100
    parts = {place: Counter(range(place + 1, count)) for place in range(count)}
    refused(ErrorCode.TOO_LARGE, "more than", require_bounded, parts, Counter(range(count)))


def test_calls_in_a_pickle_that_share_their_arguments() -> None:
    arguments = b"(" + b"K\x01" * 10_000 + b"tq\0"
    call = b"c__torch__\nA\nh\0R0"
    data = b"\x80\x02" + arguments + call * 1_000 + b"."
    most = most_memory(require_harmless_data, "data.pkl", data, lambda _: 0)
    assert most < 8 * MB, "each call has a copy of them"


def test_brackets_that_are_never_closed() -> None:
    assert is_shallow("(" * 400)
    assert not is_shallow("(" * 600)
    assert is_shallow("(x, x), " * 10_000)
