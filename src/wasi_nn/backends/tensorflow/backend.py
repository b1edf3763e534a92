"""TensorFlow models, run by TensorFlow.

A graph has one builder: a SavedModel as a zip or tar file, or a frozen GraphDef. By name it is one of these, or the
folder of a SavedModel, or the `saved_model.pb` in it.

Options of a SavedModel: `signature` (default: the only one, or else `serving_default`), `tags` (a list; default:
`["serve"]`). Options of a GraphDef: `inputs` and `outputs` (lists of tensor names; default: the placeholders, and the
nodes that no other node consumes). For both: `threads` (within an operation; default: 0, one for each core).

An untrusted model may only use operations that stay within it (`wasi_nn.backends.tensorflow.operations`). They are
checked before TensorFlow gets the graph, because it computes constant parts as soon as it reads them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.options import check_options, is_names, is_text, is_thread_count, only_builder
from wasi_nn.backends.tensorflow.model import (
    SAVED_MODEL,
    ModelFolder,
    cut_short_tensorflow,
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
from wasi_nn.process.quiet import environment_with, extensions_of, no_collection
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

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_tensorflow(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _load(only_builder(self.encoding, builders), None, False, target, options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _load(path.read_bytes(), ModelFolder(path.parent), True, target, options)

    def files_of(self, path: Path) -> Sequence[Path]:
        return files_of_saved_model(path) if path.name == SAVED_MODEL else [path]

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(self.encoding, options, _SAVED_MODEL_ACCEPTS | _GRAPH_DEF_ACCEPTS)

    def list_devices(self) -> Sequence[Device]:
        devices = import_tensorflow().config.list_physical_devices()
        return as_devices(device.device_type for device in devices)


def as_devices(types: Iterable[str]) -> list[Device]:
    """TensorFlow's devices by their types: one of each type."""
    return [_DEVICES.get(name, Device(name, None, name)) for name in dict.fromkeys(types)]


_EVERYTHING, _NOTHING = "0", "3"  # values of TF_CPP_MIN_LOG_LEVEL


@cache
def import_tensorflow() -> Any:
    """Import TensorFlow without its notices and warnings; with its notices if the user set the log level to 0.

    Keras isn't needed to run models, and imports scikit-learn and SciPy where they are: 2 of 6 s. TensorFlow leaves it
    out if it was told to use the older Keras, which is hardly ever installed. `tensorflow.keras` still works: Keras is
    imported when that is first used.
    """
    shows_all = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == _EVERYTHING
    # Without a collection, which takes a fifth of the import's time: nearly all of its objects stay.
    with no_collection, warnings.catch_warnings(), nullcontext() if shows_all else extensions_of("tensorflow"):
        warnings.simplefilter("ignore")
        with environment_with(TF_CPP_MIN_LOG_LEVEL=_NOTHING, TF_USE_LEGACY_KERAS="1"):
            import tensorflow

            return tensorflow


_SAVED_MODEL_ACCEPTS = {"threads": is_thread_count, "signature": is_text, "tags": is_names}
_GRAPH_DEF_ACCEPTS = {"threads": is_thread_count, "inputs": is_names, "outputs": is_names}


def _load(
    model: bytes, folder: ModelFolder | None, trusted: bool, target: ExecutionTarget, options: Mapping[str, Any]
) -> Graph:
    """Load a model, which is `trusted` if it is the operator's own. `folder` has the variables of a SavedModel."""
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
        for reach in plan.reaches:
            require_harmless(reach.operations)
        require_bounded_functions(plan.definition)
    return TensorFlowGraph(tf, plan, device, options.get("threads", 0), folder)


class TensorFlowGraph(Graph):
    """A graph in a TensorFlow session, which all contexts share.

    If the graph keeps state, each context has its own session, which starts with the model's variables.
    """

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"

    def __init__(self, tf: Any, plan: Plan, device: str, threads: int, folder: ModelFolder | None) -> None:
        self._tf = tf
        self._graph = _import_graph(tf, plan)
        self.device, self._threads = device, threads
        self._first = plan.first
        session = self._new_session()
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
        self._unused = [run] if self.keeps_state else []  # for the first context
        self._folder = folder
        if folder is not None and self.keeps_state:
            folder.keep_for(self)

    def _tensors(self, port: Port) -> list[Any]:
        if ":" in port.tensor:
            return [self._graph.get_tensor_by_name(port.tensor)]
        tensors = self._graph.get_operation_by_name(port.tensor).outputs
        return [tensor for tensor in tensors if tensor.dtype.name not in _HANDLES]

    def _distinct(self, tensors: Sequence[Any]) -> list[str]:
        """The names of tensors to fetch: of a copy if one is also fed, or fetched twice, which TensorFlow refuses."""
        names: list[str] = []
        with self._graph.as_default():
            for tensor in tensors:
                taken = tensor.name in self.feeds or tensor.name in names
                names.append(self._tf.identity(tensor).name if taken else tensor.name)
        return names

    def _new_session(self) -> Any:
        """A new session, with the model's variables and tables."""
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
        return _Run(self, self._new_session())


class _Run(Runner):
    """Runs a graph in a session."""

    def __init__(self, graph: TensorFlowGraph, session: Any) -> None:
        self._graph = graph
        self._session = session
        self._calls: dict[tuple[bool, ...], Callable[..., Sequence[Any]]] = {}

    def call_with(self, is_set: tuple[bool, ...]) -> Callable[..., Sequence[Any]]:
        """The session's call for those inputs that are set."""
        call = self._calls.get(is_set)
        if call is None:
            feeds = list(compress(self._graph.feeds, is_set))
            call = self._calls[is_set] = _callable(self._session, feeds, self._graph.fetches)
        return call

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        arrays = [
            default if array is ABSENT and default is not None else array
            for array, default in zip(inputs, self._graph.defaults, strict=True)
        ]
        is_set = tuple(array is not ABSENT for array in arrays)
        # Copied, since a variable that is set to an input may use the input's own memory.
        fed = [array.copy() if self._graph.keeps_state else array for array in arrays if array is not ABSENT]
        # The results are copied too: they may be the memory of an input, of a constant or of a variable.
        results = self.call_with(is_set)(*fed)
        outputs = self._graph.outputs
        if not reuse:
            return [np.array(value, info.dtype) for value, info in zip(results, outputs, strict=True)]
        return [_into(old, value) for old, value in zip(reuse, results, strict=True)]


def _callable(
    session: Any, feeds: Sequence[str], fetches: Sequence[str], target: str = ""
) -> Callable[..., Sequence[Any]]:
    """A function that runs a session for certain feeds and fetches, in a tenth of the time of `Session.run`."""
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    options = CallableOptions(feed=feeds, fetch=fetches, target=[target] if target else [])
    call: Callable[..., Sequence[Any]] = session._make_callable_from_options(options)
    return call


def _into(old: Array, value: Any) -> Array:
    """Copy a value into an old array if it has the same dimensions, else into a new one."""
    new = np.asarray(value, old.dtype)
    if new.shape != old.shape:
        return new.copy()
    np.copyto(old, new)
    return old


def _import_graph(tf: Any, plan: Plan) -> Any:
    """A graph with only the nodes that are needed and checked, since TensorFlow computes constant ones on import.

    The devices that nodes name are dropped: they are those of the machine that the model was made on.
    """
    nodes = set().union(*(reach.nodes for reach in plan.reaches))
    definition = plan.definition
    if any(node.name not in nodes for node in definition.node):
        definition = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
        definition.node.extend(node for node in plan.definition.node if node.name in nodes)
    for node in definition.node:
        node.device = ""
        node.attr.pop("_class", None)
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(definition, name="", producer_op_list=plan.producer_operations)
    return graph


def _session(tf: Any, graph: Any, device: str, threads: int) -> Any:
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, allow_soft_placement=True)
    if device == "cpu":
        config.device_count["GPU"] = 0
    config.gpu_options.allow_growth = True
    # Else the number of threads of the process's first session would hold for all others too.
    with environment_with(TF_OVERRIDE_GLOBAL_THREADPOOL="1"):
        return tf.compat.v1.Session(graph=graph, config=config)


_HANDLES = ("resource", "variant")


def _info(name: str, tensor: Any, port: Port) -> TensorInfo:
    kind = tensor.dtype
    if kind.name in _HANDLES or kind.is_quantized:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"tensor {name!r} is {kind.name}; wasi-nn has no such tensors")
    dims = port.dims
    if dims is None and tensor.shape.rank is not None:
        dims = tuple("?" if dim is None else dim for dim in tensor.shape.as_list())
    optional = port.default is not None or tensor.op.type == "PlaceholderWithDefault"
    return TensorInfo(name, np.dtype(kind.as_numpy_dtype), dims, kind.name, optional)
