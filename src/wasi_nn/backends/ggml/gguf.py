"""Reads and checks the header of a GGUF file, before llama.cpp gets the file.

llama.cpp believes much of what a header says, and some values crash its process: they are refused here. Nothing is read
beyond the file's bytes. The header is also the source of the graph's metadata, and of limits for its options. This
module needs no runtime.

Source: the GGUF specification (`docs/gguf.md` of ggml), versions 2 and 3.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from wasi_nn.errors import ErrorCode, NNError, printable

Value = int | float | bool | str

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_KEY = 65535  # bytes, by the specification
_MAX_TENSOR_NAME = 63  # bytes of a tensor's name: ggml's array for it has 64
_MAX_DIMS = 4  # as in ggml
# The fewest bytes of a key, of a tensor's description, and of a string.
_LEAST_KEY, _LEAST_TENSOR, _LEAST_STRING = 13, 24, 8
TOKENS_KEY = "tokenizer.ggml.tokens"
_UINT32, _UINT64, _STRING, _ARRAY = 4, 10, 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SIZES = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()}

# The elements and the bytes of a block of each type of tensor. For other types, only the offset is checked.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 30: (1, 2), 28: (1, 8),  # f32, f16, bf16, f64
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),  # i8, i16, i32, i64
    2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),  # q4_0, q4_1, q5_0, q5_1, q8_0, q8_1
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),  # q2_k to q6_k, q8_k
    19: (256, 50), 29: (256, 56), 16: (256, 66), 17: (256, 74), 22: (256, 82),  # iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s
    18: (256, 98), 21: (256, 110), 20: (32, 18), 23: (256, 136),  # iq3_xxs, iq3_s, iq4_nl, iq4_xs
}  # fmt: skip

# The names of those numbers of `general.file_type` that are in use.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The metadata of a GGUF file: its scalar keys, the lengths and places of its arrays, the number of its
    parameters, and how many tensors have each type, by the type's number."""

    keys: dict[str, Value] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    places: dict[str, int] = field(default_factory=dict)
    tensor_types: Mapping[int, int] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture", ""))

    def number(self, key: str, default: int = 0) -> int:
        """A key of the architecture that is an integer, such as `context_length`."""
        value = self.keys.get(f"{self.architecture}.{key}", default)
        return value if type(value) is int else default

    def described(self) -> dict[str, str]:
        """The texts for `Graph.metadata`."""
        file_type = self.keys.get("general.file_type")
        values = {
            "architecture": self.architecture,
            "name": self.keys.get("general.name"),
            "license": self.keys.get("general.license"),
            "file type": _FILE_TYPES.get(file_type, str(file_type)) if type(file_type) is int else None,
            "parameters": self.parameters,
            "context length": self.number("context_length"),
            "embedding length": self.number("embedding_length"),
            "layers": self.number("block_count"),
            "vocabulary": self.lengths.get(TOKENS_KEY),
        }
        return {key: str(value) for key, value in values.items() if value}


def is_gguf(model: memoryview) -> bool:
    """Whether the bytes begin like a GGUF file of a version that this module reads."""
    return bytes(model[:4]) == _MAGIC and int.from_bytes(model[4:8], "little") in _VERSIONS


def read_header(model: memoryview) -> Header:
    """Read the header of a GGUF file. Raises `NNError` with `invalid-encoding` for an invalid one."""
    if not is_gguf(model):
        raise _wrong(
            f"it begins with {bytes(model[:8])!r}, not with GGUF and the version {' or '.join(map(str, _VERSIONS))}"
        )
    reader = _HeaderReader(model, len(_MAGIC) + 4)
    tensors, count = reader.scalar(_UINT64), reader.scalar(_UINT64)
    keys: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    places: dict[str, int] = {}
    for _ in range(reader.plausible(count, _LEAST_KEY, "keys")):
        key = reader.text(_MAX_KEY)
        if key in keys or key in lengths:
            raise _wrong(f"the key {key!r} occurs twice")
        kind = reader.scalar(_UINT32)
        if kind == _ARRAY:
            places[key] = reader.at
            lengths[key] = reader.skip_array(key)
        else:
            keys[key] = reader.value(kind, key)
    tensors = reader.plausible(tensors, _LEAST_TENSOR, "tensors")
    parameters, types = _read_tensors(reader, tensors, keys.get("general.alignment", 32))
    header = Header(keys, lengths, parameters, places, types)
    _check_model(header)
    return header


def read_token(model: memoryview, header: Header, number: int) -> str:
    """The text of a token, by its number; empty if the vocabulary has none of this number."""
    if not 0 <= number < header.lengths.get(TOKENS_KEY, 0):
        return ""
    reader = _HeaderReader(model, header.places[TOKENS_KEY])
    kind, _ = reader.scalar(_UINT32), reader.scalar(_UINT64)
    if kind != _STRING:
        return ""
    for _ in range(number):
        reader.skip_text()
    return reader.text()


def _read_tensors(reader: _HeaderReader, count: int, alignment: Value) -> tuple[int, Mapping[int, int]]:
    """Read the descriptions of the tensors, check the places of their data, and return the number of all elements, and
    how many tensors have each type."""
    if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise _wrong(f"general.alignment is {alignment!r}, which isn't a power of 2 up to 2^20")
    places: list[tuple[int, int, str]] = []
    names: set[str] = set()
    types = Counter[int]()
    elements = 0
    for _ in range(count):
        name = reader.text(_MAX_TENSOR_NAME)
        if name in names:
            raise _wrong(f"the tensor {name!r} occurs twice")
        names.add(name)
        rank = reader.scalar(_UINT32)
        if not 1 <= rank <= _MAX_DIMS:
            raise _wrong(f"the tensor {name!r} has rank {rank}, which isn't between 1 and {_MAX_DIMS}")
        dims = [reader.scalar(_UINT64) for _ in range(rank)]
        kind, offset = reader.scalar(_UINT32), reader.scalar(_UINT64)
        if 0 in dims or prod(dims) >= 1 << 62:
            raise _wrong(f"the tensor {name!r} has dims {dims}, which are 0 or too large")
        if offset % alignment:
            raise _wrong(f"the tensor {name!r} lies at {offset}, which isn't a multiple of {alignment}")
        block, size = _BLOCKS.get(kind, (1, 0))
        if dims[0] % block:
            raise _wrong(f"the tensor {name!r} has dims {dims}, which aren't whole blocks of {block}")
        places.append((offset, prod(dims) // block * size, name))
        elements += prod(dims)
        types[kind] += 1
    data = max(len(reader.model) - (reader.at + -reader.at % alignment), 0)
    end = 0
    for offset, nbytes, name in sorted(places):
        if offset < end:
            raise _wrong(f"the tensor {name!r} overlaps with another")
        end = offset + nbytes
        if end > data:
            raise _wrong(f"it is cut short: the tensor {name!r} ends {end - data} bytes after the file's end")
    return elements, types


# Numbers by which llama.cpp divides, allocates or indexes, and the range in which it survives that.
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
        raise _wrong("it has no general.architecture")
    for key, (least, most) in _NUMBERS.items():
        value = header.keys.get(f"{architecture}.{key}")
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise _wrong(f"{architecture}.{key} is {value!r}, which isn't between {least} and {most}")
    experts, used = (header.number(key) for key in ("expert_count", "expert_used_count"))
    if used > experts:
        raise _wrong(f"it uses {used} experts of {experts}")
    for key in _EPSILONS:
        value = header.keys.get(f"{architecture}.attention.{key}", 0.0)
        if not isinstance(value, float) or not 0 <= value < 1:
            raise _wrong(f"{architecture}.attention.{key} is {value!r}, which isn't a number between 0 and 1")


class _HeaderReader:
    """Reads the parts of a header in order, never past the end of the file."""

    def __init__(self, model: memoryview, at: int) -> None:
        self.model = model
        self.at = at

    def _take(self, size: int) -> int:
        at = self.at
        if size > len(self.model) - at:
            raise _wrong(
                f"it is cut short: {size} bytes are expected at {at}, and the file has {len(self.model) - at} there"
            )
        self.at = at + size
        return at

    def scalar(self, kind: int) -> int:
        """An integer, of the type with this number."""
        value: int = struct.unpack_from(_SCALARS[kind], self.model, self._take(_SIZES[kind]))[0]
        return value

    def plausible(self, count: int, least: int, what: str) -> int:
        """The count itself, unless the file is too short for that many parts of at least so many bytes each."""
        if count > (len(self.model) - self.at) // least:
            raise _wrong(f"it is cut short or damaged: it says that {count} {what} follow, and is too short for them")
        return count

    def text(self, longest: int = 1 << 64) -> str:
        """A string of at most so many bytes."""
        size = self.scalar(_UINT64)
        if size > longest:
            raise _wrong(f"a name of {size} bytes is longer than {longest}")
        at = self._take(size)
        return bytes(self.model[at : at + size]).decode(errors="replace")

    def skip_text(self) -> None:
        """Skip a string."""
        self._take(self.scalar(_UINT64))

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
        """Skip the elements of an array, and return their number."""
        kind, count = self.scalar(_UINT32), self.scalar(_UINT64)
        if kind == _STRING:
            self._skip_strings(key, self.plausible(count, _LEAST_STRING, f"strings of {key!r}"))
        elif kind in _SIZES:
            self._take(_SIZES[kind] * count)
        else:
            raise _wrong(f"the array {key!r} has elements of type {kind}, which doesn't exist")
        return count

    def _skip_strings(self, key: str, count: int) -> None:
        # Without `text` and `scalar`, since a vocabulary has hundreds of thousands of strings.
        model, at, end, size_at = self.model, self.at, len(self.model), struct.Struct("<Q").unpack_from
        tokens: set[bytes] = set()
        for place in range(count):
            start = at + 8
            at = start + size_at(model, at)[0] if start <= end else end + 1
            if at > end:
                raise _wrong(f"it is cut short or damaged: the array {key!r} goes on past its end")
            if key == TOKENS_KEY and at > start:
                token = bytes(model[start:at])
                if token in tokens:  # llama.cpp would end its process
                    raise _wrong(f"the token {place}, {token!r}, occurs twice")
                tokens.add(token)
        self.at = at


def _wrong(message: str) -> NNError:
    return NNError(ErrorCode.INVALID_ENCODING, f"the model isn't a valid GGUF file: {printable(message)}")
