"""What is to be made of a TensorFlow model: read from its protobufs, before TensorFlow runs anything of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.tensorflow.operations import Reach, keeps_state, node_name, reach
from wasi_nn.errors import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.types import Array


@dataclass(frozen=True)
class Port:
    """An input or output: the tensor that has its value (all of a node's, if it is a node), its dims where they are
    known better than from the graph, and the value that stands for an input that isn't set."""

    name: str
    tensor: str
    dims: tuple[int | str, ...] | None = None
    default: Array | None = None


@dataclass(frozen=True)
class Step:
    """Something to be run before the graph can be: an operation, what it is fed, and what it needs."""

    operation: str
    feeds: Mapping[str, bytes]
    needed: Reach


@dataclass(frozen=True)
class Plan:
    """What is to be made of a model. `writer` are the operations as the TensorFlow knew them that wrote it."""

    definition: Any
    writer: Any
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    needed: Reach
    first: Sequence[Step]
    metadata: Mapping[str, str]


_DEFAULT_SIGNATURE, _DEFAULT_TAGS = "serving_default", ["serve"]
_OF_THE_LOADER = "__saved_model_"  # how signatures begin that aren't for users
_INIT_SIGNATURE, _INIT_COLLECTIONS = "__saved_model_init_op", ("saved_model_main_op", "legacy_init_op")
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def saved_model_plan(tf: Any, model: bytes, folder: Path | None, options: Mapping[str, Any]) -> Plan:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    meta = _tagged(SavedModel.FromString(model).meta_graphs, options.get("tags"))
    signatures = {key: it for key, it in meta.signature_def.items() if not key.startswith(_OF_THE_LOADER)}
    signature = signatures[_chosen(sorted(signatures), options.get("signature"))]
    inputs = [_signature_port(tf, key, it, signature.defaults) for key, it in sorted(signature.inputs.items())]
    outputs = [_signature_port(tf, key, it, {}) for key, it in sorted(signature.outputs.items())]
    needed = reach(meta.graph_def, [port.tensor for port in (*inputs, *outputs)])
    first = []
    variables = folder / "variables" / "variables" if folder is not None else None
    if variables is not None and variables.with_suffix(".index").exists() and meta.saver_def.restore_op_name:
        first.append(_restore_step(meta, variables))
    elif any(name in needed.operations for name in _VARIABLES):
        raise NNError(
            ErrorCode.RUNTIME_ERROR,
            "the SavedModel's variables aren't there: give the path of its folder, or a zip or tar file of it whole",
        )
    first += _init_steps(meta, folder)
    about = {"signatures": ", ".join(sorted(signatures)) if len(signatures) > 1 else ""}
    about |= _metadata(meta.meta_info_def.tensorflow_version, needed)
    return Plan(meta.graph_def, meta.meta_info_def.stripped_op_list, inputs, outputs, needed, first, about)


def _tagged(metas: Sequence[Any], wanted: list[str] | None) -> Any:
    """The meta graph with these tags; with the usual ones, or the only one, where none are asked for."""
    there = [set(meta.meta_info_def.tags) for meta in metas]
    for meta, tags in zip(metas, there, strict=True):
        if tags == set(wanted or _DEFAULT_TAGS):
            return meta
    if wanted is None and len(there) == 1:
        return metas[0]
    names = "; ".join(", ".join(sorted(tags)) or "none" for tags in there)
    raise NNError(
        ErrorCode.INVALID_ARGUMENT, f"the SavedModel has no graph tagged {', '.join(wanted or _DEFAULT_TAGS)}: {names}"
    )


def _chosen(there: Sequence[str], wanted: str | None) -> str:
    """The signature to run: the one that is wanted, else the usual one, else the only one."""
    if not there:
        raise NNError(ErrorCode.RUNTIME_ERROR, "the SavedModel has no signatures, so it can't be run: save it with one")
    usual = there[0] if len(there) == 1 else _DEFAULT_SIGNATURE
    signature = wanted or usual
    if signature not in there:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the model has no signature {signature!r}, but {', '.join(there)}")
    return signature


def _signature_port(tf: Any, key: str, info: Any, defaults: Mapping[str, Any]) -> Port:
    if not info.name:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{key!r} is a sparse or ragged tensor; wasi-nn has none such")
    shape = info.tensor_shape
    dims = None if shape.unknown_rank else tuple("?" if dim.size < 0 else dim.size for dim in shape.dim)
    known = dims if info.HasField("tensor_shape") else None
    default = tf.make_ndarray(defaults[key]) if key in defaults else None
    return Port(key, info.name, known, default)


def _restore_step(meta: Any, variables: Path) -> Step:
    saver = meta.saver_def
    needed = reach(meta.graph_def, [saver.restore_op_name], saver.filename_tensor_name)
    return Step(node_name(saver.restore_op_name), {saver.filename_tensor_name: os.fsencode(variables)}, needed)


def _init_steps(meta: Any, folder: Path | None) -> list[Step]:
    """What fills tables and the like, fed with the paths of the model's assets."""
    names = [it.name for it in meta.signature_def[_INIT_SIGNATURE].outputs.values()]
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


# What a graph's outputs can't be, though nothing consumes it.
_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_NO_OUTPUTS = _PLACEHOLDERS | {"Assert", "Assign", "Const", "NoOp"}


def outputs_of(definition: Any) -> list[str]:
    """The nodes that are a GraphDef's outputs: those that nothing consumes."""
    consumed = {node_name(name) for node in definition.node for name in node.input}
    nodes = {node.name: node.op for node in definition.node}
    return [name for name, op in nodes.items() if name not in consumed and op not in _NO_OUTPUTS]


def graph_def_plan(tf: Any, model: bytes, options: Mapping[str, Any]) -> Plan:
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
            f"the graph isn't frozen: node {needed.operations[unset]!r} is a variable, whose value isn't in it",
        )
    whole = options.get("outputs") is None
    return Plan(
        definition,
        None,
        [Port(name.removesuffix(":0"), _tensor_name(name)) for name in inputs],
        [Port(name.removesuffix(":0"), name if whole else _tensor_name(name)) for name in outputs],
        needed,
        [],
        _metadata("", needed),
    )


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _metadata(version: str, needed: Reach) -> dict[str, str]:
    state = "kept from one compute to the next, by each context for itself" if keeps_state(needed.operations) else ""
    return {"producer": f"TensorFlow {version}" if version else "", "state": state}
