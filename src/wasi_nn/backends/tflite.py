"""TensorFlow Lite models, run by LiteRT.

A graph has one builder, the model. By name it is a file, or a directory with `model.tflite`. Tensors have the names
of the model's signature where it has one, else their own; quantised tensors are given raw, as the model stores them,
and `Graph.metadata` has their scales and zero points.

Options: `threads` (1 unless given; 0 is 1 too), `signature` (which of the model's signatures to run, if there are
several).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends._inputs import check_options, is_text, is_thread_count, only_builder
from wasi_nn.graph import Graph, Runner
from wasi_nn.types import ErrorCode, ExecutionTarget, GraphEncoding, NNError, TargetUnavailable, TensorInfo

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from wasi_nn.types import Array

_DEFAULT_SIGNATURE = "serving_default"


class TfliteBackend:
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.TENSORFLOWLITE
    extra = "tflite"
    distribution = "ai-edge-litert"
    model_files = ("model.tflite",)
    withstands_hostile_bytes = True

    def sniff(self, model: memoryview) -> bool:
        return bytes(model[4:8]) == b"TFL3"

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        model = only_builder(self.encoding, builders)
        if target is not ExecutionTarget.CPU:
            raise TargetUnavailable(f"ai-edge-litert has no device for {target.value} here, only the cpu")
        check_options(self.encoding, options, {"threads": is_thread_count, "signature": is_text})
        return TfliteGraph(model, **options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        file = path / self.model_files[0] if path.is_dir() else path
        return self.load([memoryview(file.read_bytes())], target, options)

    def devices(self) -> Mapping[ExecutionTarget, str]:
        import ai_edge_litert.interpreter  # noqa: F401

        return {ExecutionTarget.CPU: "cpu"}


class TfliteGraph(Graph):
    """A model's bytes; each context has an interpreter of its own, since two threads can't share one."""

    encoding = GraphEncoding.TENSORFLOWLITE

    def __init__(self, model: bytes, threads: int = 1, signature: str | None = None) -> None:
        self._model = model
        self._threads = threads
        interpreter = self._interpreter()
        signatures = interpreter.get_signature_list()
        self._signature = _chosen(list(signatures), signature)
        inputs, outputs = _details(interpreter, self._signature)
        metadata = {
            f"quantization of {name}": "scale {}, zero point {}".format(*tensor["quantization"])
            for name, tensor in (inputs | outputs).items()
            if tensor["quantization"][0]
        }
        if len(signatures) > 1:
            metadata["signatures"] = ", ".join(signatures)
        super().__init__(
            [_info(name, tensor) for name, tensor in inputs.items()],
            [_info(name, tensor) for name, tensor in outputs.items()],
            metadata,
        )
        text = next((info for info in (*self.inputs, *self.outputs) if info.dtype == object), None)
        if text is not None:
            raise NNError(
                ErrorCode.UNSUPPORTED_OPERATION, f"{text.name!r} is {text.native}; wasi-nn has no such tensors"
            )

    def runner(self) -> Runner:
        interpreter = self._interpreter()
        if self._signature is not None:
            return partial(self._run_signature, interpreter.get_signature_runner(self._signature))
        return _PlainRunner(interpreter)

    def _interpreter(self) -> Interpreter:
        import ml_dtypes  # noqa: F401  tells numpy of bfloat16, without which LiteRT has no arrays of it
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=self._model, num_threads=self._threads or 1)

    def _run_signature(self, run: Any, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        outputs = run(**{info.name: array for info, array in zip(self.inputs, inputs, strict=True)})
        return [np.asarray(outputs[info.name]) for info in self.outputs]


def _chosen(there: Sequence[str], wanted: str | None) -> str | None:
    """The signature to run: the one that is wanted, else the usual one, else the only one, else none."""
    if wanted is not None and wanted not in there:
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"the model has no signature {wanted!r}, but {', '.join(there) or 'none'}"
        )
    usual = _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in there else None
    return wanted or usual or (there[0] if len(there) == 1 else None)


def _details(interpreter: Interpreter, signature: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the interpreter says of its inputs and outputs, by name, in the model's order where the signature has
    none."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if signature is None:
        return {tensor["name"]: tensor for tensor in inputs}, {tensor["name"]: tensor for tensor in outputs}
    runner = interpreter.get_signature_runner(signature)
    return _ordered(runner.get_input_details(), inputs), _ordered(runner.get_output_details(), outputs)


def _ordered(named: Mapping[str, Any], declared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A signature's tensors, which have names but no order, in the order of the model's main graph if it is that
    one's."""
    place = {(tensor["name"], tensor["index"]): place for place, tensor in enumerate(declared)}
    keys = {name: (tensor["name"], tensor["index"]) for name, tensor in named.items()}
    if set(keys.values()) != set(place):
        return dict(named)
    return {name: named[name] for name in sorted(named, key=lambda name: place[keys[name]])}


def _info(name: str, tensor: Mapping[str, Any]) -> TensorInfo:
    dtype = np.dtype(tensor["dtype"])
    declared = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
    dims = tuple("?" if dim < 0 else int(dim) for dim in declared)
    return TensorInfo(name, np.dtype(object) if dtype.kind == "S" else dtype, dims, "string")


class _PlainRunner:
    """Runs the main graph of an interpreter, for models without signatures."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._inputs = [tensor["index"] for tensor in interpreter.get_input_details()]
        self._outputs = [tensor["index"] for tensor in interpreter.get_output_details()]
        self._dims: list[tuple[int, ...]] = []

    def __call__(self, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        dims = [array.shape for array in inputs]
        if dims != self._dims:
            self._dims = []
            for index, array in zip(self._inputs, inputs, strict=True):
                self._interpreter.resize_tensor_input(index, array.shape)
            self._interpreter.allocate_tensors()
            self._dims = dims
        for index, array in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [np.asarray(self._interpreter.get_tensor(index)) for index in self._outputs]
