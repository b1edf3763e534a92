"""Runs exported programs (`torch.export.save`, .pt2) as graphs."""

from __future__ import annotations

import copy
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.pytorch.effects import effects_of_program
from wasi_nn.backends.pytorch.program import require_harmless_programs, require_no_objects
from wasi_nn.backends.pytorch.tensors import NUMBERS, dtype_of, named_leaves
from wasi_nn.backends.pytorch.torch_graph import (
    ModuleCall,
    TorchGraph,
    TorchVariables,
    storage_bytes,
)
from wasi_nn.backends.signature_choice import choose_signature, described_signatures
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.graph.variables import Variables, require_signature

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.export.graph_signature import InputSpec, OutputSpec

    from wasi_nn.types import Array

# torch keeps the program that it loads in a global variable, so loading a second one at the same time fails.
_LOADING = threading.Lock()


_USUAL = ("model", "forward", "infer")  # the program that a graph runs by default: the first of these that there is


def open_exported(model: bytes | Path, device: str, signature: str | None, *, trusted: bool) -> Graph:
    """Load an archive of exported programs; the graph runs the program `signature`, or the usual one. Raises `NNError`
    with `security` for an archive that isn't `trusted` and might do harm."""
    import torch

    try:
        from torch.export.pt2_archive._package import load_pt2
    except ImportError as error:
        message = f"torch {torch.__version__} can't load exported programs (.pt2); install a newer one"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message) from error
    with io.BytesIO(model) if isinstance(model, bytes) else open(model, "rb") as file:
        reader = torch._C.PyTorchFileReader(file)
        require_no_objects(reader)
        if not trusted:
            require_harmless_programs(reader)
        torch_version = _torch_version(reader)
        file.seek(0)
        with _LOADING:
            programs = load_pt2(file).exported_programs
    if not programs:
        raise NNError(ErrorCode.RUNTIME_ERROR, "the archive has no program to run")
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        programs = {name: move_to_device_pass(program, device) for name, program in programs.items()}
    archive = _Archive(programs, device, torch_version)
    name = choose_signature(sorted(programs), signature, _USUAL)
    return ExportedGraph(archive, name, _module_of(programs[name]))


def _torch_version(reader: torch._C.PyTorchFileReader) -> str:
    """The version of torch that wrote the archive; an empty text if the archive doesn't say."""
    models = [name for name in reader.get_all_records() if name.startswith("models/")]
    versions = [re.findall(rb'"torch_version": "([^"]*)"', reader.get_record(name)) for name in models]
    return printable(b"".join(versions[0][-1:]).decode(errors="replace")) if versions else ""


class _Archive:
    """The programs of an archive: the signatures of the model."""

    def __init__(self, programs: Mapping[str, ExportedProgram], device: str, torch_version: str) -> None:
        self.programs = programs
        self.device = device
        self.torch_version = torch_version
        self.effects = {name: effects_of_program(program) for name, program in programs.items()}

    @property
    def keeps_state(self) -> bool:
        """Whether a program changes its own tensors."""
        return any(effects.keeps_state for effects in self.effects.values())

    def variables(self) -> TorchVariables:
        """A new set of variables, which all programs share where they have the same variables."""
        modules = {name: _module_of(program) for name, program in self.programs.items()}
        variables = copied_together(modules) if self.keeps_state else {}

        def on_set(name: str, shared: TorchVariables) -> ExportedGraph:
            require_signature(name, modules)
            return ExportedGraph(self, name, modules[name], shared)

        own = (
            tensor
            for module in modules.values()
            for _, _, tensors in _tensors_of(module)
            for tensor in tensors.values()
        )
        return TorchVariables(
            lambda: variables,
            on_set,
            storage_bytes(own) if self.keeps_state else 0,
            takes_turns=self.keeps_state,
        )


def _module_of(program: ExportedProgram) -> torch.nn.Module:
    """A new module that runs a program on the program's own tensors."""
    with _LOADING:
        return program.module()


class ExportedGraph(TorchGraph):
    """An exported program. The graphs of a set of variables have modules with the tensors of the set."""

    def __init__(
        self, archive: _Archive, name: str, module: torch.nn.Module, shared: TorchVariables | None = None
    ) -> None:
        from torch.utils._pytree import tree_unflatten

        self._archive, self._module, self.shared = archive, module, shared
        self._program = program = archive.programs[name]
        self.signature, self.signatures = name, tuple(archive.programs)
        signature = program.graph_signature
        meta = {node.name: node.meta.get("val") for node in program.graph.nodes}
        self._arguments = [_argument(spec, meta) for spec in signature.input_specs if spec.kind.name == "USER_INPUT"]
        results = [_result(spec, meta) for spec in signature.output_specs if spec.kind.name == "USER_OUTPUT"]
        outputs = tree_unflatten(results, program.call_spec.out_spec)
        described = {"kind": "exported program", "torch": archive.torch_version}
        super().__init__(
            [argument for argument in self._arguments if isinstance(argument, TensorInfo)],
            [replace(info, name=name) for name, info in named_leaves(outputs)],
            described | described_signatures(sorted(self.signatures), name),
        )
        self.device = archive.device
        self.writes, self.keeps_state, self.learns = archive.effects[name]
        self._in_spec = program.call_spec.in_spec
        self.weights = frozenset(
            tensor.untyped_storage().data_ptr() for _, _, own in _tensors_of(module) for tensor in own.values()
        )

    def variables(self) -> Variables:
        has_any = self._archive.keeps_state or len(self.signatures) > 1
        return self._archive.variables() if has_any else super().variables()

    def call(self) -> ModuleCall:
        from torch.utils._pytree import tree_leaves, tree_unflatten

        module = self._copy() if self.keeps_state and self.shared is None else self._module
        names = [info.name for info in self.outputs]

        def run(inputs: Sequence[Array], tensor: Callable[[Array], torch.Tensor]) -> Any:
            arrays = iter(inputs)
            flat = [
                argument.value if isinstance(argument, _Constant) else _value(argument, next(arrays), tensor)
                for argument in self._arguments
            ]
            positional, named = tree_unflatten(flat, self._in_spec)
            try:
                result = module(*positional, **named)
            except AssertionError as error:  # a guard: the program wasn't exported for these dims
                message = f"the inputs don't fit the exported program: {one_line(error)}"
                raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
            return dict(zip(names, (leaf for leaf in tree_leaves(result) if leaf is not None), strict=True))

        return run

    def _copy(self) -> torch.nn.Module:
        """A copy of the module that shares no tensor with it."""
        module = _module_of(self._program)
        copied_together({self.signature: module})
        return module


@dataclass(frozen=True)
class _Constant:
    """An argument that became a constant of the program when it was exported."""

    value: Any


_SCALARS = {"SymIntArgument": np.int64, "SymFloatArgument": np.float64, "SymBoolArgument": np.bool_}


def _argument(spec: InputSpec, meta: Mapping[str, Any]) -> TensorInfo | _Constant:
    argument: Any = spec.arg
    return _Constant(argument.value) if type(argument).__name__ == "ConstantArgument" else _info(argument, meta)


def _result(spec: OutputSpec, meta: Mapping[str, Any]) -> TensorInfo | None:
    argument: Any = spec.arg
    if type(argument).__name__ != "ConstantArgument":
        return _info(argument, meta)
    if type(argument.value) in NUMBERS:
        return TensorInfo("", np.dtype(NUMBERS[type(argument.value)]), ())
    return None


def _info(argument: Any, meta: Mapping[str, Any]) -> TensorInfo:
    """The description of a tensor or a number of the program. `meta` has the value of each node at the export."""
    kind = type(argument).__name__
    if kind in _SCALARS:
        return TensorInfo(argument.name, np.dtype(_SCALARS[kind]), ())
    if kind != "TensorArgument":
        message = f"the exported program has an input or output of type {kind}, for which wasi-nn has no tensors"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    value = meta[argument.name]
    dims = tuple(dim if type(dim) is int else str(dim) for dim in value.shape)
    native = str(value.dtype).removeprefix("torch.")
    return TensorInfo(argument.name, dtype_of(native), dims, native)


def _value(info: TensorInfo, array: Array, tensor: Callable[[Array], torch.Tensor]) -> Any:
    """The value of an argument: a tensor, or a number, whose `info` has no dtype of torch's."""
    return tensor(array) if info.native else array.item()


def _tensors_of(
    module: torch.nn.Module,
) -> Iterator[tuple[str | None, dict[str, Any], dict[str, torch.Tensor]]]:
    """The dicts of attributes of a module and its submodules, each with the tensors in it, and before it the beginning
    of their names as variables; None for tensors that are no variables."""
    import torch

    for path, part in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for start, attributes in ((prefix, part._parameters), (prefix, part._buffers), (None, part.__dict__)):
            own = {name: value for name, value in attributes.items() if isinstance(value, torch.Tensor)}
            yield start, attributes, own


def copied_together(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Give programs' modules copies of their tensors; returns the copies that are variables, by name.

    An archive has the weights of each program by themselves, also where programs were made of one module. So a variable
    of the same name, type, dimensions and values in two programs is one variable. One that has the same name only is
    called `PROGRAM:NAME` in the programs after the first.
    """
    copies: dict[int, Any] = {}  # one for all parts: names that share a tensor then share its copy
    variables: dict[str, torch.Tensor] = {}
    for program, module in modules.items():
        for start, attributes, own in _tensors_of(module):
            for name, tensor in own.items():
                full = "" if start is None else start + name
                if start is not None and full in variables and _is_same(tensor, variables[full]):
                    copies.setdefault(id(tensor), variables[full])
                made = attributes[name] = copy.deepcopy(tensor, copies)
                copies[id(made)] = made  # a submodule of several names comes again
                if start is not None and variables.setdefault(full, made) is not made:
                    variables[f"{program}:{full}"] = made
    return variables


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same type, dimensions and bytes."""
    import torch

    if (one.dtype, one.shape, one.layout) != (other.dtype, other.shape, other.layout):
        return False
    if one.layout is not torch.strided or one.is_quantized:
        return False
    with torch.no_grad():
        first, second = (tensor.detach().cpu().contiguous().reshape(-1) for tensor in (one, other))
        return torch.equal(first.view(torch.uint8), second.view(torch.uint8))
