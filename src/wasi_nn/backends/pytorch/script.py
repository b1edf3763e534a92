"""Runs TorchScript archives (`torch.jit.save`) as graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.pytorch.archive import effects_of, require_harmless_functions
from wasi_nn.backends.pytorch.tensors import ModuleCall, TorchGraph, named_leaves
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT
from wasi_nn.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch

    from wasi_nn.types import Array, DType


def open_script(model: bytes | Path, device: str, *, trusted: bool) -> Graph:
    """Load a TorchScript archive. Raises `NNError` with `security` for one that isn't `trusted` and might do harm."""
    import torch

    internal: Any = torch._C
    unit = internal.CompilationUnit()
    torch_device = torch.device(device)
    # torch.jit.load calls these functions too, but warns first that it is deprecated.
    if isinstance(model, bytes):
        loaded = internal.import_ir_module_from_buffer(unit, model, torch_device, {}, False)
    else:
        loaded = internal.import_ir_module(unit, str(model), torch_device, {}, False)
    if not trusted:
        require_harmless_functions(unit.get_functions())
    wrap: Any = torch.jit._recursive.wrap_cpp_module
    module = wrap(loaded).eval()
    if not module._c._has_method("forward"):
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "the TorchScript model has no method 'forward' to run")
    return ScriptGraph(module, device)


@dataclass(frozen=True)
class _Value:
    """The type of a value that a model takes or returns: a tensor, a number or a list of numbers."""

    dtype: DType | None = None
    dims: tuple[int | str, ...] | None = None
    from_array: Callable[[Array], Any] | None = None  # converts an input's array, if the model takes no tensor


_NUMBERS = {
    "IntType": _Value(np.dtype(np.int64), (), np.ndarray.item),
    "FloatType": _Value(np.dtype(np.float64), (), np.ndarray.item),
    "BoolType": _Value(np.dtype(np.bool_), (), np.ndarray.item),
}


def _structure(kind: Any) -> Any:
    """The values that a TorchScript type consists of: a `_Value`, or for a tuple a (nested) tuple of them.

    Raises TypeError for a type that has no tensors or numbers, or not a fixed number of them.
    """
    match kind.kind():
        case "TensorType":
            return _Value()
        case "TupleType":
            return tuple(map(_structure, kind.elements()))
        case "ListType" if kind.getElementType().kind() in _NUMBERS:
            element = _NUMBERS[kind.getElementType().kind()]
            return _Value(element.dtype, ("?",), np.ndarray.tolist)
        case name if name in _NUMBERS:
            return _NUMBERS[name]
    raise TypeError(f"a value of type {kind.annotation_str}")


class _Argument:
    """An argument of `forward`, which takes one or more of the graph's inputs."""

    def __init__(self, argument: Any) -> None:
        kind = argument.type
        optional = kind.kind() == "OptionalType"
        self.name: str = argument.name
        self.optional = optional or argument.has_default_value()
        self.default = argument.default_value if argument.has_default_value() else None
        try:
            self._structure = _structure(kind.getElementType() if optional else kind)
        except TypeError as error:
            if not self.optional:
                message = f"the TorchScript model needs {error} for {self.name!r}, for which wasi-nn has no tensors"
                raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message) from error
            self._structure = ()
        self.values = [value for _, value in named_leaves(self._structure)]

    def inputs(self) -> Iterator[TensorInfo]:
        for name, value in named_leaves(self._structure, self.name):
            yield TensorInfo(name, value.dtype, value.dims, optional=self.optional)

    def build(self, arrays: Iterator[Array], tensor: Callable[[Array], torch.Tensor]) -> Any:
        """The argument's value, from the next of `arrays`: one for each of its inputs."""
        parts = [next(arrays) for _ in self.values]
        if self.optional and all(array is ABSENT for array in parts):
            return self.default
        if any(array is ABSENT for array in parts):
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"input {self.name!r} has several parts: set all of them, or none"
            )
        return _build(self._structure, iter(parts), tensor)


def _build(structure: Any, arrays: Iterator[Array], tensor: Callable[[Array], torch.Tensor]) -> Any:
    if isinstance(structure, tuple):
        return tuple(_build(part, arrays, tensor) for part in structure)
    return (structure.from_array or tensor)(next(arrays))


class ScriptGraph(TorchGraph):
    """A TorchScript module."""

    def __init__(self, module: Any, device: str) -> None:
        method = module._c._get_method("forward")
        self._module = module
        self._arguments = [_Argument(argument) for argument in method.schema.arguments[1:]]
        outputs: list[TensorInfo] = []
        try:
            for name, value in named_leaves(_structure(method.schema.returns[0].type)):
                outputs.append(TensorInfo(name, value.dtype, value.dims))
        except TypeError:
            outputs, self.outputs_vary = [], True
        super().__init__(
            [info for argument in self._arguments for info in argument.inputs()],
            outputs,
            {"kind": "TorchScript", "module": module.original_name},
        )
        self.device = device
        self.writes, self.keeps_state = effects_of(method.inlined_graph)
        if module._c._get_forward_hooks() or module._c._get_forward_pre_hooks():  # which the graph doesn't contain
            self.writes = self.keeps_state = True

    def call(self) -> ModuleCall:
        module = copy.deepcopy(self._module) if self.keeps_state else self._module

        def run(inputs: Sequence[Array], tensor: Callable[[Array], torch.Tensor]) -> Any:
            arrays = iter(inputs)
            return module(*[argument.build(arrays, tensor) for argument in self._arguments])

        return run
