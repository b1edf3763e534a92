"""Small models in OpenVINO's own format, built in code."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def openvino_relu() -> list[bytes]:
    """y = max(x, 0) over f32 [4], as `.xml` and `.bin`."""
    import openvino as ov
    from openvino import opset13

    x = opset13.parameter([4], np.float32, name="x")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        ov.save_model(ov.Model([opset13.relu(x)], [x]), path, compress_to_fp16=False)
        return [path.read_bytes(), path.with_suffix(".bin").read_bytes()]


def shouting(dims: Sequence[int] = (-1,)) -> list[bytes]:
    """y = x in capital letters, over strings, as `.xml` and `.bin`; -1 stands for a dynamic dimension."""
    import openvino as ov
    from openvino import opset15 as ops

    x = ops.parameter(ov.PartialShape(list(dims)), ov.Type.string, name="x")
    begins, ends, letters = (ops.string_tensor_unpack(x).output(index) for index in range(3))
    is_small = ops.logical_and(ops.greater_equal(letters, np.uint8(ord("a"))), ops.less_equal(letters, np.uint8(122)))
    capitals = ops.convert(ops.subtract(ops.convert(letters, "i32"), np.int32(32)), "u8")
    y = ops.string_tensor_pack(begins, ends, ops.select(is_small, capitals, letters))
    x.output(0).set_names({"x"})
    y.output(0).set_names({"y"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        ov.save_model(ov.Model([ops.result(y)], [x], "shouting"), path)
        return [path.read_bytes(), path.with_suffix(".bin").read_bytes()]
