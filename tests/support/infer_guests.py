"""A check of the component guest `infer` that holds in every language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_models

from wasi_nn import Host


def runs_by_name_and_by_bytes(guest: Path, code: str, host: Host, write: Callable[[str, bytes], Path]) -> None:
    """The guest does an inference by name, one with a model of 4.9 MB by bytes, and prints the error of a third."""
    result = host.run(guest, ["--graph", "relu", "x=FP32:3:-1,2.5,1000"], capture_output=True)
    assert (result.exit_code, result.stdout) == (0, b"y: FP32 [3]: 0, 2.5, 1000\n")
    model = write("models/relu.onnx", onnx_models.relu([1, 3, 640, 640]))
    arguments = ["--model", "/models/relu.onnx", "x=FP32:1,3,640,640:1.5"]
    result = host.run(guest, arguments, dirs={"/models": model.parent}, capture_output=True)
    assert result.stdout.endswith(b"1.5, ... (1228800 values)\n")
    result = host.run(guest, ["--graph", "nope"], capture_output=True)
    assert result.exit_code == 1
    assert b"infer: no graph is named 'nope'; the names here: 'relu' " + code.encode() in result.stderr
