"""Checks of the tables in a file of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wasi_nn.backends.options import Check, cannot_be, taking
from wasi_nn.errors import ErrorCode, NNError, nearest


def require_known(where: str, keys: Mapping[str, Any], known: Mapping[str, Check], required: Sequence[str]) -> None:
    """Raise `NNError` with `invalid-argument` for an unknown key, a value that its check rejects, or a missing key.
    `where` names the table in messages."""
    for name, value in keys.items():
        if name not in known:
            message = f"{where}: unknown key {name!r}; there are {', '.join(known)}{nearest(name, known)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        if not known[name](value):
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: {cannot_be(name, value, known[name])}")
    for name in required:
        if name not in keys:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: the key {name!r} is missing")


@taking("a table, such as { threads = 2 }")
def is_table(value: Any) -> bool:
    """Whether a value is a table."""
    return isinstance(value, dict)
