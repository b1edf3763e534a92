"""Tries each element type in each backend; `make types` writes the results to `docs/reference/types.md`.

For each type, there are two small networks in each format: one casts an input of the type to f32 (or passes it through,
if it isn't a number), the other casts f32 to an output of the type. A session runs them, as it would for a guest.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import openvino_models
import tensorflow_models
import tflite_models
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto

import wasi_nn
from wasi_nn import LoadRules, NNError, TensorType

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "types.md"

SPECIFIED = [kind.value for kind in TensorType]
OTHERS = ["i8", "i16", "u16", "u32", "u64", "bool", "string"]
DTYPES: dict[str, Any] = {kind.value: kind.dtype for kind in TensorType} | {
    "i8": np.int8,
    "i16": np.int16,
    "u16": np.uint16,
    "u32": np.uint32,
    "u64": np.uint64,
    "bool": np.bool_,
    "string": object,
}

_ONNX = {kind.value: element for kind, element in onnx_models.ELEMENTS.items()} | {
    "i8": TensorProto.INT8,
    "i16": TensorProto.INT16,
    "u16": TensorProto.UINT16,
    "u32": TensorProto.UINT32,
    "u64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
_TFLITE = {kind.value: element for kind, element in tflite_models.ELEMENTS.items()} | {
    name: getattr(schema.TensorType, word)
    for name, word in {
        "i8": "INT8",
        "i16": "INT16",
        "u16": "UINT16",
        "u32": "UINT32",
        "u64": "UINT64",
        "bool": "BOOL",
        "string": "STRING",
    }.items()
}


@cache
def _onnx(kind: str, to: str) -> bytes:
    if kind == "string":
        return onnx_models.strings()
    return onnx_models.cast(_ONNX[kind], _ONNX[to], (2,))


def _openvino(kind: str, to: str) -> list[bytes]:
    import openvino as ov
    from openvino import opset13 as ops

    if kind == "string":
        return openvino_models.shouting((2,))
    words = {"u8": "u8", "bool": "boolean"}
    parameter = ops.parameter([2], getattr(ov.Type, words.get(kind, kind)), "x")
    result = ops.convert(parameter, words.get(to, to))
    parameter.output(0).set_names({"x"})
    result.output(0).set_names({"y"})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.xml")
        ov.save_model(ov.Model([result], [parameter], "cast"), file, compress_to_fp16=False)
        return [file.read_bytes(), file.with_suffix(".bin").read_bytes()]


def _torch_type(kind: str) -> Any:
    import torch

    return getattr(torch, np.dtype(DTYPES[kind]).name)


def _torchscript(kind: str, to: str) -> bytes:
    return _by_torch("script", kind, to)


def _pt2(kind: str, to: str) -> bytes:
    return _by_torch("export", kind, to)


def _by_torch(how: str, kind: str, to: str) -> bytes:
    import pytorch_models
    import torch

    class Cast(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.to(_torch_type(to))

    example = torch.zeros(2).to(_torch_type(kind))
    model: bytes = getattr(pytorch_models, how)(Cast(), example)
    return model


@cache
def _saved_model(kind: str, to: str) -> bytes:
    import tensorflow as tf

    def function(x: Any) -> dict[str, Any]:
        return {"y": tf.identity(x) if kind == "string" else tf.cast(x, _tf_name(to))}

    with tempfile.TemporaryDirectory() as folder:
        path = tensorflow_models.of_function(Path(folder, "model"), function, (2,), _tf_name(kind))
        return tensorflow_models.zipped(path)


def _tf_name(kind: str) -> str:
    return "string" if kind == "string" else np.dtype(DTYPES[kind]).name


@cache
def _tflite(kind: str, to: str) -> bytes:
    if kind == "string":
        return tflite_models.build([tflite_models.tensor("x", _TFLITE[kind], (2,))], [], [0], [0])
    tensors = [tflite_models.tensor("x", _TFLITE[kind], (2,)), tflite_models.tensor("y", _TFLITE[to], (2,))]
    return tflite_models.build(tensors, [(tflite_models.CAST, [0], [1])], [0], [1])


Maker = Callable[[str, str], "bytes | list[bytes]"]

BACKENDS: Mapping[str, tuple[str, str, Maker]] = {
    "ONNX, onnxruntime": ("onnx", "onnxruntime", _onnx),
    "ONNX, openvino": ("onnx", "openvino", _onnx),
    "OpenVINO IR, openvino": ("openvino", "openvino", _openvino),
    "TorchScript, torch": ("pytorch", "torch", _torchscript),
    "`.pt2`, torch": ("pytorch", "torch", _pt2),
    "SavedModel, tensorflow": ("tensorflow", "tensorflow", _saved_model),
    "SavedModel, openvino": ("tensorflow", "openvino", _saved_model),
    "TensorFlow Lite, ai_edge_litert": ("tensorflowlite", "ai_edge_litert", _tflite),
    "TensorFlow Lite, openvino": ("tensorflowlite", "openvino", _tflite),
}

WORKS, CONVERTED, NO_MODEL = "yes", "converted", "-"


def cell(backend: str, kind: str, direction: str) -> str:
    """The result for a type as input or output: `yes`, `converted` (refused without conversion), or an error."""
    encoding, runtime, make = BACKENDS[backend]
    kinds = (kind, "f32") if direction == "in" else ("f32", kind)
    if kind == "string":
        kinds = (kind, kind)
    try:
        model = make(*kinds)
    except Exception:
        return NO_MODEL  # the format, or the tool that writes it, has no such tensors
    outcome = ""
    for convert in (False, True):
        outcome = _outcome(model, encoding, runtime, kinds, convert)
        if outcome == WORKS:
            return CONVERTED if convert else WORKS
    return outcome


def _outcome(model: Any, encoding: str, runtime: str, kinds: tuple[str, str], convert: bool) -> str:
    values = ["1", "0"] if kinds[0] == "string" else [1, 0]
    try:
        graph = wasi_nn.load(model, encoding, runtime=runtime, rules=LoadRules(convert_types=convert))
        if graph.inputs[0].dtype is None and kinds[0] in OTHERS:
            return NO_MODEL
        context = graph.init_execution_context()
        context.write_input(0, *_as_a_guest_gives_it(values, kinds[0]))
        context.compute()
        output = bytes(context.output_bytes(0))
    except NNError as error:
        return error.code.value
    expected = bytes(_as_a_guest_gives_it(values, kinds[1])[2])
    return WORKS if output == expected else "WRONG"


def _as_a_guest_gives_it(values: list[Any], kind: str) -> tuple[Any, tuple[int, ...], memoryview]:
    """Values as a tensor of the specification's types: type, dims and bytes."""
    if kind == "string":
        array: Any = np.array([[ord(value)] for value in values], np.uint8)
    else:
        wider = {"i8": "i32", "i16": "i32", "u16": "i32", "u32": "i64", "u64": "i64", "bool": "u8"}.get(kind, kind)
        array = np.array(values).astype(DTYPES[wider])
    return array.dtype, array.shape, memoryview(array.tobytes())


_HEAD = """# Types

Every tensor type of wasi-nn, and those that it lacks, as an input and as an output in every backend. This page is
written by `make types`, which tries each cell; a test tries them again.

- *yes*: works.
- *converted*: wasi-nn has no such tensors: refused with `unsupported-operation`, unless the host is told to convert
  types (`--convert-types`, `LoadRules(convert_types=True)`); then it works, and nothing is lost.
- an error: the runtime has no such operator, or no such tensors, and this is what a guest gets.
- *-*: there is no such model. (TorchScript's don't say which types they take, and so are given wasi-nn's.)

Guests that import `wasi-nn:ext/byte-strings` give and get the strings of such models [as they
are](#byte-strings).

`bf16` crosses to guests that are components; the core ABI has no number for it.
"""

_TAIL = """
With conversion, a tensor of int8, int16 or uint16 is an i32, of uint32 or uint64 an i64, of bool a u8 (0 or 1). A
tensor of strings is a u8 with one dimension more: the bytes of each string in UTF-8, filled up with zeros. What such a
type can't hold (300 for an int8, a string that ends in a zero) is refused: `invalid-argument` at compute, or
`unsupported-operation` for a string.

A sequence of maps from int64 or string to f32, as classifiers give it, is an f32 [maps, keys]: a row for each map,
with its values in the ascending order of the keys. Its maps must have the same keys. The graph's metadata has the keys
([onnx.md](onnx.md#classifiers)). Other maps, sequences and optional values have no conversion.

## Byte strings

A guest that imports the interface `byte-strings` of `wasi-nn:ext` gives and gets tensors of strings without conversion:
any bytes, zeros too, in every runtime whose cells for strings say *converted*. A tensor has at most 2**20 strings.

- ONNX Runtime takes and gives texts. A string that isn't UTF-8 goes in where no string of its tensor has a zero byte
  (`invalid-argument`), but not out (`unsupported-operation`).
- OpenVINO takes no tensor without any string (`unsupported-operation`).
- TensorFlow and LiteRT take and give all bytes.

GGML's inputs and outputs are bytes, of whatever type and dims a guest says ([ggml.md](ggml.md)).
"""


def page() -> str:
    """The whole page for the documentation."""
    return _HEAD + _table("The specification's types", SPECIFIED) + _table("Other types", OTHERS) + _TAIL


def _table(title: str, kinds: list[str]) -> str:
    lines = [f"\n## {title}\n", "| backend | | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 2) + "|"]
    for backend in BACKENDS:
        for direction in ("in", "out"):
            cells = [cell(backend, kind, direction) for kind in kinds]
            lines.append(f"| {backend if direction == 'in' else ''} | {direction} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    PAGE.write_text(page())
