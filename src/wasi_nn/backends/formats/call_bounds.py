"""How much a runtime has to do for parts of a model that call each other, before it does any of it.

Formats let a model have parts that are called, by each other too: functions in ONNX and TensorFlow, subgraphs in
TensorFlow Lite. Runtimes put a part into each place where it is called, or go into it there on their stack. So a part
that calls itself ends their process, and some hundred bytes of parts that each call the next one twice fill any memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

from wasi_nn.errors import ErrorCode, NNError

_MAX_DEPTH = 100
_MAX_CALLS = 1_000_000

Name = TypeVar("Name", bound=Hashable)


def require_bounded(parts: Mapping[Name, Counter[Name]], calls: Counter[Name], most: int = _MAX_CALLS) -> None:
    """Refuse calls that lead to too many others. `parts` are the calls in each part; what isn't one calls nothing.

    Raises `NNError` with `too-large` for more than `most` calls in all, or calls too deep; `ValueError` for parts that
    call each other in a circle.
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
                raise NNError(
                    ErrorCode.TOO_LARGE, f"the model's parts call each other more than {_MAX_DEPTH} levels deep"
                )
        elif name in entered:
            raise ValueError("parts of it call each other in a circle")
        else:
            entered.add(name)
            todo += waiting
    _total(calls, totals, most)


def _total(calls: Counter[Name], totals: Mapping[Name, int], most: int) -> int:
    """To how many calls these lead. Raises `NNError` with `too-large` for more than `most`."""
    total = sum(count * totals.get(name, 1) for name, count in calls.items())
    if total > most:
        raise NNError(ErrorCode.TOO_LARGE, f"the model's parts call each other more than {most} times")
    return total
