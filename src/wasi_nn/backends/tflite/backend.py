"""TensorFlow Lite models, run by LiteRT.

A graph has one builder, the model. A named graph is a file, or a directory with `model.tflite`. Tensors have the names
of the model's signature, and their own as aliases; only their own if it has no signature. Quantised tensors are raw, as
the model stores them, and `Graph.metadata` has their scales and zero points.

Options: `threads` (the default is 1; 0 means 1 too), `signature` (the name of the signature to run, if the model has
several).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import CPU, Device, choose_device
from wasi_nn.backends.options import check_options, is_text, is_thread_count, only_builder
from wasi_nn.backends.tflite.model import cut_short_tflite, is_tflite, keeps_state, require_sound
from wasi_nn.backends.tflite.signatures import choose_signature, described_signatures, read_signatures
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import RunFunction, Runner, failure, reused
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process import quiet
from wasi_nn.types import Dims, ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from wasi_nn.types import Array

Result = TypeVar("Result")


class TfliteBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "ai_edge_litert"
    extra = "tflite"
    model_files = ("model.tflite",)
    withstands_hostile_bytes = True

    def sniff(self, model: memoryview) -> bool:
        return is_tflite(model)

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_tflite(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return self._load(only_builder(self.encoding, builders), False, target, options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return self._load(path.read_bytes(), True, target, options)

    def _load(self, model: bytes, trusted: bool, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        choose_device([CPU], target, "ai-edge-litert")
        self.check_options(options)
        require_sound(model, trusted=trusted)
        return TfliteGraph(model, **options)

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(self.encoding, options, {"threads": is_thread_count, "signature": is_text})

    def list_devices(self) -> Sequence[Device]:
        import ai_edge_litert.interpreter  # noqa: F401  raises if it isn't installed

        return [CPU]


class TfliteGraph(Graph):
    """The bytes of a model. Each context has its own interpreter, because two threads can't share one."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "ai_edge_litert"

    def __init__(self, model: bytes, threads: int = 1, signature: str | None = None) -> None:
        self._model = model
        self.keeps_state = keeps_state(model)
        self._threads = threads
        interpreter = self._interpreter()
        signatures = read_signatures(memoryview(model))
        chosen = choose_signature(signatures, signature)
        self._signature = None if chosen is None else chosen.name
        inputs, outputs = _details(interpreter, self._signature)
        metadata = {
            f"quantization of {name}": "scale {}, zero point {}".format(*tensor["quantization"])
            for name, tensor in (*inputs, *outputs)
            if tensor["quantization"][0]
        }
        super().__init__(
            [_info(name, tensor) for name, tensor in inputs],
            [_info(name, tensor) for name, tensor in outputs],
            metadata | described_signatures(signatures, chosen),
        )
        self._places = _places_in_main_graph(interpreter, inputs, outputs)

    def runner(self) -> Runner | RunFunction:
        interpreter = self._interpreter()
        if self._places is None:
            assert self._signature is not None  # a model without signatures has only its main graph
            return partial(self._run_signature, interpreter.get_signature_runner(self._signature))
        return _MainGraphRunner(interpreter, self.inputs, self.outputs, *self._places)

    def _interpreter(self) -> Interpreter:
        import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which LiteRT needs
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=self._model, num_threads=self._threads or 1)

    def _run_signature(self, run: Any, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        outputs = _quietly_once(lambda: run(**{it.name: array for it, array in zip(self.inputs, inputs, strict=True)}))
        return [np.asarray(outputs[info.name]) for info in self.outputs]


_has_allocated = False


def _quietly_once(call: Callable[[], Result]) -> Result:
    """Make a call that allocates tensors. At the first one in a process, LiteRT prints the delegate that it uses."""
    global _has_allocated
    if _has_allocated:
        return call()
    result = quiet.call(call)
    _has_allocated = True
    return result


_Named = Sequence[tuple[str, Mapping[str, Any]]]
"""The interpreter's details of tensors, each with its name for callers. Without a signature, names may be equal."""


def _details(interpreter: Interpreter, signature: str | None) -> tuple[_Named, _Named]:
    """The details of the inputs and outputs of a signature, in the order of `_ordered`."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if signature is None:
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


class _MainGraphRunner(Runner):
    """Runs the main graph of an interpreter.

    If the dimensions of all inputs are fixed, the interpreter's tensors stay at their addresses. Inputs are then
    written into these tensors, and outputs are read from them, without a copy in between.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        input_places: Sequence[int],
        output_places: Sequence[int],
    ) -> None:
        self._interpreter = interpreter
        self._infos = dict(zip((*input_places, *output_places), (*inputs, *outputs), strict=True))
        self._inputs, self._outputs = input_places, output_places
        self._dims: list[Dims] = []
        self._input_arrays: dict[int, Array] = {}  # arrays over the memory of the interpreter's inputs
        self._output_arrays: dict[int, Array] = {}  # and of its outputs
        self._tensors_stay = all(info.has_fixed_dims for info in inputs)
        self._fixed_outputs = [
            index for index, info in enumerate(outputs) if self._tensors_stay and info.has_fixed_dims
        ]

    def input_buffer(self, index: int, dims: Dims) -> Array | None:
        if not self._tensors_stay:
            return None
        if index not in self._input_arrays:
            try:
                if not self._input_arrays:
                    _quietly_once(self._interpreter.allocate_tensors)
                buffer = self._in_place(self._inputs[index])
            except (RuntimeError, ValueError) as error:  # the interpreter rejects the model
                raise failure(error) from error
            if buffer is None:
                return None
            self._input_arrays[index] = buffer
        return self._input_arrays[index]

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        self._resize([array.shape for array in inputs])
        # A named compute must leave the inputs that are set, and the outputs of the last compute, as they are.
        kept = [own for index, own in self._input_arrays.items() if inputs[index] is not own]
        if reuse is None:
            kept += self._output_arrays.values()
        aside = [(own, own.copy()) for own in kept]
        try:
            for index, array in enumerate(inputs):
                if array is not self._input_arrays.get(index):
                    self._interpreter.set_tensor(self._inputs[index], array)
            self._interpreter.invoke()
            if reuse is None:
                return [self._copy(place) for place in self._outputs]
        finally:
            for own, content in aside:
                own[...] = content
        self._look_at_outputs()
        outputs = [
            self._output_arrays[index] if index in self._output_arrays else self._copy(place)
            for index, place in enumerate(self._outputs)
        ]
        return reused(outputs, reuse)

    def _resize(self, dims: list[Dims]) -> None:
        if dims == self._dims:
            return
        self._dims = []
        if not self._tensors_stay:
            for place, shape in zip(self._inputs, dims, strict=True):
                self._interpreter.resize_tensor_input(place, shape)
        if not self._input_arrays:  # else it is done already, and the written inputs must not move
            _quietly_once(self._interpreter.allocate_tensors)
        self._dims = dims

    def _look_at_outputs(self) -> None:
        for index in self._fixed_outputs:
            view = self._in_place(self._outputs[index])
            if view is not None and not any(np.may_share_memory(view, own) for own in self._input_arrays.values()):
                self._output_arrays[index] = view
        self._fixed_outputs = []

    def _copy(self, place: int) -> Array:
        return np.asarray(self._interpreter.get_tensor(place))

    def _in_place(self, place: int) -> Array | None:
        """An array over the memory of a tensor of numbers; None for strings, with which LiteRT crashes here, and for a
        tensor without elements.

        LiteRT refuses to run while one of its own arrays is alive. So this array is made of the address alone.
        """
        dtype = self._infos[place].dtype
        if dtype is None or dtype.hasobject:
            return None
        array: Array = self._interpreter.tensor(place)()
        if array.size == 0:
            return None
        seen: Array = np.asarray(_Memory(self._interpreter, array))
        return seen.view(array.dtype).reshape(array.shape)


class _Memory:
    """Shows the bytes of a tensor to numpy, and keeps the interpreter alive, which owns them."""

    def __init__(self, interpreter: Interpreter, array: Array) -> None:
        self._interpreter = interpreter
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (array.nbytes,),
            "data": (array.ctypes.data, False),
        }
