"""Runs TorchScript archives (`torch.jit.save`) as graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.pytorch.archive import require_harmless_functions
from wasi_nn.backends.pytorch.effects import Effects, effects_of
from wasi_nn.backends.pytorch.tensors import named_leaves
from wasi_nn.backends.pytorch.torch_graph import (
    ModuleCall,
    TorchGraph,
    TorchVariables,
    storage_bytes,
)
from wasi_nn.backends.signature_choice import choose_signature, described_signatures
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.graph.variables import Variables, require_signature

if TYPE_CHECKING:
    import torch

    from wasi_nn.types import Array, DType


_USUAL = ("forward", "infer")  # the method that a graph runs by default: the first of these that the model has


def open_script(model: bytes | Path, device: str, signature: str | None, *, trusted: bool) -> Graph:
    """Load a TorchScript archive; the graph runs the method `signature`, or the usual one. Raises `NNError` with
    `security` for an archive that isn't `trusted` and might do harm."""
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
    script = _Script(wrap(loaded).eval(), device)
    return ScriptGraph(script, choose_signature(sorted(script.methods), signature, _USUAL), script.module)


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
    """An argument of a method, which takes one or more of the graph's inputs."""

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


class _Method:
    """A method of a module: a signature of the model. Raises `NNError` with `unsupported-operation` for a method that
    can't be called with tensors."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.arguments = [_Argument(argument) for argument in method.schema.arguments[1:]]
        self.outputs: list[TensorInfo] | None = []
        try:
            for name, value in named_leaves(_structure(method.schema.returns[0].type)):
                self.outputs.append(TensorInfo(name, value.dtype, value.dims))
        except TypeError:
            self.outputs = None

    @cached_property
    def effects(self) -> Effects:
        """What the method changes."""
        return effects_of(self._method.inlined_graph)


class _Script:
    """A loaded module and its methods.

    Methods that a module's author meant for other methods aren't offered: those whose names begin with an underscore,
    and those that can't be called with tensors.
    """

    def __init__(self, module: Any, device: str) -> None:
        self.module = module
        self.device = device
        self.methods: dict[str, _Method] = {}
        refusals: dict[str, NNError] = {}
        for name in sorted(module._c._method_names()):
            if not name.startswith("_"):
                try:
                    self.methods[name] = _Method(module._c._get_method(name))
                except NNError as error:
                    refusals[name] = error
        if not self.methods:
            raise refusals.get("forward") or next(iter(refusals.values()), None) or _nothing_to_run()

    def effects(self, name: str) -> Effects:
        """What a method changes."""
        has_hooks = self.module._c._get_forward_hooks() or self.module._c._get_forward_pre_hooks()
        # The method's graph doesn't contain the hooks.
        return Effects(True, True, False) if name == "forward" and has_hooks else self.methods[name].effects

    def variables(self) -> TorchVariables:
        """A new set of variables: a copy of the module, which all methods share."""
        effects = [self.effects(name) for name in self.methods]
        is_own = any(it.needs_own_module for it in effects)
        module = _copied(self.module) if is_own else self.module
        tensors = partial(_variables_of, module)
        return TorchVariables(
            tensors if any(it.keeps_state for it in effects) else dict[str, Any],
            lambda name, shared: ScriptGraph(self, name, module, shared),
            storage_bytes(tensors().values()) if is_own else 0,
            takes_turns=is_own,
        )


def _nothing_to_run() -> NNError:
    message = "the TorchScript model has no method 'forward' to run, and no other that torch.jit.export offers"
    return NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


class ScriptGraph(TorchGraph):
    """A method of a TorchScript module. The graphs of a set of variables have one module."""

    def __init__(self, script: _Script, name: str, module: Any, shared: TorchVariables | None = None) -> None:
        require_signature(name, script.methods)
        self._script, self._module, self.shared = script, module, shared
        self.signature, self.signatures = name, tuple(script.methods)
        method = script.methods[name]
        self._arguments = method.arguments
        self.outputs_vary = method.outputs is None
        described = {"kind": "TorchScript", "module": module.original_name}
        super().__init__(
            [info for argument in self._arguments for info in argument.inputs()],
            method.outputs or (),
            described | described_signatures(sorted(self.signatures), name),
        )
        self.device = script.device
        self._effects = script.effects(name)
        self.writes, self.keeps_state, self.learns = self._effects

    def variables(self) -> Variables:
        has_state = any(self._script.effects(name).keeps_state for name in self.signatures)
        return self._script.variables() if has_state or len(self.signatures) > 1 else super().variables()

    def call(self) -> ModuleCall:
        is_own = self._effects.needs_own_module and self.shared is None
        module = _copied(self._module) if is_own else self._module
        # A module that is called runs its hooks too, which its method doesn't.
        method = module if self.signature == "forward" else module._c._get_method(self.signature)

        def run(inputs: Sequence[Array], tensor: Callable[[Array], torch.Tensor]) -> Any:
            arrays = iter(inputs)
            try:
                return method(*[argument.build(arrays, tensor) for argument in self._arguments])
            finally:
                if self.learns:
                    _forget_history(module)

        return run


def _variables_of(module: Any) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module, as in its `state_dict`, and then the other tensors that are its
    attributes."""
    tensors: dict[str, torch.Tensor] = module.state_dict(keep_vars=True)
    others = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for name, (kind, _) in part._concrete_type.get_attributes().items():
            full = f"{path}.{name}" if path else name
            if full not in tensors and kind.kind() == "TensorType":
                others[full] = part._c.getattr(name)
    return {**tensors, **{name: others[name] for name in sorted(others)}}


def _copied(module: Any) -> Any:
    """A copy of a module that shares no tensor with it."""
    made = copy.deepcopy(module)
    _forget_history(made)  # torch records the copying
    return made


def _forget_history(module: Any) -> None:
    """Drop the gradients of a module's tensors, and the record of how they were computed, which would grow with each
    compute."""
    known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # a tensor that has several names stays one
    for part in module.modules():
        for name, (_, is_parameter) in part._concrete_type.get_attributes().items():
            value = part._c.getattr(name)
            plain = _without_history(value, known)
            if plain is not value:
                part._c.setattr(name, plain.requires_grad_() if is_parameter else plain)


def _without_history(value: Any, known: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """A value of TorchScript without the history of its tensors; the same object if they have none. `known` has each
    tensor with a history, by its `id`, and the one that takes its place."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.grad_fn is not None:
            return known.setdefault(id(value), (value, value.detach()))[1]
        value.grad = None
    elif isinstance(value, list | tuple):
        parts = [_without_history(part, known) for part in value]
        return value if all(map(is_, parts, value)) else type(value)(parts)
    elif isinstance(value, dict):
        plain = {key: _without_history(part, known) for key, part in value.items()}
        return value if all(plain[key] is part for key, part in value.items()) else plain
    return value
