"""The session of one guest: every nn call, on graphs, execution contexts, tensors and errors that it holds by handle.

A session is the one door between the ABIs and everything behind them. An ABI turns a guest's bytes into the arguments
of a method here, and its result into bytes again. A session belongs to one guest instance (a Store) and to one thread
at a time, and ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, finalize

from wasi_nn import backends
from wasi_nn.arguments import as_builders, as_json, as_text, require_kind
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.graph.fitting import find
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.limits.compute_guard import ComputeGuard, Turns
from wasi_nn.limits.limits import Limits
from wasi_nn.limits.timed_load import load_within
from wasi_nn.limits.usage import HeldBytes, Usage
from wasi_nn.loading.choose import ChosenModel, choose
from wasi_nn.loading.load import open_model
from wasi_nn.loading.registry import loaded_in, registry_of
from wasi_nn.loading.rules import LoadRules, as_rules
from wasi_nn.process.descriptors import require_free_descriptors, reserve
from wasi_nn.session import guest_images
from wasi_nn.session.bindings import Bindings
from wasi_nn.session.extension_calls import ExtensionCalls
from wasi_nn.session.failures import FailureLog, no_graph_named, with_graph
from wasi_nn.session.handles import HandleTable
from wasi_nn.session.observed_runs import ObservedRuns
from wasi_nn.session.policy import Policy
from wasi_nn.session.shared_variables import SharedVariables
from wasi_nn.session.tensor import Tensor, as_tensor
from wasi_nn.settings import how_to_set
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.backends.ggml.image_option import FileReader
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.types import Array, Dims, DType

_MAX_BUILDERS = 1024


def require_builder_count(count: int) -> None:
    """Raise `NNError` with `invalid-argument` if a guest announces more builders than any graph has (1024)."""
    if count > _MAX_BUILDERS:
        message = f"the graph has {count} builders: at most {_MAX_BUILDERS} are allowed"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


class Session(ObservedRuns, ExtensionCalls):
    """The nn calls of one guest.

    graphs         the graphs that the guest may load by name: as for `Host`
    allow_load, allow_targets, allow_names  what the guest may load: as for `Host`
    rules          how models from the guest's own bytes are loaded. None: `LoadRules()`
    limits         the limits of the guest. None: `Limits()`. The session keeps to those on graphs, tensors and
                   computes; memory, time and fuel are limits of the Store, for the code that runs it
    totals, turns  the counts that the guests of a host share: its memory of models and tensors, its computes at once
    guard          stops computes at their deadline. None: a new guard
    extensions, show_metadata  what of wasi-nn:ext the guest may use: as for `Host`

    `registry` has the graphs by name. `bindings` is for the component ABI.

    Every method that takes a handle raises `NNError` with `invalid-argument` if no item of that kind has the handle.
    """

    def __init__(
        self,
        graphs: Graphs = None,
        *,
        allow_load: bool | Collection[GraphEncoding | str] = True,
        allow_targets: Collection[ExecutionTarget | str] | None = None,
        allow_names: Collection[str] | None = None,
        rules: LoadRules | None = None,
        limits: Limits | None = None,
        totals: Usage | None = None,
        turns: Turns | None = None,
        guard: ComputeGuard | None = None,
        extensions: bool | Collection[str] = True,
        show_metadata: bool = True,
    ) -> None:
        self.registry = registry_of(graphs, rules)
        self.limits = Limits() if limits is None else require_kind("limits", limits, Limits, "wasi_nn.Limits(...)")
        for name, value, kind in (("totals", totals, Usage), ("turns", turns, Turns), ("guard", guard, ComputeGuard)):
            if value is not None:
                require_kind(name, value, kind, f"a {kind.__module__}.{kind.__name__} or None")
        self.text_sink: Callable[[bytes], None] | None = None
        """Receives generated text while it streams, if the options of a graph ask for that."""
        self.file_reader: FileReader | None = None
        """Reads a file that the guest names in the options of a graph. None: the guest has no files here."""
        self.interruption: BaseException | None = None
        """The exception that stopped the guest during an nn call, such as `KeyboardInterrupt`; the code that runs the
        guest raises it again."""
        self.calls = 0
        """The number of nn calls that an ABI has made for the guest. It doesn't count those on tensors and errors."""
        self.failures = FailureLog()
        """The texts of the failed calls, which the ABI logs."""
        self._policy = Policy.of(allow_load, allow_targets, allow_names, extensions, show_metadata)
        self._rules = as_rules(rules)
        self._usage = Usage(self.limits, totals)
        self._guard = guard or ComputeGuard(self.limits, turns)
        self._handles = HandleTable(self._usage)
        self.bindings = Bindings(self._usage, self._handles)
        self._graph_handles: WeakKeyDictionary[ExecutionContext, int] = WeakKeyDictionary()
        self._shared_variables = SharedVariables(self._usage, self._guard)

    # Models

    def load(self, builders: Sequence[memoryview], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        """Load a model from the guest's bytes; returns the handle of the graph. The bytes may change afterwards.

        Raises `NNError`: `security` if the policy forbids it, `invalid-encoding` if no backend takes the bytes,
        `timeout` and `too-large` by the limits, and others as the backend does.
        """
        builders, encoding = as_builders("builders", builders), parse_enum(GraphEncoding, encoding)
        target = parse_enum(ExecutionTarget, target)
        self._policy.require_load(target)

        def choose_allowed(model: Sequence[memoryview]) -> ChosenModel:
            model_choice = choose(model, encoding, None, self._rules)
            if not self._policy.lets_load(model_choice.backend, self._rules):
                encoding_name = model_choice.backend.encoding.value
                how = how_to_set(f"allow_load=[{encoding_name!r}]", f"--allow-load {encoding_name}")
                message = f"this host loads {encoding_name} by name only, not from bytes ({how})"
                raise NNError(ErrorCode.SECURITY, message)
            return model_choice

        return self._load_untrusted(builders, target, choose_allowed)

    def load_extension(self, builders: Sequence[memoryview], number: int, name: str, target: ExecutionTarget) -> int:
        """Load a model of an encoding that only WasmEdge has, by the backend for the encoding's number. Raises as
        `load` does."""
        backend = backends.of_extension(number)
        if backend is None:
            message = f"graph encoding {number} ({name}) has no backend here; one can be registered for the number"
            raise NNError(ErrorCode.INVALID_ENCODING, message)

        def choose_allowed(model: Sequence[memoryview]) -> ChosenModel:
            if not self._policy.lets_load(backend, self._rules):
                raise NNError(ErrorCode.SECURITY, f"this host loads no models of {name} from a guest's bytes")
            self._policy.require_target(target)
            return ChosenModel(backend, model)

        return self._load_untrusted(builders, target, choose_allowed)

    def _load_untrusted(
        self,
        builders: Sequence[memoryview],
        target: ExecutionTarget,
        choose_allowed: Callable[[Sequence[memoryview]], ChosenModel],
    ) -> int:
        held = {"model_bytes": sum(map(len, builders))}  # by the graph as long as it lives
        loading = {"graphs": 1, **held}  # in use until the load ends; by then, the graph has a handle or is dropped
        self._usage.require("graphs", 1)
        require_free_descriptors(reserve())
        self._usage.require("model_bytes", held["model_bytes"])
        model = [memoryview(bytes(builder)) for builder in builders]  # a load may outlast the guest and its memory

        def load() -> Graph:
            chosen = choose_allowed(model)
            isolation = self._rules.isolation_of(chosen.backend, untrusted=True)
            if isolation is not None:
                workers = 2 if isolation.spare else 1
                self._usage.take("workers", workers)
                loading["workers"] = held["workers"] = workers
            return open_model(chosen, target, {}, self._rules, untrusted=True)

        graph = load_within(self._usage, self._guard, loading, load)
        for name, amount in held.items():
            self._usage.take(name, amount)
            finalize(graph, self._usage.give_back, name, amount).atexit = False
        return self._handles.add(graph)

    def load_tensors(self, tensors: Sequence[int], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        """Load a model whose builders are the data of tensors, and remove the handles of the tensors. Raises as `load`
        does."""
        items = [self._handles.remove(handle, Tensor) for handle in reversed(tensors)]
        self._usage.require("model_bytes", sum(tensor.data.nbytes for tensor in items))
        # Runtimes take bytes without another copy. Each tensor's memory is released as soon as it is copied.
        parts = []
        while items:
            parts.append(memoryview(items.pop().data.tobytes()))
        return self.load(parts, encoding, target)

    def load_by_name(self, name: str, config: memoryview | bytes = b"") -> int:
        """Load a graph by the operator's name for it; returns a new handle. `config` is the guest's configuration of
        the graph: JSON, or empty. Raises `NNError` with `not-found` for an unknown name, and as loading does;
        the message names the graph then."""
        return self._load_named(name, config)[0]

    def _load_named(self, name: str, config: memoryview | bytes) -> tuple[int, memoryview]:
        """The handle of the graph, and the configuration as the graph got it: with the image that it names."""
        if not self._policy.lets_name(as_text("name", name)):
            raise no_graph_named(name)
        configuration = memoryview(bytes(as_json("config", config)))
        loaded = None if configuration else loaded_in(self.registry, name)
        if loaded is not None:
            return self._handles.add(loaded), configuration

        def load() -> tuple[Graph, memoryview]:
            graph = self.registry.get(name)
            given = guest_images.configuration_with_image(graph, configuration, self.file_reader)
            return graph.configured(given) if given else graph, given

        try:
            graph, given = load_within(self._usage, self._guard, {"graphs": 1}, load)
            if given is not configuration:  # an image in it is the graph's as long as it lives
                self._usage.take("model_bytes", given.nbytes)
                finalize(graph, self._usage.give_back, "model_bytes", given.nbytes).atexit = False
            return self._handles.add(graph), given
        except NNError as error:
            if type(error) is not NNError or error.code is not ErrorCode.NOT_FOUND:
                raise with_graph(name, error) from error
            if self._policy.allow_names is not None:
                raise no_graph_named(name) from None  # the registry's message lists names that this guest may not see
            raise

    def graph(self, handle: int) -> Graph:
        """The graph behind a handle."""
        return self._handles.get(handle, Graph)

    def holds_graph(self, handle: int) -> bool:
        """Whether a handle belongs to a graph at present."""
        return self._handles.holds(handle, Graph)

    def unload(self, graph: int) -> None:
        """Remove a graph's handle. Its contexts stay, but can't compute any more: see `require_graph`."""
        self._handles.remove(graph, Graph)
        self._shared_variables.forget(graph)

    # Execution contexts

    def init_execution_context(self, graph: int) -> int:
        """Make an execution context on a graph; returns its handle. The graph lives as long as its contexts."""
        loaded = self._shared_variables.graph_for(graph, self._handles.get(graph, Graph))
        self._usage.require("contexts", 1)
        context = loaded.init_execution_context()
        held = HeldBytes(self._usage)
        context.keep_to(self._guard, held)
        finalize(context, held.release).atexit = False
        self._graph_handles[context] = graph
        if self.text_sink is not None:
            context.show_to(self.text_sink)
        return self._handles.add(context)

    def context(self, handle: int) -> ExecutionContext:
        """The execution context behind a handle. A trace has no record of calls of the context's own methods."""
        return self._handles.get(handle, ExecutionContext)

    def require_graph(self, context: int) -> None:
        """Raise `NNError` with `invalid-argument` if the graph of a context was unloaded."""
        graph = self._graph_handles[self.context(context)]
        if not self.holds_graph(graph):
            message = f"the graph of execution context {context} was unloaded: it had the handle {graph}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)

    def finalize_execution_context(self, context: int) -> None:
        """Remove a context's handle."""
        self._handles.remove(context, ExecutionContext)

    def input_info(self, context: int, index: int) -> TensorInfo:
        """The declared input of a context's graph, by index."""
        inputs = self.context(context).graph.inputs
        return inputs[find(inputs, index, "input")]

    def output_info(self, context: int, index: int) -> TensorInfo | None:
        """The declared output of a context's graph, by index; None if the graph declares no such output."""
        outputs = self.context(context).graph.outputs
        return outputs[index] if index < len(outputs) else None

    def set_input(self, context: int, key: int | str, tensor: ArrayLike) -> None:
        """See `ExecutionContext.set_input`."""
        item = self.context(context)
        item.set_input(key, guest_images.input_with_image(item.graph, key, tensor, self.file_reader))

    def write_input(self, context: int, index: int, dtype: DType, dims: Dims, data: memoryview) -> None:
        """See `ExecutionContext.write_input`."""
        item = self.context(context)
        item.write_input(index, dtype, dims, guest_images.bytes_with_image(item.graph, index, data, self.file_reader))

    def set_input_tensor(self, context: int, name: str, tensor: int) -> None:
        """Set an input to the data of a tensor, and remove the tensor's handle."""
        item = self._handles.remove(tensor, Tensor)
        self.context(context)
        self.set_input(context, name, item.array(name))

    def compute(self, context: int) -> None:
        """See `ExecutionContext.compute`."""
        self.context(context).compute()

    def context_full(self, context: int) -> bool:
        """See `ExecutionContext.context_full`."""
        return self.context(context).context_full

    def output_bytes(self, context: int, index: int) -> memoryview:
        """See `ExecutionContext.output_bytes`."""
        return self.context(context).output_bytes(index)

    def get_output(self, context: int, key: int | str) -> Array:
        """See `ExecutionContext.get_output`."""
        return self.context(context).get_output(key)

    def get_output_tensor(self, context: int, name: str) -> int:
        """An output of the last compute as a new tensor; returns the tensor's handle."""
        return self._handles.add(as_tensor(self.context(context).graph, name, self.get_output(context, name)))

    def compute_named(self, context: int, inputs: Iterable[tuple[str, ArrayLike]]) -> list[tuple[str, Array]]:
        """See `ExecutionContext.compute_named`."""
        item = self.context(context)
        return item.compute_named(guest_images.inputs_with_image(item.graph, inputs, self.file_reader))

    def compute_named_tensors(self, context: int, inputs: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Compute on tensors by the names of inputs; returns the handles of new tensors by the names of outputs.
        The inputs' handles are removed even if the compute fails."""
        try:
            arrays = [(name, self._handles.get(tensor, Tensor).array(name)) for name, tensor in inputs]
            results = self.compute_named(context, arrays)
        finally:
            for _, tensor in inputs:
                self._handles.discard(tensor)
        return self._as_tensors(self.context(context).graph, results)

    def compute_single(self, context: int) -> None:
        """See `ExecutionContext.compute_single`."""
        self.context(context).compute_single()

    def single_output_bytes(self, context: int, index: int) -> memoryview:
        """See `ExecutionContext.single_output_bytes`."""
        return self.context(context).single_output_bytes(index)

    def fini_single(self, context: int) -> None:
        """See `ExecutionContext.fini_single`."""
        self.context(context).fini_single()

    # Tensors and errors, which only components hold

    def add_tensor(self, tensor: Tensor) -> int:
        """Give the guest a tensor; returns its handle."""
        return self._handles.add(require_kind("tensor", tensor, Tensor, "a wasi_nn.session.tensor.Tensor"))

    def add_tensors(self, tensors: Sequence[Tensor]) -> list[int]:
        """Give the guest all of these tensors, or none; returns their handles."""
        return self._handles.add_all(tensors)

    def require_tensor_bytes(self, size: int) -> None:
        """Raise `NNError` with `too-large` if the guest may not hold another tensor of this size in bytes."""
        self._usage.require("tensor_bytes", size)

    def held_bytes(self) -> HeldBytes:
        """A new count of bytes that an ABI keeps for the guest, within the limit on tensors."""
        return HeldBytes(self._usage)

    def tensor(self, handle: int) -> Tensor:
        """The tensor behind a handle."""
        return self._handles.get(handle, Tensor)

    def add_error(self, error: NNError) -> int:
        """Give the guest an error; returns its handle."""
        return self._handles.add(require_kind("error", error, NNError, "a wasi_nn.NNError"))

    def error(self, handle: int) -> NNError:
        """The error behind a handle."""
        return self._handles.get(handle, NNError)

    def drop(self, handle: int) -> None:
        """Remove a handle of any kind. Does nothing if the handle doesn't exist."""
        self._handles.discard(handle)
        self._shared_variables.forget(handle)

    # The session itself

    def used(self, limit: str) -> int:
        """The amount in use of a limit, by its name in `Limits`, such as `handles` or `tensor_bytes`."""
        return self._usage.used(limit)

    def close(self) -> None:
        """Release everything that the guest held."""
        self._handles.clear()
        self._shared_variables.clear()
        self._usage.close()
        self._guard.close()

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.used(name)} {name}" for name in ("handles", "graphs", "contexts"))
        return f"<{type(self).__name__}: {counts}>"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
