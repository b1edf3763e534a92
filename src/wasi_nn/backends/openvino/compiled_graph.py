"""Graphs of OpenVINO: compiled models, with the inputs and outputs that OpenVINO declares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.openvino.runner import RequestRunner
from wasi_nn.backends.openvino.strings import unsound_operator
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import is_text as has_strings
from wasi_nn.graph.runner import Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import GraphEncoding, dtype_named

if TYPE_CHECKING:
    import openvino as ov

    from wasi_nn.backends.tflite.signatures import Signature

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


class OpenVinoGraph(Graph):
    """A compiled model, which all its contexts share. Each context has its own infer request."""

    runtime = "openvino"

    def __init__(
        self,
        encoding: GraphEncoding,
        compiled: ov.CompiledModel,
        name_for: Callable[[str], str],
        model: ov.Model,
        signature: Signature | None = None,
    ) -> None:
        name = model.get_friendly_name()
        parameters = [port.node.friendly_name for port in compiled.inputs]
        sources = [port.node.input_value(0).node for port in compiled.outputs]
        taken = {name for port in compiled.inputs for name in port.get_names()}
        super().__init__(
            _signed(
                [_info(port, name_for(_port_name(port, port.node))) for port in compiled.inputs],
                {} if signature is None else signature.inputs,
            ),
            _signed(
                [
                    _info(port, name_for(_port_name(port, node, taken)))
                    for port, node in zip(compiled.outputs, sources, strict=True)
                ],
                {} if signature is None else signature.outputs,
            ),
            {"graph": name} if name else None,
        )
        self._unsound = unsound_operator(model) if any(map(has_strings, (*self.inputs, *self.outputs))) else ""
        self.encoding = encoding
        self.device = ",".join(compiled.get_property("EXECUTION_DEVICES")).lower()
        self.compiled = compiled
        self.stoppable = _is_stoppable(model)
        self.on_callers_thread = self.device == "cpu" and _may_run_on_callers_thread(compiled)
        self.keeps_state = bool(model.get_variables())
        self.passed_through = {
            index: parameters.index(node.friendly_name)
            for index, node in enumerate(sources)
            if node.friendly_name in parameters
        }

    def runner(self) -> Runner:
        if self._unsound:
            message = (
                f"the model has strings in the operator {self._unsound}, with which openvino isn't safe: it only takes "
                "strings apart (StringTensorUnpack) and makes them (StringTensorPack)"
            )
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, printable(message))
        return RequestRunner(
            self.compiled,
            self.inputs,
            self.outputs,
            self.passed_through,
            stoppable=self.stoppable,
            on_callers_thread=self.on_callers_thread,
        )


def _port_name(port: Any, node: Any, taken: Collection[str] = ()) -> str:
    """The name of a tensor among its several names: the node's name if it is one of them, else the first in the
    alphabet; the node's name if the tensor has none. Names that another tensor has taken are avoided if possible."""
    names = set(port.get_names()) - set(taken) or port.get_names()
    name: str = node.friendly_name
    return name if name in names or not names else min(names)


def _signed(infos: list[TensorInfo], names: Mapping[str, str]) -> list[TensorInfo]:
    """Tensors with the names of a signature, by their own names, which become aliases; as they are if the signature
    doesn't name all of them."""
    if not all(info.name in names for info in infos):
        return infos
    return [replace(info, name=names[info.name], aliases=(info.name,)) for info in infos]


def _info(port: Any, name: str) -> TensorInfo:
    element = port.element_type.get_type_name()
    word = _ELEMENTS.get(element, "object")
    dtype = dtype_named(word)
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return TensorInfo(name, dtype, None, element)
    return TensorInfo(name, dtype, tuple(d.get_length() if d.is_static else str(d) for d in shape), element)


def _is_stoppable(model: ov.Model) -> bool:
    """Whether a model can be run again after it was stopped. Where dims depend on what is computed, OpenVINO would go
    on with those of the run that was stopped."""
    return not model.is_dynamic() and not any(op.get_type_name() in _WITH_BODIES for op in model.get_ops())


def _may_run_on_callers_thread(compiled: ov.CompiledModel) -> bool:
    """Whether a compute on the caller's thread takes no other thread's turn, and leaves the thread as it was."""
    return compiled.get_property("INFERENCE_NUM_THREADS") == 1 and not compiled.get_property("ENABLE_CPU_PINNING")


_WITH_BODIES = ("If", "Loop", "TensorIterator")
