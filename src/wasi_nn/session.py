"""What one guest holds: its graphs and execution contexts behind handles, and what it may do.

One session belongs to one guest instance (a Store) and to one thread at a time, and ends with it. Both ABIs end here;
what they translate differs, what happens doesn't.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from wasi_nn import backends
from wasi_nn.graph import ExecutionContext, Graph
from wasi_nn.registry import registry_of
from wasi_nn.tensor import Tensor
from wasi_nn.types import ErrorCode, ExecutionTarget, GraphEncoding, NNError, word

if TYPE_CHECKING:
    from wasi_nn.backends import Backend, LoadRules
    from wasi_nn.registry import Graphs

Handled = Graph | ExecutionContext | Tensor | NNError
"""What a guest may hold a handle of. Only components hold tensors and errors."""

Item = TypeVar("Item", bound=Handled)

_KINDS: dict[type, str] = {Graph: "graph", ExecutionContext: "execution context", Tensor: "tensor", NNError: "error"}
_LAST_HANDLE = 2**32 - 1
_MAX_BUILDERS = 1024


class HandleTable:
    """Numbers that stand for a guest's things. A number is given once: after `remove` it stays unused for ever.

    All kinds are numbered in one sequence, so that a handle of the wrong kind can be told.
    """

    def __init__(self) -> None:
        self._items: dict[int, Handled] = {}
        self._next = 1

    def add(self, item: Handled) -> int:
        """A new handle for an item."""
        handle = self._next
        if handle > _LAST_HANDLE:
            raise NNError(ErrorCode.TOO_LARGE, "no handles are left in this session")
        self._next += 1
        self._items[handle] = item
        return handle

    def get(self, handle: int, kind: type[Item]) -> Item:
        """The item behind a handle. Raises `NNError` with `invalid-argument` if there is none of this kind."""
        item = self._items.get(handle)
        if isinstance(item, kind):
            return item
        raise self._wrong(handle, item, kind)

    def remove(self, handle: int, kind: type[Item]) -> Item:
        """Give a handle back. Raises as `get` does."""
        item = self.get(handle, kind)
        del self._items[handle]
        return item

    def discard(self, handle: int) -> None:
        """Give a handle back, of whatever kind. Of no effect if there is none."""
        self._items.pop(handle, None)

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


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def require_builder_count(count: int) -> None:
    """Raise `NNError` with `invalid-argument` if a guest announces more builders than are worth being looked at."""
    if count > _MAX_BUILDERS:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{count} builders: no graph has more than {_MAX_BUILDERS}")


class Session:
    """The nn state of one guest.

    `graphs` are those that it may load by name. `allow_load` says which models it may load from bytes of its own: those
    of encodings whose runtimes withstand hostile bytes (True), none (False), or those of the encodings that are given.
    `rules` are for the models that the guest itself loads.
    """

    def __init__(
        self,
        graphs: Graphs = None,
        *,
        allow_load: bool | Collection[GraphEncoding | str] = True,
        rules: LoadRules | None = None,
    ) -> None:
        self.registry = registry_of(graphs, rules)
        allowed = allow_load if isinstance(allow_load, bool) else {word(GraphEncoding, name) for name in allow_load}
        self.allow_load: bool | set[GraphEncoding] = allowed
        self.rules = rules
        self.handles = HandleTable()
        self.interruption: BaseException | None = None
        """What stopped the guest in the middle of an nn call (Ctrl-C, as a rule), for whoever called it to raise
        again."""

    def load(self, builders: Sequence[memoryview], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        """Load a model from the guest's bytes, which may change as soon as this returns; gives a graph's handle."""
        if not self.allow_load:
            raise NNError(ErrorCode.SECURITY, "this host loads graphs by name only, not from a guest's bytes")
        graph = backends.load(builders, encoding, target, rules=self.rules, allowed=self._may_load)
        return self.handles.add(graph)

    def _may_load(self, backend: Backend) -> bool:
        if isinstance(self.allow_load, bool):
            return self.allow_load and backend.withstands_hostile_bytes
        return backend.encoding in self.allow_load

    def load_by_name(self, name: str) -> int:
        """Load a graph that the operator named; gives its handle, a new one each time."""
        return self.handles.add(self.registry.get(name))

    def init_execution_context(self, graph: int) -> int:
        """A new context on a graph, which lives as long as the context needs it; gives the context's handle."""
        return self.handles.add(self.handles.get(graph, Graph).init_execution_context())

    def context(self, handle: int) -> ExecutionContext:
        """The execution context behind a handle."""
        return self.handles.get(handle, ExecutionContext)

    def close(self) -> None:
        """Let go of everything that the guest held."""
        self.handles.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
