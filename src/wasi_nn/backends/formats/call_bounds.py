"""Bounds the calls between the parts of a model, before a runtime follows them.

Models may have parts that call each other: functions in ONNX and TensorFlow, subgraphs in TensorFlow Lite. Runtimes
copy a part into each place where it is called, or follow the call on their stack. So a part that calls itself crashes
their process, and a few hundred bytes of parts that each call the next one twice fill any memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

from wasi_nn.errors import ErrorCode, NNError

_MAX_DEPTH = 100
_MAX_CALLS = 1_000_000  # in all, once every call is followed

Name = TypeVar("Name", bound=Hashable)


def require_bounded(parts: Mapping[Name, Counter[Name]], calls: Counter[Name], most: int = _MAX_CALLS) -> None:
    """Refuse a model whose calls lead to too many others.

    `calls` has the number of the model's own calls by name, `parts` those in each part. A name that isn't among the
    parts is an operation, which calls nothing. Raises `NNError` with `too-large` for more than `most` calls in all, or
    more than 100 levels of them; `ValueError` for parts that call each other in a circle.
    """
    totals: dict[Name, int] = {}
    depths: dict[Name, int] = {}
    entered: set[Name] = set()
    todo = [name for name in calls if name in parts]
    while todo:
        name = todo[-1]
        if name in totals:
            todo.pop()
            continue
        inner = [called for called in parts[name] if called in parts]
        waiting = [called for called in inner if called not in totals]
        if not waiting:
            totals[name] = 1 + _total(parts[name], totals, most)
            depths[name] = 1 + max((depths[called] for called in inner), default=0)
            if depths[name] > _MAX_DEPTH:
                message = f"the model's parts call each other more than {_MAX_DEPTH} levels deep"
                raise NNError(ErrorCode.TOO_LARGE, message)
        elif name in entered:
            raise ValueError("its parts call each other in a circle")
        else:
            entered.add(name)
            todo += waiting
    _total(calls, totals, most)


def _total(calls: Counter[Name], totals: Mapping[Name, int], most: int) -> int:
    """The number of calls that these lead to, with themselves. Checked for each part, so that no number gets huge."""
    total = sum(count * totals.get(name, 1) for name, count in calls.items())
    if total > most:
        raise NNError(ErrorCode.TOO_LARGE, f"the model's parts call each other more than {most} times")
    return total
