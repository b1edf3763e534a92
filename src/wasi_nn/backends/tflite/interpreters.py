"""LiteRT's interpreters of a model, and the inputs and outputs of its signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from wasi_nn.backends.signature_choice import described_signatures
from wasi_nn.backends.tflite.signatures import read_signatures
from wasi_nn.backends.tflite.variable_access import has_variables, with_variable_access
from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process import quiet

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from wasi_nn.types import Array

Result = TypeVar("Result")


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a signature, or of the main graph of a model that has no signatures."""

    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    metadata: Mapping[str, str]
    places: tuple[list[int], list[int]] | None
    """The indexes of these inputs and outputs in the model's main graph; None if they aren't all of its inputs and
    outputs."""


class TfliteModel:
    """The bytes of a sound model, with what it takes to read and set its variables where that is possible."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self.signatures = read_signatures(memoryview(content))
        self.names = tuple(signature.name for signature in self.signatures)
        self.has_variables = has_variables(content)
        self.access = with_variable_access(content) if self.has_variables else None
        """None: the variables, if there are any, can't be read."""
        self._content = content if self.access is None else self.access.model
        self._threads = threads

    def interpreter(self) -> Interpreter:
        """A new interpreter."""
        import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which LiteRT needs
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=self._content, num_threads=self._threads or 1)

    def interface(self, signature: str) -> Interface:
        """The inputs and outputs of a signature; those of the main graph for an empty name."""
        interpreter = self.interpreter()
        inputs, outputs = _details(interpreter, signature)
        is_of_main = all(it.graph == 0 for it in self.signatures if it.name == signature)
        metadata = {
            f"quantization of {name}": "scale {}, zero point {}".format(*tensor["quantization"])
            for name, tensor in (*inputs, *outputs)
            if tensor["quantization"][0]
        } | described_signatures(self.names, signature)
        places = _places_in_main_graph(interpreter, inputs, outputs) if is_of_main else None
        infos_in, infos_out = ([_info(name, tensor) for name, tensor in named] for named in (inputs, outputs))
        return Interface(infos_in, infos_out, metadata, places)


class SignatureCall:
    """Runs a signature of an interpreter, whose inputs and outputs have these names."""

    def __init__(self, interpreter: Interpreter, signature: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        self._run = interpreter.get_signature_runner(signature)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def __call__(self, inputs: Sequence[Array]) -> Sequence[Array]:
        fed = dict(zip(self._inputs, map(as_fed, inputs), strict=True))
        outputs = quietly_once(lambda: self._run(**fed))
        return [np.asarray(outputs[name]) for name in self._outputs]


def as_fed(array: Array) -> Array:
    """An array as LiteRT takes it: a single string as bytes in the array itself, since LiteRT takes the address of an
    object for a string."""
    if array.dtype != object or array.ndim:
        return array
    (string,) = as_bytes(array)
    single: Array = np.ndarray((), f"S{len(string)}", string or b"-")  # numpy makes no array without a buffer's byte
    return single


_has_allocated = False


def quietly_once(call: Callable[[], Result]) -> Result:
    """Make a call that allocates tensors. At the first one in a process, LiteRT prints the delegate that it uses."""
    global _has_allocated
    if _has_allocated:
        return call()
    result = quiet.call(call)
    _has_allocated = True
    return result


_Named = Sequence[tuple[str, Mapping[str, Any]]]
"""The interpreter's details of tensors, each with its name for callers. Without a signature, names may be equal."""


def _details(interpreter: Interpreter, signature: str) -> tuple[_Named, _Named]:
    """The details of the inputs and outputs of a signature, in the order of `_ordered`."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if not signature:
        return _under_own_names(inputs), _under_own_names(outputs)
    runner = interpreter.get_signature_runner(signature)
    return _ordered(runner.get_input_details(), inputs), _ordered(runner.get_output_details(), outputs)


def _key(tensor: Mapping[str, Any]) -> tuple[str, int]:
    return tensor["name"], tensor["index"]


def _under_own_names(tensors: Sequence[Mapping[str, Any]]) -> _Named:
    """Tensors under their own names, each once."""
    return [(tensor["name"], tensor) for tensor in {tensor["index"]: tensor for tensor in tensors}.values()]


def _ordered(named: Mapping[str, Any], declared: Sequence[Mapping[str, Any]]) -> _Named:
    """The tensors of a signature, which has no order: in the order of the main graph if they are its tensors."""
    place = {_key(tensor): place for place, tensor in enumerate(declared)}
    if {_key(tensor) for tensor in named.values()} != set(place):
        return list(named.items())
    return sorted(named.items(), key=lambda item: place[_key(item[1])])


def _places_in_main_graph(
    interpreter: Interpreter, inputs: _Named, outputs: _Named
) -> tuple[list[int], list[int]] | None:
    """The indexes of these tensors in the model's main graph; None if they aren't all of its inputs and outputs."""
    main = interpreter.get_input_details(), interpreter.get_output_details()
    if any(
        {_key(tensor) for _, tensor in named} != set(map(_key, all_of_main))
        for named, all_of_main in zip((inputs, outputs), main, strict=True)
    ):
        return None
    return [tensor["index"] for _, tensor in inputs], [tensor["index"] for _, tensor in outputs]


def _info(name: str, tensor: Mapping[str, Any]) -> TensorInfo:
    dtype = np.dtype(tensor["dtype"])
    is_text = dtype.kind == "S"
    declared = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
    dims = tuple("?" if dim < 0 else int(dim) for dim in declared)
    scale, zero_point = tensor["quantization"]
    return TensorInfo(
        name,
        np.dtype(object) if is_text else dtype,
        dims,
        "string" if is_text else dtype.name,
        quantization=(float(scale), int(zero_point)) if scale else None,
        aliases=() if tensor["name"] == name else (tensor["name"],),
    )
