"""TensorFlow models, run by TensorFlow.

A graph has one builder: a SavedModel as a zip or tar file, or a frozen GraphDef. By name it is one of these, or the
folder of a SavedModel, or the `saved_model.pb` in it.

Options of a SavedModel: `signature` (`serving_default` unless given, else the only one), `tags` (a list, `["serve"]`
unless given). Options of a GraphDef: `inputs` and `outputs` (lists of tensor names; else the placeholders, and what
nothing consumes). For both: `threads` (within an operation; 0, the default, is one a core).

A model from bytes may only use operations that stay within it (`wasi_nn.backends.tensorflow.operations`), and nothing
of it is given to TensorFlow before that is known: TensorFlow runs parts of a graph as early as when it reads it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.options import check_options, is_text, is_thread_count, only_builder
from wasi_nn.backends.tensorflow.model import (
    SAVED_MODEL,
    ModelFolder,
    files_of_saved_model,
    is_saved_model,
    is_saved_model_archive,
    is_tensorflow,
    unpacked_saved_model,
)
from wasi_nn.backends.tensorflow.operations import keeps_state, require_bounded_functions, require_harmless
from wasi_nn.backends.tensorflow.plan import Plan, Port, graph_def_plan, saved_model_plan
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process.quiet import environment_with, extensions_of
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.types import Array

# TensorFlow's types of devices, as devices of ours. A graph has to be rewritten to run on a TPU, which isn't done here.
_DEVICES = {"CPU": Device("CPU", ExecutionTarget.CPU, "cpu"), "GPU": Device("GPU", ExecutionTarget.GPU, "gpu:0")}


class TensorFlowBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"
    extra = "tensorflow"
    model_files = (SAVED_MODEL, "model.pb")
    withstands_hostile_bytes = False
    works_in_forks = False

    def sniff(self, model: memoryview) -> bool:
        return is_tensorflow(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _load(only_builder(self.encoding, builders), None, False, target, options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _load(path.read_bytes(), ModelFolder(path.parent), True, target, options)

    def files_of(self, path: Path) -> Sequence[Path]:
        return files_of_saved_model(path) if path.name == SAVED_MODEL else [path]

    def list_devices(self) -> Sequence[Device]:
        devices = import_tensorflow().config.list_physical_devices()
        return as_devices(device.device_type for device in devices)


def as_devices(types: Iterable[str]) -> list[Device]:
    """TensorFlow's devices by their types: one of each type."""
    return [_DEVICES.get(name, Device(name, None, name)) for name in dict.fromkeys(types)]


_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ALL = "0"  # the level at which the user wants to see everything


@cache
def import_tensorflow() -> Any:
    """TensorFlow, without the notices that it prints at its start and the warnings that it raises."""
    wanted = os.environ.get(_LEVEL) == _ALL
    with warnings.catch_warnings(), nullcontext() if wanted else extensions_of("tensorflow"):
        warnings.simplefilter("ignore")
        with environment_with(_LEVEL, "3"):
            import tensorflow

            return tensorflow


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(is_text, value))


_SAVED_MODEL_ACCEPTS = {"threads": is_thread_count, "signature": is_text, "tags": _is_names}
_GRAPH_DEF_ACCEPTS = {"threads": is_thread_count, "inputs": _is_names, "outputs": _is_names}


def _load(
    model: bytes, folder: ModelFolder | None, trusted: bool, target: ExecutionTarget, options: Mapping[str, Any]
) -> Graph:
    """Load a model, `trusted` (the operator's) or not. Its variables are in `folder`."""
    view = memoryview(model)
    if is_saved_model_archive(view):
        unpacked = unpacked_saved_model(view)
        try:
            return _load((unpacked.path / SAVED_MODEL).read_bytes(), unpacked, trusted, target, options)
        finally:
            unpacked.done_with()
    saved = is_saved_model(view)
    check_options(GraphEncoding.TENSORFLOW, options, _SAVED_MODEL_ACCEPTS if saved else _GRAPH_DEF_ACCEPTS)
    tf = import_tensorflow()
    device = choose_device(TensorFlowBackend().list_devices(), target, "tensorflow").label
    path = None if folder is None else folder.path
    plan = saved_model_plan(tf, model, path, options) if saved else graph_def_plan(tf, model, options)
    if not trusted:
        for reached in (plan.needed, *(step.needed for step in plan.first)):
            require_harmless(reached.operations)
        require_bounded_functions(plan.definition)
    return TensorFlowGraph(tf, plan, device, options.get("threads", 0), folder)


class TensorFlowGraph(Graph):
    """A graph in a TensorFlow session, which all its contexts share. If it keeps state, each context has a session of
    its own, which begins with the model's variables."""

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"

    def __init__(self, tf: Any, plan: Plan, device: str, threads: int, folder: ModelFolder | None) -> None:
        self._tf = tf
        self._graph = _imported(tf, plan)
        self.device, self._threads = device, threads
        self._first = plan.first
        session = self._begun()
        fed = [(port, self._graph.get_tensor_by_name(port.tensor)) for port in plan.inputs]
        fetched = [(port, tensor) for port in plan.outputs for tensor in self._tensors(port)]
        super().__init__(
            [_info(port.name, tensor, port) for port, tensor in fed],
            [
                _info(port.name if ":" in port.tensor else tensor.name.removesuffix(":0"), tensor, port)
                for port, tensor in fetched
            ],
            {key: value for key, value in plan.metadata.items() if value},
        )
        if not self.outputs:
            raise NNError(ErrorCode.RUNTIME_ERROR, "the model has no outputs")
        self.defaults = [port.default for port in plan.inputs]
        self.feeds = [tensor.name for _, tensor in fed]
        self.fetches = self._distinct([tensor for _, tensor in fetched])
        self.keeps_state = keeps_state(plan.needed.operations)
        run = _Run(self, session)
        run.call_with(tuple(not info.optional for info in self.inputs))
        self._shared = None if self.keeps_state else run
        self._unused = [run] if self.keeps_state else []
        self._folder = folder
        if folder is not None and self.keeps_state:
            folder.keep_for(self)

    def _tensors(self, port: Port) -> list[Any]:
        if ":" in port.tensor:
            return [self._graph.get_tensor_by_name(port.tensor)]
        return [it for it in self._graph.get_operation_by_name(port.tensor).outputs if it.dtype.name not in _HANDLES]

    def _distinct(self, tensors: Sequence[Any]) -> list[str]:
        """The names of tensors to fetch: of a copy, where one is fed or fetched already, which TensorFlow refuses."""
        names: list[str] = []
        with self._graph.as_default():
            for tensor in tensors:
                taken = tensor.name in self.feeds or tensor.name in names
                names.append(self._tf.identity(tensor).name if taken else tensor.name)
        return names

    def _begun(self) -> Any:
        """A new session, with the variables and tables that the model has."""
        session = _session(self._tf, self._graph, self.device, self._threads)
        for step in self._first:
            call = _callable(session, [*step.feeds], [], step.operation)
            call(*(np.array(path, object) for path in step.feeds.values()))
        return session

    def runner(self) -> Runner:
        if self._shared is not None:
            return self._shared
        with suppress(IndexError):
            return self._unused.pop()
        if self._folder is not None:
            self._folder.require_unchanged()
        return _Run(self, self._begun())


class _Run(Runner):
    """Runs of a graph in a session."""

    def __init__(self, graph: TensorFlowGraph, session: Any) -> None:
        self._graph = graph
        self._session = session
        self._calls: dict[tuple[bool, ...], Callable[..., Sequence[Any]]] = {}

    def call_with(self, given: tuple[bool, ...]) -> Callable[..., Sequence[Any]]:
        """The call for these inputs of all."""
        call = self._calls.get(given)
        if call is None:
            feeds = [name for name, is_given in zip(self._graph.feeds, given, strict=True) if is_given]
            call = self._calls[given] = _callable(self._session, feeds, self._graph.fetches)
        return call

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        arrays = [
            default if array is ABSENT and default is not None else array
            for array, default in zip(inputs, self._graph.defaults, strict=True)
        ]
        given = tuple(array is not ABSENT for array in arrays)
        # A variable that is set to an input has the input's own memory, where that is aligned as TensorFlow wants it.
        fed = [array.copy() if self._graph.keeps_state else array for array in arrays if array is not ABSENT]
        # What TensorFlow gives can be the memory of an input, of a constant or of a variable.
        results = self.call_with(given)(*fed)
        outputs = self._graph.outputs
        if not reuse:
            return [np.array(value, info.dtype) for value, info in zip(results, outputs, strict=True)]
        return [_into(old, value) for old, value in zip(reuse, results, strict=True)]


def _callable(
    session: Any, feeds: Sequence[str], fetches: Sequence[str], target: str = ""
) -> Callable[..., Sequence[Any]]:
    """A call of a session for certain feeds and fetches: it costs a tenth of what `Session.run` does."""
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    options = CallableOptions(feed=feeds, fetch=fetches, target=[target] if target else [])
    call: Callable[..., Sequence[Any]] = session._make_callable_from_options(options)
    return call


def _into(old: Array, value: Any) -> Array:
    """A value, copied into an array that may be written over if it fits there."""
    new = np.asarray(value, old.dtype)
    if new.shape != old.shape:
        return new.copy()
    np.copyto(old, new)
    return old


def _imported(tf: Any, plan: Plan) -> Any:
    """A graph with the nodes that are needed, and no others: TensorFlow runs what is constant as it reads them. Where
    they run is for us to say, not for the machine where they were made."""
    nodes = set().union(plan.needed.nodes, *(step.needed.nodes for step in plan.first))
    definition = plan.definition
    if any(node.name not in nodes for node in definition.node):
        definition = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
        definition.node.extend(node for node in plan.definition.node if node.name in nodes)
    for node in definition.node:
        node.device = ""
        node.attr.pop("_class", None)
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="", producer_op_list=plan.writer)
    return graph


def _session(tf: Any, graph: Any, device: str, threads: int) -> Any:
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, allow_soft_placement=True)
    if device == "cpu":
        config.device_count["GPU"] = 0
    config.gpu_options.allow_growth = True
    # Without it, the first session of the process decides the number of threads for all others.
    with environment_with("TF_OVERRIDE_GLOBAL_THREADPOOL", "1"):
        return tf.compat.v1.Session(graph=graph, config=config)


_HANDLES = ("resource", "variant")


def _info(name: str, tensor: Any, port: Port) -> TensorInfo:
    kind = tensor.dtype
    if kind.name in _HANDLES or kind.is_quantized:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{name!r} is {kind.name}; wasi-nn has no such tensors")
    known = None if tensor.shape.rank is None else tuple("?" if dim is None else dim for dim in tensor.shape.as_list())
    dims = port.dims if port.dims is not None else known
    optional = port.default is not None or tensor.op.type == "PlaceholderWithDefault"
    return TensorInfo(name, np.dtype(kind.as_numpy_dtype), dims, kind.name, optional)
