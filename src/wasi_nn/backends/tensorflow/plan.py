"""Reads how to run a TensorFlow model from its protobufs, before TensorFlow runs anything of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.tensorflow.operations import Reach, keeps_state, node_name, reach
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
    needed: Reach


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

    @property
    def reaches(self) -> Sequence[Reach]:
        """Everything that TensorFlow may run of the model."""
        return [self.needed, *(step.needed for step in self.first)]


DEFAULT_SIGNATURE, DEFAULT_TAG = "serving_default", "serve"
LOADER_PREFIX = "__saved_model_"
"""The beginning of the names of signatures that TensorFlow's loader uses, not users."""
_INIT_SIGNATURE, _INIT_COLLECTIONS = "__saved_model_init_op", ("saved_model_main_op", "legacy_init_op")
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def saved_model_plan(tf: Any, model: bytes, folder: Path | None, options: Mapping[str, Any]) -> Plan:
    """How to run a SavedModel, whose variables and assets are in `folder`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    meta = _tagged(SavedModel.FromString(model).meta_graphs, options.get("tags"))
    signatures = {key: value for key, value in meta.signature_def.items() if not key.startswith(LOADER_PREFIX)}
    chosen = _choose_signature(sorted(signatures), options.get("signature"))
    signature = signatures[chosen]
    inputs = [_signature_port(tf, key, info, signature.defaults) for key, info in sorted(signature.inputs.items())]
    outputs = [_signature_port(tf, key, info, {}) for key, info in sorted(signature.outputs.items())]
    needed = reach(meta.graph_def, [port.tensor for port in (*inputs, *outputs)])
    first = []
    variables = folder / "variables" / "variables" if folder is not None else None
    if variables is not None and variables.with_suffix(".index").exists() and meta.saver_def.restore_op_name:
        first.append(_restore_step(meta, variables))
    elif any(name in needed.operations for name in _VARIABLES):
        raise NNError(
            ErrorCode.RUNTIME_ERROR,
            "the SavedModel's variables are missing: give the path of its folder, or a zip or tar file of all of it",
        )
    first += _init_steps(meta, folder)
    several = len(signatures) > 1
    metadata = {"signatures": ", ".join(sorted(signatures)), "signature": chosen} if several else {}
    metadata |= _metadata(meta.meta_info_def.tensorflow_version, needed)
    return Plan(meta.graph_def, meta.meta_info_def.stripped_op_list, inputs, outputs, needed, first, metadata)


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


def _choose_signature(names: Sequence[str], wanted: str | None) -> str:
    """The signature to run: the wanted one, else the only one, else the default one."""
    if not names:
        raise NNError(ErrorCode.RUNTIME_ERROR, "the SavedModel has no signatures, so it can't be run: save it with one")
    signature = wanted or (names[0] if len(names) == 1 else DEFAULT_SIGNATURE)
    if signature not in names:
        choice = "" if wanted else f" (choose one: {how_to_set_option('signature', names[0])})"
        message = f"the model has no signature {signature!r}; it has {', '.join(names)}{choice}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, printable(message))
    return signature


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
    return Step(node_name(saver.restore_op_name), {saver.filename_tensor_name: os.fsencode(variables)}, needed)


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
    unset = next((name for name in _VARIABLES if name in needed.operations), None)
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
