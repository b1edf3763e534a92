"""Model files that change while their graph is in use: the graph goes on as before, and `reload` loads the new file.

Each test uses its own process: a runtime that maps a file into memory crashes when the file gets shorter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, need

import wasi_nn

SIZE = 512  # rows and columns: a megabyte of weights, more than a runtime copies out of a mapped file


def onnx(folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(_product().SerializeToString())
    return folder / "model.onnx"


def onnx_with_external_data(folder: Path) -> Path:
    import onnx

    onnx.save_model(
        _product(), str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    return folder / "model.onnx"


def openvino(folder: Path) -> Path:
    import openvino as ov
    from openvino import opset13 as ops

    # A table for Gather: OpenVINO doesn't copy it out of the file.
    row = ops.parameter([1], np.int64, name="row")
    table = ops.constant(np.ones((SIZE, SIZE), np.float32))
    rows = ops.gather(table, row, ops.constant(0, dtype=np.int64))
    ov.save_model(ov.Model([ops.result(rows)], [row], "table"), folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def torchscript(folder: Path) -> Path:
    import pytorch_models
    import torch

    (folder / "model.pt").write_bytes(pytorch_models.script(torch.nn.Linear(SIZE, SIZE)))
    return folder / "model.pt"


def exported_program(folder: Path) -> Path:
    import pytorch_models
    import torch

    (folder / "model.pt2").write_bytes(pytorch_models.export(torch.nn.Linear(SIZE, SIZE), torch.ones(1, SIZE)))
    return folder / "model.pt2"


def saved_model(folder: Path) -> Path:
    import tensorflow_models

    return tensorflow_models.with_a_variable(folder)


def tflite(folder: Path) -> Path:
    import tflite_models

    (folder / "model.tflite").write_bytes(tflite_models.relu([1, SIZE]))
    return folder / "model.tflite"


def ggml(folder: Path) -> Path:
    import ggml_models

    (folder / "model.gguf").write_bytes(ggml_models.tiny())
    return folder / "model.gguf"


def _product() -> Any:
    import onnx
    import onnx_models

    weights = np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    tensors = {"x": (1, [1, SIZE])}, {"y": (1, [1, SIZE])}
    return onnx.load_from_string(onnx_models.build([node], *tensors, [onnx.numpy_helper.from_array(weights, "w")]))


def rewritten(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.write(os.urandom(file.stat().st_size))


def halved(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def replaced(file: Path) -> None:
    file.with_name("new").write_bytes(b"another")
    file.with_name("new").replace(file)


def removed(file: Path) -> None:
    file.unlink()


SHORT = {"n-predict": 4}
CHANGES = (rewritten, halved, emptied, replaced, removed)


def go_on(kind: str, runtime: str, options: dict[str, Any], changes: tuple[str, ...]) -> None:
    """Change the files of a graph in use, in each way, and check that it computes as before. Run in a new process."""
    for change in changes:
        with tempfile.TemporaryDirectory() as folder:
            model = globals()[kind](Path(folder))
            graph = wasi_nn.load(model, runtime=runtime, options=options)
            context = _fed(graph)
            context.compute()
            before = context.get_output(0)
            for file in [file for file in Path(folder).rglob("*") if file.is_file()]:
                globals()[change](file)
            for used in (context, _fed(graph)):
                used.compute()
                np.testing.assert_array_equal(used.get_output(0), before, change)


def _fed(graph: wasi_nn.Graph) -> wasi_nn.ExecutionContext:
    context = graph.init_execution_context()
    [info] = [info for info in graph.inputs if not info.optional]
    if graph.encoding is wasi_nn.GraphEncoding.GGML:
        context.set_input(info.name, np.frombuffer(b"hello", np.uint8))
    else:
        dims = [1, SIZE] if info.dims is None else [int(dim) for dim in info.dims]
        context.set_input(info.name, np.ones(dims, info.dtype or np.float32))
    return context


def in_a_process(kind: str, runtime: str, options: dict[str, Any], changes: tuple[Callable[[Path], None], ...]) -> int:
    """Call `go_on` in a new process; returns its exit code, negative for a signal."""
    names = tuple(change.__name__ for change in changes)
    script = f"import test_changed_files; test_changed_files.go_on({kind!r}, {runtime!r}, {options!r}, {names!r})"
    path = os.pathsep.join(str(REPOSITORY / folder) for folder in ("tests", "tests/support", "demo", "guests"))
    return subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}).returncode


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        (onnx, "onnxruntime"),
        (onnx, "openvino"),
        (onnx_with_external_data, "onnxruntime"),
        (onnx_with_external_data, "openvino"),
        (openvino, "openvino"),
        (torchscript, "torch"),
        (exported_program, "torch"),
        (saved_model, "tensorflow"),
        (tflite, "ai_edge_litert"),
    ],
)
def test_a_graph_goes_on_whatever_happens_to_its_files(kind: Callable[[Path], Path], runtime: str) -> None:
    need(runtime, f"'wasi-nn[all]', for {runtime}")
    assert in_a_process(kind.__name__, runtime, {}, CHANGES) == 0


def test_a_gguf_that_is_not_mapped_may_be_changed() -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    assert in_a_process("ggml", "xllamacpp", {**SHORT, "use-mmap": False}, CHANGES) == 0


def test_a_gguf_that_is_mapped_may_be_replaced_but_not_made_shorter() -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    assert in_a_process("ggml", "xllamacpp", SHORT, (replaced, removed)) == 0
    assert in_a_process("ggml", "xllamacpp", SHORT, (emptied,)) == -signal.SIGBUS


def test_an_ir_that_is_mapped_by_the_operators_wish_may_be_replaced_but_not_made_shorter() -> None:
    need("openvino", "'wasi-nn[openvino]'")
    assert in_a_process("openvino", "openvino", {"mmap": True}, (replaced, removed)) == 0
    assert in_a_process("openvino", "openvino", {"mmap": True}, (emptied,)) == -signal.SIGBUS


@pytest.mark.parametrize(
    ("kind", "runtime", "file"),
    [
        (onnx, "onnxruntime", "model.onnx"),
        (onnx_with_external_data, "onnxruntime", "weights.bin"),
        (openvino, "openvino", "model.bin"),
    ],
)
def test_a_change_of_any_file_of_a_model_is_seen_by_reload(
    tmp_path: Path, kind: Callable[[Path], Path], runtime: str, file: str
) -> None:
    need(runtime, f"'wasi-nn[all]', for {runtime}")
    (tmp_path / "model").mkdir()
    model = kind(tmp_path / "model")
    (tmp_path / "graphs.toml").write_text(f'graphs.net = {{ path = "{model}", runtime = "{runtime}" }}')
    registry = wasi_nn.Registry(tmp_path / "graphs.toml")
    old = registry.get("net")
    before = _fed(old)
    before.compute()
    assert registry.reload() == []
    assert registry.get("net") is old
    with open(tmp_path / "model" / file, "r+b") as weights:
        weights.seek(SIZE * SIZE)
        weights.write(bytes(1024))
    assert registry.reload() == ["net"]
    assert registry.get("net") is not old
    after = _fed(old)
    after.compute()
    np.testing.assert_array_equal(after.get_output(0), before.get_output(0))
