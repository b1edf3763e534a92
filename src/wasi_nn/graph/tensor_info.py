"""Tensor infos: the inputs and outputs as a graph declares them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import printable
from wasi_nn.types import TensorType, dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import DType


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as a graph declares it.

    `dims` is a number for each static dimension and a name (`"?"` if the model gives none) for each dynamic one; `()`
    for a scalar; None where even the rank is unknown. `dtype` is `object` where the elements aren't numbers, and then
    `native` (the runtime's own word for the type) says what they are; None where the model doesn't say, and then a
    tensor of any type is taken. `optional` inputs need not be set. `opaque` ones are bytes, such as a prompt, taken
    as they are whatever type and dims they are said to have. `quantization` is a scale and a zero point: the number
    that an element stands for is `scale * (element - zero point)`. `keys` are those of each map in a sequence of maps,
    in ascending order, if the model tells them; of an opaque input that takes JSON, those that an object may have.
    `aliases` are further names by which callers may refer to it.
    """

    name: str
    dtype: DType | None
    dims: tuple[int | str, ...] | None
    native: str = ""
    optional: bool = False
    opaque: bool = False
    quantization: tuple[float, int] | None = None
    keys: tuple[int | str, ...] | None = field(default=None, repr=False)  # a language model has 130 options
    aliases: tuple[str, ...] = ()

    @classmethod
    def of_bytes(
        cls, name: str, *, optional: bool = False, keys: tuple[str, ...] | None = None, aliases: tuple[str, ...] = ()
    ) -> TensorInfo:
        """Bytes of any length."""
        return cls(name, np.dtype(np.uint8), ("?",), "bytes", optional, opaque=True, keys=keys, aliases=aliases)

    @property
    def type(self) -> TensorType | None:
        """The specification's element type; None where it has none for this tensor, or the model doesn't say."""
        return None if self.dtype is None else TensorType.of(self.dtype)

    @property
    def type_name(self) -> str:
        """The element type for a message: the specification's name, else the runtime's or numpy's."""
        if self.opaque:
            return "bytes"
        if self.dtype is None:
            return "any"
        if self.dtype != object:
            return dtype_name(self.dtype)
        word = re.fullmatch(r"tensor\((\w+)\)", self.native)  # as ONNX Runtime says it
        return word[1] if word else self.native or "object"

    @property
    def has_fixed_dims(self) -> bool:
        """Whether none of its dims, nor their number, is left open."""
        return self.dims is not None and all(isinstance(dim, int) for dim in self.dims)

    @property
    def dims_text(self) -> str:
        """The dims for a message, such as `[batch, 3, 224, 224]`."""
        return "of any rank" if self.dims is None else dims_text(self.dims)

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.type_name}{'[...]' if self.dims is None else self.dims_text}"
