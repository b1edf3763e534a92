"""TensorFlow Lite models, run by LiteRT.

A graph has one builder, the model. A named graph is a file, or a directory with `model.tflite`. Tensors have the names
of the model's signature, and their own as aliases; only their own if it has no signature. Quantised tensors are raw, as
the model stores them, and `Graph.metadata` has their scales and zero points.

Options: `threads` (the default is 1; 0 means 1 too), `signature` (the name of the signature to run, if the model has
several; the default is that of `wasi_nn.backends.signature_choice`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import CPU, Device, choose_device
from wasi_nn.backends.options import check_options, is_text, is_thread_count, only_builder
from wasi_nn.backends.tflite.interpreters import SignatureCall, TfliteModel, as_fed, quietly_once
from wasi_nn.backends.tflite.model import cut_short_tflite, is_tflite, keeps_state, require_sound
from wasi_nn.backends.tflite.signatures import choose_signature
from wasi_nn.backends.tflite.variables import TfliteVariables, require_variables
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import RunFunction, Runner, failure, reused
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import Dims, ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from wasi_nn.graph.variables import Variables
    from wasi_nn.types import Array


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
    """A model. Each context has its own interpreter, because two threads can't share one."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "ai_edge_litert"

    def __init__(self, model: bytes, threads: int = 1, signature: str | None = None) -> None:
        self.keeps_state = keeps_state(model)
        self._model = TfliteModel(model, threads)
        chosen = choose_signature(self._model.signatures, signature)
        self.signature = "" if chosen is None else chosen.name
        self.signatures = self._model.names
        interface = self._model.interface(self.signature)
        super().__init__(interface.inputs, interface.outputs, interface.metadata)
        self._places = interface.places

    def variables(self) -> Variables:
        if self._model.access is None and len(self.signatures) < 2:
            require_variables(self._model)
            return super().variables()
        return TfliteVariables(self._model)

    def runner(self) -> Runner | RunFunction:
        interpreter = self._model.interpreter()
        if self._places is None:
            names = ([info.name for info in infos] for infos in (self.inputs, self.outputs))
            return partial(_run_signature, SignatureCall(interpreter, self.signature, *names))
        return _MainGraphRunner(interpreter, self.inputs, self.outputs, *self._places)


def _run_signature(call: SignatureCall, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
    return call(inputs)


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
        self._dims: list[Dims] | None = None  # None: LiteRT has allocated no tensors for them yet
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
                    quietly_once(self._interpreter.allocate_tensors)
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
                    self._interpreter.set_tensor(self._inputs[index], as_fed(array))
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
        self._dims = None
        if not self._tensors_stay:
            for place, shape in zip(self._inputs, dims, strict=True):
                self._interpreter.resize_tensor_input(place, shape)
        if not self._input_arrays:  # else it is done already, and the written inputs must not move
            quietly_once(self._interpreter.allocate_tensors)
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
        """An array over the memory of a tensor of numbers; None for strings, with which LiteRT crashes here, for a
        tensor without elements, and for a scalar, of which LiteRT gives a copy.

        LiteRT refuses to run while one of its own arrays is alive. So this array is made of the address alone.
        """
        dtype = self._infos[place].dtype
        if dtype is None or dtype.hasobject:
            return None
        array: Array = self._interpreter.tensor(place)()
        if array.size == 0 or not isinstance(array, np.ndarray):
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
