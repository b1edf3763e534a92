"""The header of a GGUF file, read before llama.cpp sees the file.

llama.cpp believes much of what a file says; some of that ends its process. What is read here is bounded by the bytes
that are there, and says what the graph's metadata and the limits of its options need. This module needs no runtime.

Source: the GGUF specification (`docs/gguf.md` of ggml), versions 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import prod

from wasi_nn.errors import ErrorCode, NNError, printable

Value = int | float | bool | str

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_KEY = 65535
_MAX_TENSOR_NAME = 63
_MAX_DIMS = 4
_TOKENS = "tokenizer.ggml.tokens"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SIZES = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()}

# The elements and the bytes of a block of each type of tensor. Of a type that isn't here only the offset is checked.
_BLOCKS = {
    0: (1, 4),  # f32
    1: (1, 2),  # f16
    2: (32, 18),  # q4_0
    3: (32, 20),  # q4_1
    6: (32, 22),  # q5_0
    7: (32, 24),  # q5_1
    8: (32, 34),  # q8_0
    9: (32, 36),  # q8_1
    10: (256, 84),  # q2_k
    11: (256, 110),  # q3_k
    12: (256, 144),  # q4_k
    13: (256, 176),  # q5_k
    14: (256, 210),  # q6_k
    15: (256, 292),  # q8_k
    16: (256, 66),  # iq2_xxs
    17: (256, 74),  # iq2_xs
    18: (256, 98),  # iq3_xxs
    19: (256, 50),  # iq1_s
    20: (32, 18),  # iq4_nl
    21: (256, 110),  # iq3_s
    22: (256, 82),  # iq2_s
    23: (256, 136),  # iq4_xs
    24: (1, 1),  # i8
    25: (1, 2),  # i16
    26: (1, 4),  # i32
    27: (1, 8),  # i64
    28: (1, 8),  # f64
    29: (256, 56),  # iq1_m
    30: (1, 2),  # bf16
}

# What `general.file_type` numbers mean, of those that are in use.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself: its scalar keys, the lengths of its arrays, and how much it weighs."""

    keys: dict[str, Value] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    parameters: int = 0

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture", ""))

    def number(self, key: str, default: int = 0) -> int:
        """An integer key of the architecture's, such as `context_length`."""
        value = self.keys.get(f"{self.architecture}.{key}", default)
        return value if type(value) is int else default

    def described(self) -> dict[str, str]:
        """What is worth a reader's while, for `Graph.metadata`."""
        file_type = self.keys.get("general.file_type")
        found = {
            "architecture": self.architecture,
            "name": self.keys.get("general.name"),
            "license": self.keys.get("general.license"),
            "file type": _FILE_TYPES.get(file_type, str(file_type)) if type(file_type) is int else None,
            "parameters": self.parameters,
            "context length": self.number("context_length"),
            "embedding length": self.number("embedding_length"),
            "layers": self.number("block_count"),
            "vocabulary": self.lengths.get(_TOKENS),
        }
        return {key: str(value) for key, value in found.items() if value}


def is_gguf(model: memoryview) -> bool:
    """Whether these bytes begin as a GGUF file of a version that is read here."""
    return bytes(model[:4]) == _MAGIC and int.from_bytes(model[4:8], "little") in _VERSIONS


def read_header(model: memoryview) -> Header:
    """The header of a GGUF file. Raises `NNError` with `invalid-encoding` if it isn't one, is damaged or is cut off."""
    if not is_gguf(model):
        raise _wrong(f"it begins with {bytes(model[:8])!r}, not with GGUF and a version of {_VERSIONS}")
    reader = _Reader(model, len(_MAGIC) + 4)
    tensors, count = reader.scalar(10), reader.scalar(10)
    keys: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(reader.plausible(count, 13, "keys")):
        key = reader.text(_MAX_KEY)
        if key in keys or key in lengths:
            raise _wrong(f"the key {key!r} is there twice")
        kind = int(reader.scalar(4))
        if kind == _ARRAY:
            lengths[key] = reader.skip_array(key)
        else:
            keys[key] = reader.value(kind, key)
    parameters = _read_tensors(reader, reader.plausible(tensors, 24, "tensors"), keys.get("general.alignment", 32))
    header = Header(keys, lengths, parameters)
    _check_model(header)
    return header


def _read_tensors(reader: _Reader, count: int, alignment: Value) -> int:
    """Read the descriptions of the tensors, check where their data lies, and give the number of their elements."""
    if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise _wrong(f"general.alignment can't be {alignment!r}")
    places: list[tuple[int, int, str]] = []
    names: set[str] = set()
    elements = 0
    for _ in range(count):
        name = reader.text(_MAX_TENSOR_NAME)
        if name in names:
            raise _wrong(f"the tensor {name!r} is there twice")
        names.add(name)
        rank = int(reader.scalar(4))
        if not 1 <= rank <= _MAX_DIMS:
            raise _wrong(f"the tensor {name!r} has rank {rank}")
        dims = [int(reader.scalar(10)) for _ in range(rank)]
        kind, offset = int(reader.scalar(4)), int(reader.scalar(10))
        if 0 in dims or prod(dims) >= 1 << 62:
            raise _wrong(f"the tensor {name!r} has dims {dims}")
        if offset % alignment:
            raise _wrong(f"the tensor {name!r} lies at {offset}, which isn't a multiple of {alignment}")
        block, size = _BLOCKS.get(kind, (1, 0))
        if dims[0] % block:
            raise _wrong(f"the tensor {name!r} has dims {dims}, which aren't whole blocks of {block}")
        places.append((offset, prod(dims) // block * size, name))
        elements += prod(dims)
    data = len(reader.model) - (reader.at + -reader.at % alignment)
    end = 0
    for offset, nbytes, name in sorted(places):
        if offset < end:
            raise _wrong(f"the tensor {name!r} lies over another")
        end = offset + nbytes
        if end > max(data, 0):
            raise _wrong(f"the tensor {name!r} ends {end - max(data, 0)} bytes after the file's end")
    return elements


# What llama.cpp divides by, allocates by or indexes with, and the range in which it survives that.
_NUMBERS = {
    "block_count": (1, 512),
    "context_length": (1, 1 << 30),
    "embedding_length": (1, 1 << 20),
    "attention.head_count": (1, 1 << 16),
    "attention.head_count_kv": (1, 1 << 16),
    "attention.key_length": (1, 1 << 16),
    "attention.value_length": (1, 1 << 16),
    "rope.dimension_count": (1, 1 << 16),
    "pooling_type": (0, 4),
    "expert_count": (0, 512),
    "expert_used_count": (0, 512),
}
_EPSILONS = ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon")


def _check_model(header: Header) -> None:
    architecture = header.keys.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise _wrong("it doesn't say its general.architecture")
    for key, (least, most) in _NUMBERS.items():
        value = header.keys.get(f"{architecture}.{key}")
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise _wrong(f"{architecture}.{key} is {value!r}, which isn't between {least} and {most}")
    experts, used = (header.number(key) for key in ("expert_count", "expert_used_count"))
    if used > experts:
        raise _wrong(f"it uses {used} experts, and has {experts}")
    for key in _EPSILONS:
        value = header.keys.get(f"{architecture}.attention.{key}", 0.0)
        if not isinstance(value, float) or not 0 <= value < 1:
            raise _wrong(f"{architecture}.attention.{key} is {value!r}, which isn't a number between 0 and 1")


class _Reader:
    """Reads one thing after another, never past the end."""

    def __init__(self, model: memoryview, at: int) -> None:
        self.model = model
        self.at = at

    def _take(self, size: int) -> int:
        at = self.at
        if size > len(self.model) - at:
            raise _wrong(f"it is cut off: {size} bytes are expected at {at}, and {len(self.model) - at} are there")
        self.at = at + size
        return at

    def scalar(self, kind: int) -> int:
        """A number of one of the kinds that are integers."""
        value: int = struct.unpack_from(_SCALARS[kind], self.model, self._take(_SIZES[kind]))[0]
        return value

    def plausible(self, count: int, least: int, what: str) -> int:
        """A count of things that take so many bytes at least; refused if there isn't room for them."""
        if count > (len(self.model) - self.at) // least:
            raise _wrong(f"it says that {count} {what} follow, for which it is too short")
        return count

    def text(self, longest: int = 1 << 64) -> str:
        """A string."""
        size = self.scalar(10)
        if size > longest:
            raise _wrong(f"a name of {size} bytes is longer than {longest}")
        at = self._take(size)
        return bytes(self.model[at : at + size]).decode(errors="replace")

    def value(self, kind: int, key: str) -> Value:
        if kind == _STRING:
            return self.text()
        if kind not in _SCALARS:
            raise _wrong(f"the key {key!r} has type {kind}, which doesn't exist")
        code, at = _SCALARS[kind], self._take(_SIZES[kind])
        if code == "<?" and self.model[at] > 1:
            raise _wrong(f"the key {key!r} is {self.model[at]}, not true or false")
        value: Value = struct.unpack_from(code, self.model, at)[0]
        return value

    def skip_array(self, key: str) -> int:
        """Pass over an array's elements; gives their number."""
        kind, count = self.scalar(4), self.scalar(10)
        if kind == _STRING:
            self._pass_strings(key, self.plausible(count, 8, f"strings of {key!r}"))
        elif kind in _SIZES:
            self._take(_SIZES[kind] * count)
        else:
            raise _wrong(f"the array {key!r} has elements of type {kind}")
        return count

    def _pass_strings(self, key: str, count: int) -> None:
        # In place, since there may be hundreds of thousands of them.
        model, at, end, size_at = self.model, self.at, len(self.model), struct.Struct("<Q").unpack_from
        tokens: set[bytes] = set()
        for place in range(count):
            start = at + 8
            at = start + size_at(model, at)[0] if start <= end else end + 1
            if at > end:
                raise _wrong(f"the array {key!r} is cut off")
            if key == _TOKENS and at > start:
                token = bytes(model[start:at])
                if token in tokens:  # which ends llama.cpp's process
                    raise _wrong(f"the token {place}, {token!r}, is there twice")
                tokens.add(token)
        self.at = at


def _wrong(message: str) -> NNError:
    return NNError(ErrorCode.INVALID_ENCODING, f"the model isn't a sound GGUF file: {printable(message)}")
