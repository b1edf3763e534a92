"""What one guest holds: its graphs and execution contexts behind handles, and what it may do.

One session belongs to one guest instance (a Store) and to one thread at a time, and ends with it. Both ABIs end here;
what they translate differs, what happens doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary, finalize

from wasi_nn import backends
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import ExecutionContext, Graph
from wasi_nn.limits.compute_guard import ComputeGuard, Turns
from wasi_nn.limits.limits import Limits
from wasi_nn.limits.timed_load import load_within
from wasi_nn.limits.usage import HeldBytes, Usage
from wasi_nn.loading.choose import ChosenModel, choose
from wasi_nn.loading.load import open_model
from wasi_nn.loading.registry import registry_of
from wasi_nn.loading.rules import LoadRules
from wasi_nn.process.descriptors import require_free_descriptors, reserve
from wasi_nn.session.tensor import Tensor
from wasi_nn.types import ExecutionTarget, GraphEncoding, Word, parse_enum

if TYPE_CHECKING:
    from wasi_nn.backends import Backend
    from wasi_nn.loading.registry import Graphs

Handled = Graph | ExecutionContext | Tensor | NNError
"""What a guest may hold a handle of. Only components hold tensors and errors."""

Item = TypeVar("Item", bound=Handled)

_KINDS: dict[type, str] = {Graph: "graph", ExecutionContext: "execution context", Tensor: "tensor", NNError: "error"}
_LAST_HANDLE = 2**32 - 1
_MAX_BUILDERS = 1024


class HandleTable:
    """Numbers that stand for a guest's things. A number is given once: after `remove` it stays unused for ever.

    All kinds are numbered in one sequence, so that a handle of the wrong kind can be told. What they stand for counts
    as used.
    """

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self._items: dict[int, Handled] = {}
        self._next = 1

    def add(self, item: Handled) -> int:
        """A new handle for an item."""
        handle = self._next
        if handle > _LAST_HANDLE:
            raise NNError(ErrorCode.TOO_LARGE, "no handles are left in this session")
        self.usage.take_all(_counts(item))
        self._next += 1
        self._items[handle] = item
        return handle

    def add_all(self, items: Iterable[Handled]) -> list[int]:
        """New handles for some items; none, if there aren't enough for all."""
        handles: list[int] = []
        try:
            for item in items:
                handles.append(self.add(item))  # noqa: PERF401  those before one that fails are needed
        except NNError:
            for handle in handles:
                self.discard(handle)
            raise
        return handles

    def get(self, handle: int, kind: type[Item]) -> Item:
        """The item behind a handle. Raises `NNError` with `invalid-argument` if there is none of this kind."""
        item = self._items.get(handle)
        if isinstance(item, kind):
            return item
        raise self._wrong(handle, item, kind)

    def remove(self, handle: int, kind: type[Item]) -> Item:
        """Give a handle back. Raises as `get` does."""
        item = self.get(handle, kind)
        self._forget(handle)
        return item

    def holds(self, handle: int, kind: type[Handled]) -> bool:
        """Whether a handle is that of an item of a kind now."""
        return isinstance(self._items.get(handle), kind)

    def discard(self, handle: int) -> None:
        """Give a handle back, of whatever kind. Of no effect if there is none."""
        self._forget(handle)

    def _forget(self, handle: int) -> None:
        item = self._items.pop(handle, None)
        if item is not None:
            self.usage.give_back_all(_counts(item))

    def clear(self) -> None:
        """Give every handle back."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def _wrong(self, handle: int, item: Handled | None, kind: type[Item]) -> NNError:
        if item is not None:
            is_ = f"is {_with_article(next(word for of, word in _KINDS.items() if isinstance(item, of)))}"
        elif 0 < handle < self._next:
            is_ = "was given back"
        else:
            is_ = "was never given out"
        return NNError(ErrorCode.INVALID_ARGUMENT, f"handle {handle} isn't {_with_article(_KINDS[kind])}: it {is_}")


def _counts(item: Handled) -> dict[str, int]:
    """What a thing counts as, and how much."""
    if isinstance(item, Tensor):
        return {"handles": 1, "tensor_bytes": item.data.nbytes + item.encoded_dims.nbytes}
    if isinstance(item, Graph):
        return {"handles": 1, "graphs": 1}
    return {"handles": 1, "contexts": 1} if isinstance(item, ExecutionContext) else {"handles": 1}


def _words(kind: type[Word], words: Collection[Word | str]) -> set[Word]:
    return {parse_enum(kind, word) for word in words}


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _no_graph(name: str) -> NNError:
    return NNError(ErrorCode.NOT_FOUND, f"no graph is named {name[:80]!r} for this guest")


def require_builder_count(count: int) -> None:
    """Raise `NNError` with `invalid-argument` if a guest announces more builders than are worth being looked at."""
    if count > _MAX_BUILDERS:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{count} builders: no graph has more than {_MAX_BUILDERS}")


class Session:
    """The nn state of one guest.

    `graphs` are those that it may load by name. `allow_load` says which models it may load from bytes of its own: those
    of encodings whose runtimes withstand hostile bytes, by themselves or isolated (True), none (False), or those of the
    encodings that are given. `allow_targets` are the targets that it may ask for (None: all), `allow_names` the names
    that it may load (None: all; `*` stands for any characters). `rules` are for the models that the guest itself loads.

    `limits` are what it may have; its memory, time and fuel are for whoever runs the Store to limit. `totals` and
    `turns` are those of a host, which it shares.
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
    ) -> None:
        self.registry = registry_of(graphs, rules)
        for name, given in (("load", allow_load), ("targets", allow_targets), ("names", allow_names)):
            if isinstance(given, str):
                message = f"allow_{name} is a collection, not one text: give it [{given!r}]"
                raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        allowed = (
            allow_load if isinstance(allow_load, bool) else {parse_enum(GraphEncoding, name) for name in allow_load}
        )
        self.allow_load: bool | set[GraphEncoding] = allowed
        self.allow_targets = (
            None if allow_targets is None else {parse_enum(ExecutionTarget, name) for name in allow_targets}
        )
        self.allow_names = None if allow_names is None else tuple(allow_names)
        self.rules = rules or LoadRules()
        self.limits = limits or Limits()
        self.usage = Usage(self.limits, totals)
        self.guard = ComputeGuard(self.limits, turns)
        self.handles = HandleTable(self.usage)
        self.show: Callable[[bytes], None] | None = None
        """Where a text goes as a graph writes it, if its options ask for that: the guest's standard output."""
        self._graph_of: WeakKeyDictionary[ExecutionContext, int] = WeakKeyDictionary()  # its handle
        self.interruption: BaseException | None = None
        """What stopped the guest in the middle of an nn call (Ctrl-C, as a rule), for whoever called it to raise
        again."""

    def load(self, builders: Sequence[memoryview], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        """Load a model from the guest's bytes, which may change as soon as this returns; gives a graph's handle."""
        if not self.allow_load:
            raise NNError(ErrorCode.SECURITY, "this host loads graphs by name only, not from a guest's bytes")
        self._require_target(target)

        def chosen(model: Sequence[memoryview]) -> ChosenModel:
            found = choose(model, encoding, None, self.rules)
            if not self._may_load(found.backend):
                message = f"this host loads {found.backend.encoding.value} by name only, not from bytes"
                raise NNError(ErrorCode.SECURITY, message)
            return found

        return self._loaded_from_bytes(builders, target, chosen)

    def _loaded_from_bytes(
        self,
        builders: Sequence[memoryview],
        target: ExecutionTarget,
        choose_for: Callable[[Sequence[memoryview]], ChosenModel],
    ) -> int:
        """Load an untrusted model by the backend that a function chooses, or refuses; gives the graph's handle."""
        held = {"model_bytes": sum(map(len, builders))}
        counted = {"graphs": 1, **held}
        self.usage.require("graphs", 1)
        require_free_descriptors(reserve())
        for name, amount in held.items():
            self.usage.require(name, amount)
        model = [memoryview(bytes(builder)) for builder in builders]  # a load may outlast the guest and its memory

        def load() -> Graph:
            chosen = choose_for(model)
            if self.rules.isolation_of(chosen.backend, untrusted=True) is not None:
                self.usage.take("workers", 1)
                counted["workers"] = held["workers"] = 1
            return open_model(chosen, target, {}, self.rules, untrusted=True)

        graph = load_within(self.usage, self.guard, counted, load)
        for name, amount in held.items():
            self.usage.take(name, amount)
            finalize(graph, self.usage.give_back, name, amount).atexit = False
        return self.handles.add(graph)

    def _require_target(self, target: ExecutionTarget) -> None:
        if self.allow_targets is not None and target not in self.allow_targets:
            names = ", ".join(sorted(it.value for it in self.allow_targets)) or "none"
            raise NNError(ErrorCode.SECURITY, f"this host lets the guest have no {target.value} (it may have: {names})")

    def _may_load(self, backend: Backend) -> bool:
        if isinstance(self.allow_load, bool):
            return self.allow_load and self.rules.let_guests_load(backend)
        return backend.encoding in self.allow_load

    def load_extension(self, builders: Sequence[memoryview], number: int, name: str, target: ExecutionTarget) -> int:
        """Load a model of an encoding that is WasmEdge's own, by the backend that says it has that number."""
        backend = backends.of_extension(number)
        if backend is None:
            message = f"graph encoding {number} ({name}) has no backend here; one can be registered for the number"
            raise NNError(ErrorCode.INVALID_ENCODING, message)

        def chosen(model: Sequence[memoryview]) -> ChosenModel:
            if not self._may_load(backend):
                raise NNError(ErrorCode.SECURITY, f"this host loads no models of {name} from a guest's bytes")
            self._require_target(target)
            return ChosenModel(backend, model)

        return self._loaded_from_bytes(builders, target, chosen)

    def load_by_name(self, name: str, config: memoryview | bytes = b"") -> int:
        """Load a graph that the operator named, with a configuration of the guest's if it gives one; gives its handle,
        a new one each time."""
        if self.allow_names is not None and not any(fnmatchcase(name, allowed) for allowed in self.allow_names):
            raise _no_graph(name)
        wanted = memoryview(bytes(config))

        def load() -> Graph:
            graph = self.registry.get(name)
            return graph.configured(wanted) if wanted else graph

        try:
            return self.handles.add(load_within(self.usage, self.guard, {"graphs": 1}, load))
        except NNError as error:
            if self.allow_names is not None and type(error) is NNError and error.code is ErrorCode.NOT_FOUND:
                raise _no_graph(name) from None  # the registry's own words tell of other names
            raise

    def init_execution_context(self, graph: int) -> int:
        """A new context on a graph, which lives as long as the context needs it; gives the context's handle."""
        of = self.handles.get(graph, Graph)
        self.usage.require("contexts", 1)
        context = self.new_context(of)
        held = HeldBytes(self.usage)
        context.keep_to(self.guard, held)
        finalize(context, held.release).atexit = False
        self._graph_of[context] = graph
        if self.show is not None:
            context.show_to(self.show)
        return self.handles.add(context)

    def new_context(self, graph: Graph) -> ExecutionContext:
        """The execution context that the guest is to have on a graph."""
        return graph.init_execution_context()

    def holds_graph(self, handle: int) -> bool:
        """Whether a handle is that of a graph now."""
        return self.handles.holds(handle, Graph)

    def unload(self, graph: int) -> None:
        """Give a graph's handle back. Its contexts stay, but can't be run any more: `loaded_context`."""
        self.handles.remove(graph, Graph)

    def loaded_context(self, handle: int) -> ExecutionContext:
        """The execution context behind a handle, if its graph wasn't unloaded: else `invalid-argument`."""
        context = self.context(handle)
        graph = self._graph_of[context]
        if not self.holds_graph(graph):
            message = f"the graph of execution context {handle} was unloaded: it had the handle {graph}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return context

    def finalize_execution_context(self, context: int) -> None:
        """Give a context's handle back."""
        self.handles.remove(context, ExecutionContext)

    def context(self, handle: int) -> ExecutionContext:
        """The execution context behind a handle."""
        return self.handles.get(handle, ExecutionContext)

    def refused(self, name: str, arguments: Sequence[object], error: Exception) -> None:
        """Hear of an error that an ABI gives its guest for a call; where calls are recorded, it is written."""

    def close(self) -> None:
        """Let go of everything that the guest held."""
        self.handles.clear()
        self.usage.close()
        self.guard.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
