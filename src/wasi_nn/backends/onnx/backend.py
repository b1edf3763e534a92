"""ONNX models, run by ONNX Runtime.

Options: `threads` (within an operator; 0, the default: the runtime's choice, one for each core), `inter_op_threads`
(above 1: independent operators run side by side), `spinning` (whether idle threads keep their core busy to wake
faster; the default is true), `optimization` (`none`, `basic`, `extended`, `all`), `providers` (execution providers in
order of preference, instead of those for the target), `external_data` (files that an isolated model may read although
they aren't named after the model: paths from its folder; `*` stands for any characters).

A model from bytes must be self-contained: it may not reach any file. A model from a path may have external data.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device
from wasi_nn.backends.onnx.class_labels import keys_of_maps
from wasi_nn.backends.onnx.functions import require_bounded_functions
from wasi_nn.backends.onnx.model import (
    cut_short_onnx,
    files_of_onnx,
    is_onnx,
    own_files_of_onnx,
    require_self_contained,
    tensors_with_shape,
)
from wasi_nn.backends.onnx.providers import LABELS, choose_providers, devices
from wasi_nn.backends.onnx.runner import ELEMENTS, runner_of
from wasi_nn.backends.options import check_options, is_flag, is_names, is_texts, is_thread_count, one_of, only_builder
from wasi_nn.errors import TargetUnavailable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process import quiet
from wasi_nn.process.files import mapped_file
from wasi_nn.types import ExecutionTarget, GraphEncoding, dtype_named

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

_MOST_FOLDED = "4096"  # bytes of an operator's results: larger ones aren't computed while a model is loaded
_QUIET = 4  # fatal errors only: all other errors are raised as exceptions


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, without its telemetry, which writes files, and its messages about missing devices."""
    if "onnxruntime" not in sys.modules and os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1") == "1":
        quiet.call(partial(importlib.import_module, "onnxruntime"))
    import onnxruntime

    return onnxruntime


class OnnxBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.ONNX
    runtime = "onnxruntime"
    extra = "onnx"
    model_files = ("model.onnx",)
    withstands_hostile_bytes = True

    def sniff(self, model: memoryview) -> bool:
        return is_onnx(model)

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_onnx(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        model = only_builder(self.encoding, builders)
        require_self_contained(model)
        require_bounded_functions(model)
        settings = session_options(options)
        # A second defence: the only directory from which the runtime may read external data doesn't exist.
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        settings.add_session_config_entry("session.load_model_format", "ONNX")
        without = _bound_folding(model, settings) if "optimization" not in options else []
        return open_graph(model, memoryview(model), settings, target, options, without)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        with mapped_file(path) as content:
            return open_graph(str(path), content, session_options(options), target, options)

    def files_of(self, path: Path) -> Sequence[Path]:
        return files_of_onnx(path)

    def own_files_of(self, path: Path, options: Mapping[str, Any]) -> Sequence[Path]:
        self.check_options(options)
        return own_files_of_onnx(path, options.get("external_data", ()))

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(self.encoding, options, _ACCEPTS)

    def list_devices(self) -> Sequence[Device]:
        return devices(import_onnxruntime().get_available_providers())


_OPTIMIZATION = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ACCEPTS = {
    "threads": is_thread_count,
    "inter_op_threads": is_thread_count,
    "spinning": is_flag,
    "optimization": one_of(_OPTIMIZATION),
    "external_data": is_texts,
    "providers": is_names,
}


def session_options(options: Mapping[str, Any]) -> SessionOptions:
    """ONNX Runtime's options for a graph's options. Raises `NNError` with `invalid-argument` for a wrong one."""
    ort = import_onnxruntime()

    check_options(GraphEncoding.ONNX, options, _ACCEPTS)
    settings = ort.SessionOptions()
    settings.log_severity_level = _QUIET
    settings.intra_op_num_threads = options.get("threads", 0)
    if options.get("inter_op_threads", 0) > 1:
        settings.inter_op_num_threads = options["inter_op_threads"]
        settings.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    if not options.get("spinning", True):
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = _OPTIMIZATION[options.get("optimization", "all")]
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return settings


def _bound_folding(model: bytes, settings: SessionOptions) -> list[str]:
    """Limit the computations while a model is loaded: a few bytes of a model can describe huge ones. Returns the names
    of the optimizers to disable."""
    settings.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", _MOST_FOLDED)
    # The limit above counts no bytes for strings, however long they are.
    return ["ConstantFolding"] if b"StringConcat" in model else []


def open_graph(
    model: bytes | str,
    content: memoryview,
    settings: SessionOptions,
    target: ExecutionTarget,
    options: Mapping[str, Any],
    without: Sequence[str] = (),
) -> Graph:
    """A graph of a model, which is bytes or a path; `content` has the bytes of both. `without` names optimizers to
    disable."""
    ort = import_onnxruntime()

    providers = choose_providers(target, ort.get_available_providers(), options.get("providers"))
    more = {"disabled_optimizers": list(without)} if without else {}
    session = ort.InferenceSession(model, settings, providers=providers, enable_fallback=0, **more)
    active = session.get_providers()
    if active[0] != providers[0]:  # the runtime goes on without a provider whose libraries or device are missing
        raise TargetUnavailable(f"onnxruntime could not start {providers[0]}; it would run on {active[0]}")
    return OnnxGraph(session, content)


class OnnxGraph(Graph):
    """A model in an ONNX Runtime session, shared by all its contexts."""

    encoding = GraphEncoding.ONNX
    runtime = "onnxruntime"

    def __init__(self, session: InferenceSession, content: memoryview) -> None:
        nodes = [*session.get_inputs(), *session.get_outputs()]
        shaped = tensors_with_shape(content) if any(not node.shape for node in nodes) else set()
        keys = keys_of_maps(content, {node.name for node in nodes if node.type.startswith("seq(map(")})
        meta = session.get_modelmeta()
        described = {"producer": meta.producer_name, "graph": meta.graph_name, "description": meta.description}
        super().__init__(
            [_info(node, shaped) for node in session.get_inputs()],
            [replace(_info(node, shaped), keys=keys.get(node.name)) for node in session.get_outputs()],
            {key: value for key, value in (described | meta.custom_metadata_map).items() if value},
        )
        self.session = session
        self.device = LABELS.get(session.get_providers()[0], session.get_providers()[0])

    def runner(self) -> Runner:
        return runner_of(self.session, self.inputs, self.outputs)


def _info(node: Any, shaped: set[str]) -> TensorInfo:
    word = node.type.removeprefix("tensor(").removesuffix(")")
    name = ELEMENTS.get(word, ("object", 0))[0] if node.type.startswith("tensor(") else "object"
    dtype = dtype_named(name)
    dims = tuple(dim if isinstance(dim, int) else dim or "?" for dim in node.shape)
    return TensorInfo(node.name, dtype, dims if dims or node.name in shaped else None, node.type)
