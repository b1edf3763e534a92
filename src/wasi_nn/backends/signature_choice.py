"""The choice of a signature where a model has several, and what a graph says of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wasi_nn.errors import ErrorCode, NNError, printable

DEFAULT_SIGNATURE = "serving_default"
_USUAL = (DEFAULT_SIGNATURE, "infer", "predict")


def usual_signature(names: Collection[str], usual: Sequence[str] = _USUAL) -> str:
    """The signature that a graph runs unless an option names another: the first of the `usual` ones that there is, or
    else the first one by its name, which may be the only one. `names` has one name or more."""
    return next((name for name in usual if name in names), min(names))


def choose_signature(names: Sequence[str], wanted: str | None, usual: Sequence[str] = _USUAL) -> str:
    """The signature to run: the wanted one, else the usual one. Raises `NNError` with `invalid-argument` if none has
    the wanted name."""
    if wanted is None:
        return usual_signature(names, usual)
    if wanted not in names:
        message = f"the model has no signature {wanted!r}; it has {', '.join(names) or 'none'}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, printable(message))
    return wanted


def described_signatures(names: Sequence[str], chosen: str) -> dict[str, str]:
    """The metadata of a model with several signatures: the names of all, and of the one that is run."""
    return {"signatures": ", ".join(names), "signature": chosen} if len(names) > 1 else {}
