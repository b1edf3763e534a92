"""States as safetensors files: every type comes back as it was, and other bytes are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from checks import refused

from wasi_nn import ErrorCode
from wasi_nn.session.state_files import values_in, written
from wasi_nn.types import dtype_named

TYPES = [
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bfloat16", "bool", "complex64"),
]


def file_of(header: Any, data: bytes = b"") -> memoryview:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return memoryview(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dims", [(), (3,), (0, 2), (2, 1, 2)])
def test_every_type_comes_back(dtype: str, dims: tuple[int, ...]) -> None:
    values = {
        "a.b/c": np.arange(12)[: int(np.prod(dims))].reshape(dims).astype(dtype_named(dtype)),
        "\u00e4": np.ones(1),
    }
    for array in (values["a.b/c"], values["a.b/c"].copy("F")):
        got = values_in(memoryview(written({**values, "a.b/c": array})))
        assert got.keys() == values.keys()
        for name, value in values.items():
            assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape)
            assert got[name].tolist() == value.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"__metadata__": np.ones(1)}, "named '__metadata__'"),
        ({"x": np.ones(1, np.complex128)}, "can't be written as safetensors"),
        ({"\ud800": np.ones(1)}, "can't be written as safetensors"),
    ],
)
def test_what_no_such_file_has_isnt_written(values: dict[str, Any], message: str) -> None:
    refused(ErrorCode.UNSUPPORTED_OPERATION, message, written, values)


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (memoryview(b""), "isn't a safetensors file"),
        (memoryview(b"\xff" * 100), "isn't a safetensors file"),
        (file_of({"w": F32}, bytes(3)), "isn't a safetensors file"),
        (file_of({"w": F32}, bytes(5)), "isn't a safetensors file"),
        (file_of({"w": {**F32, "shape": [2**62, 4]}}, bytes(4)), "isn't a safetensors file"),
        (file_of({"w": {**F32, "shape": [-1]}}, bytes(4)), "isn't a safetensors file"),
        (file_of({"w": {**F32, "data_offsets": [4, 0]}}, bytes(4)), "isn't a safetensors file"),
        (file_of("[" * 100_000), "isn't a safetensors file"),
        (file_of({"w": {**F32, "dtype": "F33"}}, bytes(4)), "isn't a safetensors file"),
        (file_of({"w": {**F32, "dtype": "F8_E4M3", "shape": [4]}}, bytes(4)), "'w' in the state is of type F8_E4M3"),
        (file_of({"w": {**F32, "dtype": "BOOL", "shape": [4]}}, b"\0\1\2\0"), "has bytes other than 0 and 1"),
        (file_of({"w": F32} | {"__metadata__": {"x": "y" * 2**22}}, bytes(4)), "at most 4194304 are taken"),
    ],
)
def test_other_bytes_are_refused(content: memoryview, message: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, message, values_in, content)


def test_metadata_of_a_file_is_no_variable() -> None:
    assert list(values_in(file_of({"w": F32} | {"__metadata__": {"format": "pt"}}, bytes(4)))) == ["w"]
