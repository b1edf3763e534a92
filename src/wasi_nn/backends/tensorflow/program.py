"""TensorFlow's own side of a model: the graph of its checked operations, its sessions, and their calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.tensorflow.operations import keeps_state
from wasi_nn.backends.tensorflow.plan import Plan, Port, Step
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.process.quiet import environment_with

if TYPE_CHECKING:
    from wasi_nn.types import Array

HANDLES = ("resource", "variant")
"""The types of tensors that refer to something in a session."""


class Program:
    """The operations of one plan, or of several plans of the same model, as a graph of TensorFlow's."""

    def __init__(self, tf: Any, plans: Sequence[Plan], device: str, threads: int) -> None:
        self.tf = tf
        definition = _definition(tf, plans)
        self.nbytes: int = definition.ByteSize()
        """The size of the graph in bytes, with its constants."""
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.graph_util.import_graph_def(definition, name="", producer_op_list=plans[0].producer_operations)
        self.device, self._threads = device, threads

    def of(self, plans: Sequence[Plan]) -> Program:
        """A program of other plans, for the same device."""
        return Program(self.tf, plans, self.device, self._threads)

    def session(self, first: Sequence[Step]) -> Any:
        """A new session, which has run these steps."""
        config = self.tf.compat.v1.ConfigProto(intra_op_parallelism_threads=self._threads, allow_soft_placement=True)
        if self.device == "cpu":
            config.device_count["GPU"] = 0
        config.gpu_options.allow_growth = True
        # Else the number of threads of the process's first session would hold for all others too.
        with environment_with(TF_OVERRIDE_GLOBAL_THREADPOOL="1"):
            session = self.tf.compat.v1.Session(graph=self.graph, config=config)
        run_first(session, first)
        return session


def _definition(tf: Any, plans: Sequence[Plan]) -> Any:
    """A GraphDef with only the nodes that are needed and checked, since TensorFlow computes constant ones on import.

    The devices that nodes name are dropped: they are those of the machine that the model was made on.
    """
    nodes = set().union(*(reach.nodes for plan in plans for reach in plan.reaches))
    definition = plans[0].definition
    if any(node.name not in nodes for node in definition.node):
        whole = definition
        definition = tf.compat.v1.GraphDef(library=whole.library, versions=whole.versions)
        definition.node.extend(node for node in whole.node if node.name in nodes)
    for node in definition.node:
        node.device = ""
        node.attr.pop("_class", None)
    return definition


def run_first(session: Any, steps: Sequence[Step]) -> None:
    """Run steps in a session."""
    for step in steps:
        call = session_call(session, [*step.feeds], [], [step.operation])
        call(*(np.array(path, object) for path in step.feeds.values()))


def session_call(
    session: Any, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str] = ()
) -> Callable[..., Sequence[Any]]:
    """A function that runs a session for certain feeds and fetches, in a tenth of the time of `Session.run`. `targets`
    are operations to run too."""
    from tensorflow.core.protobuf.config_pb2 import CallableOptions

    options = CallableOptions(feed=feeds, fetch=fetches, target=targets)
    call: Callable[..., Sequence[Any]] = session._make_callable_from_options(options)
    return call


class Entry:
    """The inputs and outputs of a plan in a program, and the tensors of its sessions that have their values."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self._graph = program.graph
        fed = [(port, self._graph.get_tensor_by_name(port.tensor)) for port in plan.inputs]
        fetched = [(port, tensor) for port in plan.outputs for tensor in self._tensors(port)]
        self.inputs = [_info(port.name, tensor, port) for port, tensor in fed]
        self.outputs = [
            _info(port.name if ":" in port.tensor else tensor.name.removesuffix(":0"), tensor, port)
            for port, tensor in fetched
        ]
        if not self.outputs:
            raise NNError(ErrorCode.RUNTIME_ERROR, "the model has no outputs")
        self.metadata = {key: value for key, value in plan.metadata.items() if value}
        self.defaults = [port.default for port in plan.inputs]
        self.feeds = [tensor.name for _, tensor in fed]
        self.fetches = self._distinct(program.tf, [tensor for _, tensor in fetched])
        self.keeps_state = keeps_state(plan.needed.operations)
        self.signature, self.signatures = plan.signature, plan.signatures

    def _tensors(self, port: Port) -> list[Any]:
        if ":" in port.tensor:
            return [self._graph.get_tensor_by_name(port.tensor)]
        tensors = self._graph.get_operation_by_name(port.tensor).outputs
        return [tensor for tensor in tensors if tensor.dtype.name not in HANDLES]

    def _distinct(self, tf: Any, tensors: Sequence[Any]) -> list[str]:
        """The names of tensors to fetch: of a copy if one is also fed, or fetched twice, which TensorFlow refuses."""
        names: list[str] = []
        with self._graph.as_default():
            for tensor in tensors:
                taken = tensor.name in self.feeds or tensor.name in names
                names.append(tf.identity(tensor).name if taken else tensor.name)
        return names


def _info(name: str, tensor: Any, port: Port) -> TensorInfo:
    kind = tensor.dtype
    if kind.name in HANDLES or kind.is_quantized:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"tensor {name!r} is {kind.name}; wasi-nn has no such tensors")
    dims = port.dims
    if dims is None and tensor.shape.rank is not None:
        dims = tuple("?" if dim is None else dim for dim in tensor.shape.as_list())
    optional = port.default is not None or tensor.op.type == "PlaceholderWithDefault"
    return TensorInfo(name, np.dtype(kind.as_numpy_dtype), dims, kind.name, optional)


class SessionRunner(Runner):
    """Runs an entry in a session, while it holds `lock`."""

    def __init__(self, entry: Entry, session: Any, lock: AbstractContextManager[object] | None = None) -> None:
        self._entry, self.session = entry, session
        self._lock = nullcontext() if lock is None else lock
        self._calls: dict[tuple[bool, ...], Callable[..., Sequence[Any]]] = {}

    def call_with(self, is_set: tuple[bool, ...]) -> Callable[..., Sequence[Any]]:
        """The session's call for those inputs that are set."""
        call = self._calls.get(is_set)
        if call is None:
            feeds = list(compress(self._entry.feeds, is_set))
            call = self._calls[is_set] = session_call(self.session, feeds, self._entry.fetches)
        return call

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        arrays = [
            default if array is ABSENT and default is not None else array
            for array, default in zip(inputs, self._entry.defaults, strict=True)
        ]
        is_set = tuple(array is not ABSENT for array in arrays)
        # Copied, since a variable that is set to an input may use the input's own memory.
        fed = [array.copy() if self._entry.keeps_state else array for array in arrays if array is not ABSENT]
        outputs = self._entry.outputs
        # The results are copied too: they may be the memory of an input, of a constant or of a variable.
        with self._lock:
            results = self.call_with(is_set)(*fed)
            if not reuse:
                return [np.array(value, info.dtype) for value, info in zip(results, outputs, strict=True)]
            return [_into(old, value) for old, value in zip(reuse, results, strict=True)]


def _into(old: Array, value: Any) -> Array:
    """Copy a value into an old array if it has the same dimensions, else into a new one."""
    new = np.asarray(value, old.dtype)
    if new.shape != old.shape:
        return new.copy()
    np.copyto(old, new)
    return old
