"""What a host tells about a graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .numbers import Encoding, Type

if TYPE_CHECKING:
    from wit_world.imports import describe as wit, types as wit_types


class _Kind(StrEnum):
    ANY = "any numbers"
    BYTE_STRING = "byte strings"


ANY = _Kind.ANY
"""Numbers of any type: the model doesn't say."""
BYTE_STRING = _Kind.BYTE_STRING
"""Byte strings of any length."""

ElementType = Type | _Kind | str
"""The type of a described tensor's elements: a `Type`, `BYTE_STRING`, `ANY`, or the runtime's own name of a type that
wasi-nn lacks. Each is a string."""

Dimension = int | str | None
"""The size of a described dimension: this one only; any, the same for all of this name in a compute; or any."""


@dataclass(frozen=True)
class TensorDescription:
    """An input or output.

    name          the name that computes take or give
    element_type  the type of its elements
    dims          None if even the number of dimensions is open
    optional      whether the input may be left out
    """

    name: str
    element_type: ElementType
    dims: tuple[Dimension, ...] | None
    optional: bool


@dataclass(frozen=True)
class Description:
    """A graph.

    encoding    `AUTODETECT` for one that wasi-nn has no word for
    runtime     the ML runtime that runs the graph, such as `onnxruntime`
    device      the device that the graph runs on, such as `cpu`
    signature   the signature that the graph runs. Empty if the model has none with a name
    signatures  the names of all signatures of the model
    inputs      in the order of their indexes
    outputs     in the order of their indexes. None if the model doesn't declare them
    metadata    what the model says about itself. Empty if the host's operator doesn't allow it
    """

    encoding: Encoding
    runtime: str
    device: str
    signature: str
    signatures: tuple[str, ...]
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...] | None
    metadata: dict[str, str]


def description_of(told: wit.GraphDescription) -> Description:
    """The description in the host's record."""
    return Description(
        Encoding.of_number(told.encoding.value),
        told.runtime,
        told.device,
        told.signature,
        tuple(told.signatures),
        tuple(map(_tensor, told.inputs)),
        None if told.outputs is None else tuple(map(_tensor, told.outputs)),
        dict(told.metadata),
    )


def _tensor(told: wit.TensorDescription) -> TensorDescription:
    dims = None if told.dimensions is None else tuple(map(_dimension, told.dimensions))
    return TensorDescription(told.name, _element_type(told.element_type), dims, told.optional)


def _element_type(told: wit_types.ElementType) -> ElementType:
    from wit_world.imports import types

    match told:
        case types.ElementType_Number(number):
            return Type.of_number(number.value)
        case types.ElementType_Native(name):
            return name
        case types.ElementType_ByteString():
            return BYTE_STRING
    return ANY


def _dimension(told: wit_types.Dimension) -> Dimension:
    return getattr(told, "value", None)  # one of any size has none
