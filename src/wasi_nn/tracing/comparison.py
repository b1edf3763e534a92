"""Compares an output with a recorded one: floats within a tolerance, all other types exactly."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.arguments import as_number
from wasi_nn.types import dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Array

TOLERANCES = {
    "f16": (1e-2, 1e-3),
    "bf16": (5e-2, 1e-2),
    "f32": (1e-3, 1e-5),
    "f64": (1e-3, 1e-5),
}
"""The default relative and absolute tolerance of each element type. All other types are compared exactly."""

_MAX_SHOWN = 80  # characters of a string
_PART = 1 << 20  # elements that are compared at once: their f64 copies take 8 MiB each


def tolerances_of(rtol: float | None, atol: float | None) -> Mapping[str, tuple[float, float]]:
    """The relative and absolute tolerance of each element type; None: those of `TOLERANCES`. Raises `NNError` with
    `invalid-argument` for a tolerance that is negative or infinite."""
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance is not None:
            as_number(name, tolerance, "a number from 0 on, or None", lambda value: 0 <= value < inf)
    return {
        kind: (default_rtol if rtol is None else rtol, default_atol if atol is None else atol)
        for kind, (default_rtol, default_atol) in TOLERANCES.items()
    }


def difference(
    expected: Array, actual: Array, tolerances: Mapping[str, tuple[float, float]] = TOLERANCES
) -> str | None:
    """The difference between an array and the recorded one, as one line; None if they are equal within the tolerance.
    An array of objects has `bytes`.

    NaN is equal to NaN.
    """
    expected_type, actual_type = map(_type_of, (expected, actual))
    if actual_type != expected_type:
        return f"it is {actual_type}, was {expected_type}"
    rtol, atol = tolerances.get(dtype_name(expected.dtype), (None, None))
    count, farthest, farthest_distance = 0, 0, -1.0
    flat, flat_actual = expected.reshape(-1), actual.reshape(-1)
    for start in range(0, flat.size, _PART):
        a, b = flat[start : start + _PART], flat_actual[start : start + _PART]
        if rtol is None or atol is None:
            differs: Array = a != b
            distances: Array = differs.astype(np.float64)
        else:
            a, b = a.astype(np.float64), b.astype(np.float64)
            differs = ~np.isclose(b, a, rtol, atol, equal_nan=True)
            with np.errstate(invalid="ignore"):
                distances = np.where(differs, np.nan_to_num(np.abs(a - b), nan=np.inf), 0)
        if differs.any():
            count += int(differs.sum())
            index = int(distances.argmax())
            if distances[index] > farthest_distance:
                farthest, farthest_distance = start + index, float(distances[index])
    if not count:
        return None
    place = dims_text(tuple(map(int, np.unravel_index(farthest, expected.shape))))
    rank, tolerance = (
        ("first", "") if rtol is None else ("most", f" by more than {atol:g} + {rtol:g} of the recorded value")
    )
    values = f"{rank} at {place}: {_shown(flat_actual[farthest])}, was {_shown(flat[farthest])}"
    return f"{count} of {flat.size} elements differ{tolerance}, {values}"


def _type_of(array: Array) -> str:
    kind = "string" if array.dtype == object else dtype_name(array.dtype)
    return f"{kind}{dims_text(array.shape)}"


def _shown(element: object) -> str:
    return repr(element)[:_MAX_SHOWN] if isinstance(element, bytes) else str(element)
