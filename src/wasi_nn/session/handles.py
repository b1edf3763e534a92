"""Handles: the numbers by which a guest names its graphs, execution contexts, tensors and errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from wasi_nn.arguments import wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.sequence import NamedSequence
from wasi_nn.limits.usage import Usage
from wasi_nn.session.tensor import BoundTensor, Tensor

Handled = Graph | ExecutionContext | Tensor | NamedSequence | NNError
"""Every kind of item that has handles. Only components hold tensors, sequences and errors."""

Item = TypeVar("Item", bound=Handled)

_KINDS: dict[type, str] = {
    Graph: "graph",
    ExecutionContext: "execution context",
    Tensor: "tensor",
    NamedSequence: "sequence",
    NNError: "error",
}
_LAST_HANDLE = 2**31 - 1  # larger numbers are tensors in a bridge (`wasi_nn.abi.component.exchange`)


class HandleTable:
    """The handles of one guest and the items behind them. A handle is never reused, not even after `remove`.

    All kinds share one sequence of numbers, so that a handle of the wrong kind is recognised. Every item counts in
    `usage` as long as it has a handle; an execution context counts also as long as a sequence on it has one.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._items: dict[int, Handled] = {}
        self._next = 1
        self._sequences: Counter[ExecutionContext] = Counter()
        self._kept_by_sequences: set[ExecutionContext] = set()  # contexts without a handle of their own

    def add(self, item: Handled) -> int:
        """A new handle for an item. Raises `NNError` with `too-large` if the guest may hold no more of its kind."""
        handle = self._next
        if handle > _LAST_HANDLE:
            raise NNError(ErrorCode.TOO_LARGE, "no handles are left in this session")
        self._usage.take_all(_counts(item))
        self._next += 1
        self._items[handle] = item
        if type(item) is NamedSequence:
            self._sequences[item.context] += 1
        return handle

    def add_all(self, items: Iterable[Handled]) -> list[int]:
        """New handles for some items. If one item can't have a handle, raises its `NNError` and adds none."""
        handles: list[int] = []
        try:
            for item in items:
                handles.append(self.add(item))  # noqa: PERF401  if one fails, those before it are discarded
        except NNError:
            for handle in handles:
                self.discard(handle)
            raise
        return handles

    def lend(self, tensor: BoundTensor) -> int:
        """A new handle for a bound tensor, in less time than `add` takes. Raises as `add` does."""
        handle = self._next
        if handle > _LAST_HANDLE:
            return self.add(tensor)
        self._next += 1
        self._items[handle] = tensor
        tensor.handle = handle
        return handle

    def take_back(self, tensor: BoundTensor) -> None:
        """Remove the handle that `lend` gave a tensor."""
        self._items.pop(tensor.handle, None)
        tensor.handle = 0

    def get(self, handle: int, kind: type[Item]) -> Item:
        """The item behind a handle. Raises `NNError` with `invalid-argument` if there is none of this kind."""
        item = self._items.get(handle) if type(handle) is int else None
        if isinstance(item, kind):
            return item
        raise self._wrong(handle, item, kind)

    def remove(self, handle: int, kind: type[Item]) -> Item:
        """Remove a handle and return its item. Raises as `get` does."""
        item = self.get(handle, kind)
        self.discard(handle)
        return item

    def holds(self, handle: int, kind: type[Handled]) -> bool:
        """Whether a handle belongs to an item of this kind at present."""
        return isinstance(self._items.get(handle), kind)

    def discard(self, handle: int) -> None:
        """Remove a handle of any kind. Does nothing if the handle doesn't exist."""
        item = self._items.pop(handle, None)
        if item is None:
            return
        self._usage.give_back_all(_counts(item))
        if type(item) is NamedSequence:
            self._forget_sequence(item)
        elif isinstance(item, ExecutionContext) and item in self._sequences:
            self._usage.take_all(_KEPT_CONTEXT)
            self._kept_by_sequences.add(item)

    def _forget_sequence(self, sequence: NamedSequence) -> None:
        context = sequence.context
        self._sequences[context] -= 1
        if not self._sequences[context]:
            del self._sequences[context]
            if context in self._kept_by_sequences:
                self._kept_by_sequences.remove(context)
                self._usage.give_back_all(_KEPT_CONTEXT)
        sequence.close()

    def clear(self) -> None:
        """Remove every handle."""
        self._items.clear()
        self._sequences.clear()
        self._kept_by_sequences.clear()

    def __len__(self) -> int:
        return len(self._items)

    def _wrong(self, handle: int, item: Handled | None, kind: type[Item]) -> NNError:
        if type(handle) is not int:
            return wrong_argument(_KINDS[kind], "a handle, which is an int", handle)
        if item is not None:
            state = f"is {_with_article(next(noun for cls, noun in _KINDS.items() if isinstance(item, cls)))}"
        else:
            state = "was released" if 0 < handle < self._next else "was never given out"
        return NNError(ErrorCode.INVALID_ARGUMENT, f"handle {handle} isn't {_with_article(_KINDS[kind])}: it {state}")


_KEPT_CONTEXT = {"contexts": 1}
_COUNTS = {
    Graph: {"handles": 1, "graphs": 1},
    ExecutionContext: {"handles": 1, "contexts": 1},
    NamedSequence: {"handles": 1},
    NNError: {"handles": 1},
}


_COUNTED_ALREADY: dict[str, int] = {}


def _counts(item: Handled) -> dict[str, int]:
    """The amount that an item adds to each limit."""
    if type(item) is BoundTensor:
        return _COUNTED_ALREADY
    if type(item) is Tensor:
        return {"handles": 1, "tensor_bytes": item.nbytes}
    return next(counts for kind, counts in _COUNTS.items() if isinstance(item, kind))


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
