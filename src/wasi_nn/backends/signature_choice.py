"""The choice of a signature where a model has several."""

from __future__ import annotations

from collections.abc import Collection

DEFAULT_SIGNATURE = "serving_default"
_USUAL = (DEFAULT_SIGNATURE, "infer", "predict")


def usual_signature(names: Collection[str]) -> str:
    """The signature that a graph runs unless an option names another: the only one, or else `serving_default`, `infer`,
    `predict` or the first one by its name. `names` has one name or more."""
    return next((name for name in _USUAL if name in names), min(names))
