"""The words of wasi-nn, with their numbers in WIT. Written by tools/make_sdk.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A word of wasi-nn, which is a string too: `Encoding("onnx")` is `Encoding.ONNX`, and prints as `onnx`.

    number  its number in WIT
    size    of a tensor type: the bytes of an element. Else 0
    """

    number: int
    size: int

    def __new__(cls, word: str, number: int = 0, size: int = 0) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.number = number
        member.size = size
        return member

    @classmethod
    def of_number(cls, number: int) -> Self:
        """The word that WIT gives a number."""
        return next(it for it in cls if it.number == number)


class Code(Word):
    """Why a call failed."""

    INVALID_ARGUMENT = "invalid-argument", 0
    """A handle, index, name, shape, type or length that doesn't fit."""
    INVALID_ENCODING = "invalid-encoding", 1
    """An encoding that doesn't exist, or that the host has no backend for."""
    TIMEOUT = "timeout", 2
    """The call took longer than the host allows."""
    RUNTIME_ERROR = "runtime-error", 3
    """The ML runtime failed, or there is no output to read."""
    UNSUPPORTED_OPERATION = "unsupported-operation", 4
    """A target or operation that the host lacks or doesn't allow."""
    TOO_LARGE = "too-large", 5
    """A buffer is too small, or a limit of the host's is passed."""
    NOT_FOUND = "not-found", 6
    """No graph or signature has this name."""
    SECURITY = "security", 7
    """The host doesn't allow this model, encoding or target."""
    UNKNOWN = "unknown", 8
    """A reason that has no code."""


class Type(Word):
    """The type of a tensor's elements."""

    F16 = "f16", 0, 2
    F32 = "f32", 1, 4
    F64 = "f64", 2, 8
    BF16 = "bf16", 3, 2
    """No core ABI has it."""
    U8 = "u8", 4, 1
    I32 = "i32", 5, 4
    I64 = "i64", 6, 8


class Encoding(Word):
    """The format of a model."""

    OPENVINO = "openvino", 0
    """Two builders: the .xml and the .bin."""
    ONNX = "onnx", 1
    TENSORFLOW = "tensorflow", 2
    """A SavedModel or a frozen graph."""
    PYTORCH = "pytorch", 3
    """TorchScript, or a program of torch.export."""
    TENSORFLOWLITE = "tensorflowlite", 4
    """TensorFlow Lite."""
    GGML = "ggml", 5
    """GGUF; the specification's core ABI lacks it, autodetect finds it there."""
    AUTODETECT = "autodetect", 6
    """The host tells from the bytes."""


class Target(Word):
    """Where a graph should run."""

    CPU = "cpu", 0
    GPU = "gpu", 1
    TPU = "tpu", 2
