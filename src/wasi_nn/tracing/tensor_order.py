"""Tells how two tensors with different elements go together: the usual mistakes of a guest that prepares an input."""

from __future__ import annotations

from itertools import permutations
from math import isfinite, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MOST_ELEMENTS = 1 << 23
_MOST_AXES = 5
_SAMPLE = 64
_NAMES = {
    (0, 2, 3, 1): "channels last (NHWC) for channels first (NCHW)",
    (0, 3, 1, 2): "channels first (NCHW) for channels last (NHWC)",
    (1, 2, 0): "channels last (HWC) for channels first (CHW)",
    (2, 0, 1): "channels first (CHW) for channels last (HWC)",
}
_COLOURS = (3, 4)  # elements of an axis of colours
_CLOSE = 1e-3


def relation(first: Array, second: Array) -> str:
    """How the second of two different tensors is made of the first one, in words; empty if that isn't known."""
    if first.size != second.size or not 1 < first.size <= _MOST_ELEMENTS or "O" in first.dtype.kind + second.dtype.kind:
        return ""
    for one, other, names in ((first, second, ("B", "A")), (second, first, ("A", "B"))):
        order = _order(one, other)
        if order:
            axes = ", ".join(map(str, order))
            named = f": {_NAMES[order]}" if order in _NAMES else ""
            return f"{names[0]} has {names[1]}'s elements with the axes in the order {axes}{named}"
    axis = _reversed_axis(first, second)
    if axis is not None:
        return f"B has A's elements with axis {axis} reversed, such as BGR for RGB"
    return _scaled(first, second)


def _order(array: Array, other: Array) -> tuple[int, ...] | None:
    """The order of an array's axes in which its elements are those of another, one after another."""
    if not 2 <= array.ndim <= _MOST_AXES:
        return None
    flat, places = other.reshape(-1), range(array.ndim)
    for order in permutations(places):
        moved = [axis for axis in order if array.shape[axis] > 1]
        if moved == sorted(moved):  # the elements stay where they are
            continue
        turned = array.transpose(order)
        if np.array_equal(turned.flat[:_SAMPLE], flat[:_SAMPLE]) and np.array_equal(turned.reshape(-1), flat):
            return order
    return None


def _reversed_axis(first: Array, second: Array) -> int | None:
    if first.shape != second.shape:
        return None
    axes = (axis for axis, size in enumerate(first.shape) if size in _COLOURS)
    return next((axis for axis in axes if np.array_equal(np.flip(first, axis), second)), None)


def _scaled(first: Array, second: Array) -> str:
    a, b = (array.reshape(-1).astype(np.float64) for array in (first, second))
    with np.errstate(all="ignore"):
        width = float(np.ptp(a))
        scale = float(np.ptp(b)) / width if width else 0.0
        offset = float(b.min()) - scale * float(a.min())
        if not (isfinite(scale) and isfinite(offset)) or not scale or prod(first.shape) < 2:
            return ""
        room = _CLOSE * max(abs(float(b.min())), abs(float(b.max())))
        if not np.allclose(b, scale * a + offset, rtol=_CLOSE, atol=room):
            return ""
    shift = "" if abs(offset) <= room else f" {'plus' if offset > 0 else 'minus'} {abs(offset):.4g}"
    times = f"{scale:.4g} times " if abs(scale - 1) > _CLOSE else ""
    return f"B has {times}A's elements{shift}" if times or shift else ""
