"""Texts as tensors of bytes, as language models take and give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
