"""Small models in OpenVINO's own format, built in code."""

from __future__ import annotations

import tempfile
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
