"""The bytes of a named model, read once, and their digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasi_nn.backends import Buffer
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.process.files import read_regular


def bytes_of(name: str, source: Any) -> list[Buffer]:
    """The bytes of the model of a named graph, which is in files or is bytes. Raises `NNError` with `runtime-error` for
    a file that can't be read."""
    try:
        parts = source if isinstance(source, list | tuple) else [source]
        return [part if isinstance(part, Buffer) else read_regular(part) for part in parts]
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"graph {name!r} can't be read: {one_line(error)}") from error


def require_digest(name: str, builders: Sequence[Buffer], expected: str) -> None:
    """Raise `NNError` with `security` unless the builders, one after another, have the expected sha256."""
    import hashlib

    digest = hashlib.sha256()
    for builder in builders:
        digest.update(builder)
    if digest.hexdigest() != expected.strip().lower():
        from wasi_nn.loading.explanation import what_is

        message = f"graph {name!r} has sha256 {digest.hexdigest()}, not {expected}: it isn't loaded"
        found = what_is(memoryview(builders[0]).cast("B")) if builders else None
        if found is not None and found.hides:
            message += f"; it is {found.name}: {found.advice}"
        raise NNError(ErrorCode.SECURITY, message)
