"""Reads how to run a TensorFlow model from its protobufs, before TensorFlow runs anything of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.signature_choice import choose_signature, described_signatures
from wasi_nn.backends.tensorflow.operations import Reach, Walk, keeps_state, node_name, reach
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.settings import how_to_set_option

if TYPE_CHECKING:
    from wasi_nn.types import Array


@dataclass(frozen=True)
class Port:
    """An input or output of the graph."""

    name: str
    tensor: str
    """The tensor that has its value; or, without a `:`, a node, all of whose tensors are outputs."""
    dims: tuple[int | str, ...] | None = None
    """Its dimensions, if the model knows more of them than the graph does."""
    default: Array | None = None
    """The value of an input that isn't set."""


@dataclass(frozen=True)
class Step:
    """An operation that a session runs before the first compute: the tensors that it is fed, and what it reaches."""

    operation: str
    feeds: Mapping[str, bytes]
    """The paths of files, by the tensors that are fed them."""
    needed: Reach
    restores: bool = False
    """Whether it reads the variables from their files."""


@dataclass(frozen=True)
class Plan:
    """How to run a model."""

    definition: Any
    """Its GraphDef."""
    producer_operations: Any
    """The OpList of the TensorFlow that wrote it, with the defaults of attributes; None if the model has none."""
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    needed: Reach
    """What a compute runs."""
    first: Sequence[Step]
    """What each new session runs first, in this order."""
    metadata: Mapping[str, str]
    signature: str = ""
    """The name of its signature; empty for a GraphDef."""
    signatures: tuple[str, ...] = ()
    """The names of the model's signatures."""

    @property
    def reaches(self) -> Sequence[Reach]:
        """Everything that TensorFlow may run of the model."""
        return [self.needed, *(step.needed for step in self.first)]

    @property
    def has_more(self) -> bool:
        """Whether the model has other signatures, or variables."""
        return len(self.signatures) > 1 or any(kind in reach.operations for reach in self.reaches for kind in VARIABLES)


DEFAULT_TAG = "serve"
LOADER_PREFIX = "__saved_model_"
"""The beginning of the names of signatures that TensorFlow's loader uses, not users."""
_INIT_SIGNATURE, _INIT_COLLECTIONS = "__saved_model_init_op", ("saved_model_main_op", "legacy_init_op")
VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
"""The operations that are variables."""
_MAX_GRAPHS = 5  # of the largest size, that are looked through for all signatures together


class SavedModelPlans:
    """How to run the signatures of a SavedModel, whose variables and assets are in `folder`. `chosen` is the name of
    the signature to run by itself."""

    def __init__(self, tf: Any, model: bytes, folder: Path | None, options: Mapping[str, Any]) -> None:
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        self._tf = tf
        self._meta = meta = _tagged(SavedModel.FromString(model).meta_graphs, options.get("tags"))
        self.names = tuple(sorted(key for key in meta.signature_def if not key.startswith(LOADER_PREFIX)))
        if not self.names:
            message = "the SavedModel has no signatures, so it can't be run: save it with one"
            raise NNError(ErrorCode.RUNTIME_ERROR, message)
        self.chosen = choose_signature(self.names, options.get("signature") or None)
        variables = folder / "variables" / "variables" if folder is not None else None
        self._restore = []
        if variables is not None and variables.with_suffix(".index").exists() and meta.saver_def.restore_op_name:
            self._restore = [_restore_step(meta, variables)]
        self._first = [*self._restore, *_init_steps(meta, folder)]

    def plan(self, name: str, walk: Walk | None = None) -> Plan:
        """How to run a signature."""
        meta, signature = self._meta, self._meta.signature_def[name]
        defaults = signature.defaults
        inputs = [_signature_port(self._tf, key, info, defaults) for key, info in sorted(signature.inputs.items())]
        outputs = [_signature_port(self._tf, key, info, {}) for key, info in sorted(signature.outputs.items())]
        needed = (walk or Walk(meta.graph_def)).reach(port.tensor for port in (*inputs, *outputs))
        if not self._restore and any(kind in needed.operations for kind in VARIABLES):
            how = "give the path of its folder, or a zip or tar file of all of it"
            raise NNError(ErrorCode.RUNTIME_ERROR, f"the SavedModel's variables are missing: {how}")
        metadata = described_signatures(self.names, name) | _metadata(meta.meta_info_def.tensorflow_version, needed)
        operations = meta.meta_info_def.stripped_op_list
        return Plan(meta.graph_def, operations, inputs, outputs, needed, self._first, metadata, name, self.names)

    def plans(self, check: Callable[[Plan], object]) -> dict[str, Plan | NNError]:
        """How to run each signature, by its name; the error for one that `check` refuses, or that can't be run. Raises
        `NNError` with `too-large` for graphs that are too large to look through."""
        walk = Walk(self._meta.graph_def, _MAX_GRAPHS)
        plans: dict[str, Plan | NNError] = {}
        for name in self.names:
            try:
                plans[name] = plan = self.plan(name, walk)
                check(plan)
            except NNError as error:
                if error.code is ErrorCode.TOO_LARGE:
                    raise
                plans[name] = error
        return plans


def _tagged(metas: Sequence[Any], tags: list[str] | None) -> Any:
    """The meta graph with these tags. Without tags, the one with the default tag, or else the only one."""
    wanted = tags or [DEFAULT_TAG]
    available = [set(meta.meta_info_def.tags) for meta in metas]
    if set(wanted) in available:
        return metas[available.index(set(wanted))]
    if tags is None and len(metas) == 1:
        return metas[0]
    names = "; ".join(", ".join(sorted(each)) or "none" for each in available)
    tagged = [sorted(each) for each in available if each]
    choice = f" (choose one: {how_to_set_option('tags', tagged[0])})" if tags is None and tagged else ""
    message = f"the SavedModel has no graph tagged {', '.join(wanted)}; its graphs are tagged: {names}{choice}"
    raise NNError(ErrorCode.INVALID_ARGUMENT, printable(message))


def _signature_port(tf: Any, key: str, info: Any, defaults: Mapping[str, Any]) -> Port:
    if not info.name:
        raise NNError(
            ErrorCode.UNSUPPORTED_OPERATION, f"tensor {key!r} is sparse or ragged; wasi-nn has no such tensors"
        )
    shape = info.tensor_shape
    dims = None if shape.unknown_rank else tuple("?" if dim.size < 0 else dim.size for dim in shape.dim)
    known = dims if info.HasField("tensor_shape") else None
    default = tf.make_ndarray(defaults[key]) if key in defaults else None
    return Port(key, info.name, known, default)


def _restore_step(meta: Any, variables: Path) -> Step:
    """Reads the variables from their files."""
    saver = meta.saver_def
    needed = reach(meta.graph_def, [saver.restore_op_name], saver.filename_tensor_name)
    path = {saver.filename_tensor_name: os.fsencode(variables)}
    return Step(node_name(saver.restore_op_name), path, needed, restores=True)


def _init_steps(meta: Any, folder: Path | None) -> list[Step]:
    """Runs the model's own initialization, which fills its tables, for example. It is fed the paths of the assets."""
    names = [info.name for info in meta.signature_def[_INIT_SIGNATURE].outputs.values()]
    names += [name for key in _INIT_COLLECTIONS for name in meta.collection_def[key].node_list.value]
    if not names:
        return []
    needed = reach(meta.graph_def, names[:1])
    assets = (
        {}
        if folder is None
        else {asset.tensor_info.name: os.fsencode(folder / "assets" / asset.filename) for asset in meta.asset_file_def}
    )
    feeds = {tensor: path for tensor, path in assets.items() if node_name(tensor) in needed.nodes}
    return [Step(node_name(names[0]), feeds, needed)]


# The operations of nodes that are no outputs, although no other node consumes them.
_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_NO_OUTPUTS = _PLACEHOLDERS | {"Assert", "Assign", "Const", "NoOp"}


def outputs_of(definition: Any) -> list[str]:
    """The names of a GraphDef's outputs: the nodes that no other node consumes."""
    consumed = {node_name(name) for node in definition.node for name in node.input}
    nodes = {node.name: node.op for node in definition.node}
    return [name for name, op in nodes.items() if name not in consumed and op not in _NO_OUTPUTS]


def graph_def_plan(tf: Any, model: bytes, options: Mapping[str, Any]) -> Plan:
    """How to run a frozen GraphDef."""
    definition = tf.compat.v1.GraphDef.FromString(model)
    nodes = {node.name: node for node in definition.node}
    inputs = options.get("inputs") or [name for name, node in nodes.items() if node.op in _PLACEHOLDERS]
    outputs = options.get("outputs") or outputs_of(definition)
    for name in (*inputs, *outputs):
        if node_name(name) not in nodes:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"the graph has no tensor {name!r}")
    needed = reach(definition, (*inputs, *outputs))
    unset = next((name for name in VARIABLES if name in needed.operations), None)
    if unset is not None:
        raise NNError(
            ErrorCode.RUNTIME_ERROR,
            f"the graph isn't frozen: its variable {needed.operations[unset]!r} has no value",
        )
    whole_nodes = options.get("outputs") is None  # then every tensor of a node is an output
    return Plan(
        definition,
        None,
        [Port(name.removesuffix(":0"), _tensor_name(name)) for name in inputs],
        [Port(name.removesuffix(":0"), name if whole_nodes else _tensor_name(name)) for name in outputs],
        needed,
        [],
        _metadata("", needed),
    )


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _metadata(version: str, needed: Reach) -> dict[str, str]:
    state = "kept from one compute to the next, by each context for itself" if keeps_state(needed.operations) else ""
    return {"producer": f"TensorFlow {version}" if version else "", "state": state}
