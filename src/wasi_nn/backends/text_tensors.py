"""Texts as tensors of bytes, as language models take and give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.types import Array


def text_of(data: Array) -> str:
    """A prompt. Raises `NNError` with `invalid-argument` for bytes that aren't UTF-8."""
    try:
        return data.tobytes().decode()
    except UnicodeDecodeError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt isn't UTF-8: its byte {error.start} is wrong") from error


def bytes_of(text: str) -> Array:
    """A text in UTF-8: u8[bytes]."""
    return np.frombuffer(bytearray(text.encode()), np.uint8)


def read_all(pieces: Iterable[str], options: Mapping[str, Any], sink: Callable[[bytes], object] | None) -> None:
    """Have a text written to its end; each piece goes to `sink` as it comes, if the guest's options ask for that."""
    if options.get("stream-stdout") is not True:
        sink = None
    for piece in pieces:
        if sink is not None:
            sink(piece.encode())


def require_pieces(*, is_embedding: bool) -> None:
    """Raise `NNError` with `unsupported-operation` for an embedding, of which there are no pieces."""
    if is_embedding:
        message = "an embedding comes all at once, not piece by piece: call compute"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
