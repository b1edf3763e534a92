"""OpenVINO IR models, run by OpenVINO.

A graph has two builders, the `.xml` and the `.bin`; one, if there are no weights, or if it is an ONNX model. By name it
is a file (an `.xml` with its `.bin` beside it, or whatever else OpenVINO reads), or a directory with `model.xml`.

Options: `threads` (0, the default, leaves it to the runtime), `precision` (`f32`, the default, or `runtime` for the
runtime's own choice, which on recent processors is bf16 and costs accuracy), `hint` (`latency`, the default, or
`throughput`), `device` (one of OpenVINO's device names, for any target).

OpenVINO itself accepts inputs of other types than the model's, and none at all; the checks of `wasi_nn.graph` stand
before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends._inputs import as_bytes, check_options, is_text, is_thread_count, one_of
from wasi_nn.backends._onnx_model import is_onnx, require_self_contained
from wasi_nn.graph import Graph, Runner
from wasi_nn.types import ErrorCode, ExecutionTarget, GraphEncoding, NNError, TargetUnavailable, TensorInfo, TensorType

if TYPE_CHECKING:
    import openvino as ov

    from wasi_nn.types import Array

# What OpenVINO's devices are called that serve each target.
_DEVICES = {ExecutionTarget.CPU: "CPU", ExecutionTarget.GPU: "GPU", ExecutionTarget.TPU: "NPU"}

# OpenVINO's names of element types, and numpy's.
_ELEMENTS = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "boolean": "bool",
}


class OpenVinoBackend:
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.OPENVINO
    extra = "openvino"
    distribution = "openvino"
    model_files = ("model.xml",)
    withstands_hostile_bytes = False  # a damaged .xml makes OpenVINO 2026.4 write where it shouldn't

    def sniff(self, model: memoryview) -> bool:
        head = bytes(model[:1024]).lstrip(b"\xef\xbb\xbf \t\r\n")
        return head.startswith((b"<?xml", b"<net")) and b"<net" in head

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        if len(builders) not in (1, 2):
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"an OpenVINO graph has two builders, .xml and .bin; got {len(builders)}"
            )
        import openvino as ov

        parts = [as_bytes(builder) for builder in builders]
        if len(parts) == 1 and is_onnx(builders[0]):
            require_self_contained(parts[0])
        core = ov.Core()
        return compile_graph(core, core.read_model(*(parts if len(parts) == 2 else (parts[0], b""))), target, options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        import openvino as ov

        core = ov.Core()
        file = path / self.model_files[0] if path.is_dir() else path
        return compile_graph(core, core.read_model(str(file)), target, options)

    def devices(self) -> Mapping[ExecutionTarget, str]:
        import openvino as ov

        there = ov.Core().available_devices
        found = {target: _first(name, there) for target, name in _DEVICES.items()}
        return {target: device for target, device in found.items() if device is not None}


def choose_device(target: ExecutionTarget, there: Sequence[str]) -> str:
    """The device for a target out of those that OpenVINO lists. Raises `TargetUnavailable` where none serves it."""
    device = _first(_DEVICES[target], there)
    if device is None:
        raise TargetUnavailable(f"openvino has no device for {target.value} here (it has {', '.join(there)})")
    return device


def _first(name: str, there: Sequence[str]) -> str | None:
    """The first device of a kind: `GPU`, or `GPU.0` where there are several."""
    return next((device for device in there if device.partition(".")[0] == name), None)


def compile_graph(core: ov.Core, model: ov.Model, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
    """Compile a model that was read, for a target or for the device that the options name."""
    properties = compile_properties(options)
    there = core.available_devices
    device = options.get("device") or choose_device(target, there)
    if device.partition(".")[0] not in {name.partition(".")[0] for name in there}:
        raise TargetUnavailable(f"openvino has only {', '.join(there)} here, not {device}")
    return OpenVinoGraph(core.compile_model(model, device, properties), model.get_friendly_name())


_ACCEPTS = {
    "threads": is_thread_count,
    "precision": one_of(("f32", "runtime")),
    "hint": one_of(("latency", "throughput")),
    "device": is_text,
}


def compile_properties(options: Mapping[str, Any]) -> dict[str, Any]:
    """OpenVINO's properties for our options; `NNError` with `invalid-argument` for one that makes no sense."""
    check_options(GraphEncoding.OPENVINO, options, _ACCEPTS)
    properties: dict[str, Any] = {"PERFORMANCE_HINT": options.get("hint", "latency").upper()}
    if options.get("precision", "f32") == "f32":
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    if options.get("threads", 0):
        properties["INFERENCE_NUM_THREADS"] = options["threads"]
    return properties


class OpenVinoGraph(Graph):
    """A compiled model, shared by all its contexts; each has an infer request of its own."""

    encoding = GraphEncoding.OPENVINO

    def __init__(self, compiled: ov.CompiledModel, name: str) -> None:
        inputs = [_info(port, port.node.friendly_name) for port in compiled.inputs]
        outputs = [_info(port, port.node.input_value(0).node.friendly_name) for port in compiled.outputs]
        super().__init__(inputs, outputs, {"graph": name} if name else None)
        self.device = ",".join(compiled.get_property("EXECUTION_DEVICES")).lower()
        self.compiled = compiled

    def runner(self) -> Runner:
        return _RequestRunner(self.compiled, self.inputs, self.outputs)


def _info(port: Any, node_name: str) -> TensorInfo:
    """A tensor by one of its names (the node's, if that is one, else the first), or the node's if it has none."""
    names = port.get_names()
    name = node_name if node_name in names or not names else min(names)
    element = port.element_type.get_type_name()
    word = _ELEMENTS.get(element, "object")
    dtype = TensorType.BF16.dtype if word == "bfloat16" else np.dtype(word)
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return TensorInfo(name, dtype, None, element)
    return TensorInfo(name, dtype, tuple(d.get_length() if d.is_static else str(d) for d in shape), element)


class _RequestRunner:
    """An infer request on the caller's input arrays. Outputs of fixed dims are written where they stay; the request
    may free what it gives out of others, so they are copied."""

    def __init__(self, compiled: ov.CompiledModel, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
        strange = next((info for info in (*inputs, *outputs) if info.dtype == object), None)
        if strange is not None:
            raise NNError(
                ErrorCode.UNSUPPORTED_OPERATION, f"{strange.name!r} is {strange.native}; wasi-nn has no such tensors"
            )
        self._request = compiled.create_infer_request()
        self._inputs = inputs
        self._outputs = outputs
        self._bound: list[Array | None] = [None] * len(inputs)
        self._fixed: dict[int, Array] = {}
        self._last: Sequence[Array] | None = None

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        # OpenVINO takes only arrays that it could write to.
        arrays = [array if array.flags.writeable else array.copy() for array in inputs]
        for index, array in enumerate(arrays):
            if array is not self._bound[index]:
                self._request.set_input_tensor(index, _shared(array, self._inputs[index]))
                self._bound[index] = array
        if reuse is None or reuse is not self._last:
            self._fixed = {index: np.empty(dims, dtype) for index, dims, dtype in _fixed(self._outputs)}
            for index, array in self._fixed.items():
                self._request.set_output_tensor(index, _shared(array, self._outputs[index]))
        self._request.infer()
        outputs = [self._output(index) for index in range(len(self._outputs))]
        if reuse is None:
            self._bound, self._fixed, self._last = [None] * len(inputs), {}, None
        else:
            self._last = outputs
        return outputs

    def _output(self, index: int) -> Array:
        if index in self._fixed:
            return self._fixed[index]
        data: Array = self._request.get_output_tensor(index).data
        return data.view(self._outputs[index].dtype).copy()


def _fixed(outputs: Sequence[TensorInfo]) -> list[tuple[int, tuple[int, ...], Any]]:
    """The outputs whose dims don't change: the index, dims and dtype of each."""
    return [
        (index, tuple(map(int, info.dims)), info.dtype)
        for index, info in enumerate(outputs)
        if info.dims is not None and all(isinstance(dim, int) for dim in info.dims)
    ]


def _shared(array: Array, info: TensorInfo) -> ov.Tensor:
    """OpenVINO's tensor over an array's own memory."""
    import openvino as ov

    if info.type is TensorType.BF16:
        return ov.Tensor(array.view(np.uint16), ov.Shape(array.shape), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)
