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

from wasi_nn.backends.pytorch.program import require_harmless_programs, require_no_objects
from wasi_nn.backends.pytorch.tensors import NUMBERS, ModuleCall, TorchGraph, dtype_of, named_leaves
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.export.graph_signature import InputSpec, OutputSpec

    from wasi_nn.types import Array

# torch keeps the program that it loads in a global variable, so loading a second one at the same time fails.
_LOADING = threading.Lock()


def open_exported(model: bytes | Path, device: str, *, trusted: bool) -> Graph:
    """Load an exported program. Raises `NNError` with `security` for one that isn't `trusted` and might do harm."""
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
    name = "model" if "model" in programs or len(programs) != 1 else next(iter(programs))
    if name not in programs:
        message = f"the archive has no program called 'model' (it has {', '.join(programs) or 'none'})"
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(message))
    program = programs[name]
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return ExportedGraph(program, device, torch_version)


def _torch_version(reader: torch._C.PyTorchFileReader) -> str:
    """The version of torch that wrote the archive; an empty text if the archive doesn't say."""
    models = [name for name in reader.get_all_records() if name.startswith("models/")]
    versions = [re.findall(rb'"torch_version": "([^"]*)"', reader.get_record(name)) for name in models]
    return printable(b"".join(versions[0][-1:]).decode(errors="replace")) if versions else ""


class ExportedGraph(TorchGraph):
    """An exported program."""

    def __init__(self, program: ExportedProgram, device: str, torch_version: str) -> None:
        from torch.utils._pytree import tree_unflatten

        signature = program.graph_signature
        meta = {node.name: node.meta.get("val") for node in program.graph.nodes}
        self._arguments = [_argument(spec, meta) for spec in signature.input_specs if spec.kind.name == "USER_INPUT"]
        results = [_result(spec, meta) for spec in signature.output_specs if spec.kind.name == "USER_OUTPUT"]
        outputs = tree_unflatten(results, program.call_spec.out_spec)
        super().__init__(
            [argument for argument in self._arguments if isinstance(argument, TensorInfo)],
            [replace(info, name=name) for name, info in named_leaves(outputs)],
            {"kind": "exported program", "torch": torch_version},
        )
        self.device = device
        self.writes, self.keeps_state = _effects_of(program)
        self._in_spec = program.call_spec.in_spec
        self._program = program
        self._module = program.module()
        self.weights = frozenset(
            tensor.untyped_storage().data_ptr() for _, own in _tensors_of(self._module) for tensor in own.values()
        )

    def call(self) -> ModuleCall:
        from torch.utils._pytree import tree_leaves, tree_unflatten

        module = self._copy() if self.keeps_state else self._module
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
        with _LOADING:
            module = self._program.module()
        copies: dict[int, Any] = {}  # one for all parts: names that share a tensor then share its copy
        for attributes, own in _tensors_of(module):
            attributes.update(copy.deepcopy(own, copies))
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


def _tensors_of(module: torch.nn.Module) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    """The dicts of attributes of a module and its submodules, each with the tensors in it."""
    import torch

    for part in module.modules():
        for attributes in (part._parameters, part._buffers, part.__dict__):
            yield attributes, {name: value for name, value in attributes.items() if isinstance(value, torch.Tensor)}


def _effects_of(program: ExportedProgram) -> tuple[bool, bool]:
    """Whether a program writes to any tensor, and whether it writes to its own weights and buffers."""
    kinds = {spec.kind.name for spec in program.graph_signature.output_specs}
    own = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name != "USER_INPUT"}
    keeps_state = not kinds.isdisjoint({"BUFFER_MUTATION", "PARAMETER_MUTATION"})
    writes = keeps_state or "USER_INPUT_MUTATION" in kinds
    for graph in (part.graph for part in program.graph_module.modules() if hasattr(part, "graph")):
        views = {node for node in graph.nodes if node.name in own}  # nodes whose values share the program's own tensors
        for node in graph.nodes:
            schema = getattr(node.target, "_schema", None)
            if node.op != "call_function" or schema is None:
                continue
            # A node has some arguments by position and the others by name.
            values = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
            aliased = [argument for argument in schema.arguments if argument.alias_info is not None]
            written = [argument for argument in aliased if argument.alias_info.is_write]
            writes = writes or bool(written)
            keeps_state = keeps_state or any(values.get(argument.name) in views for argument in written)
            if any(values.get(argument.name) in views for argument in aliased):
                views.add(node)
    return writes, keeps_state
