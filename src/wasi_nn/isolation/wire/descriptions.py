"""Descriptions of graphs, tensors and errors: the worker writes them, and the host reads and checks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.isolation.wire.channel import MAX_BYTES
from wasi_nn.types import GraphEncoding, dtype_named

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims, DType

_NUMBERS = frozenset(
    {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    | {"bool", "float16", "float32", "float64", "bfloat16", "complex64", "complex128"}
)
_KINDS = {kind.__name__: kind for kind in (*NNError.__subclasses__(), NNError)}
_MAX_TEXT = 4096
_MAX_METADATA = 32 * 2**20  # bytes
_MAX_DECLARED_RANK = 65536
_MAX_SIGNATURES, _MAX_SIGNATURE = 4096, 1024  # names, and characters of each
_MAX_KEYS, _MAX_KEY = 1024, 256  # of an input in JSON: errors list them, and look for the nearest
MAX_TEXTS = 2**20
"""The most strings in one message: as a Python object, a short string takes ten times its encoded bytes."""
_LENGTH = Struct("<Q")


class InvalidWorkerMessage(ValueError):
    """A message of a worker can't be true."""


def described_error(error: NNError) -> dict[str, str]:
    """An error as a message."""
    return {"kind": type(error).__name__, "code": error.code.value, "text": str(error)[:_MAX_TEXT]}


def error_of(fields: Any) -> NNError:
    """The error of a message. Raises `InvalidWorkerMessage`."""
    try:
        kind, code, text = _KINDS[fields["kind"]], ErrorCode(fields["code"]), printable(str(fields["text"]))[:_MAX_TEXT]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidWorkerMessage("an error without a known kind, code and text") from error
    return NNError.of_kind(kind, code, text)


def _described_info(info: TensorInfo) -> list[Any]:
    dtype = None if info.dtype is None else info.dtype.name
    dims = None if info.dims is None else list(info.dims)
    keys = (
        list(info.keys) if info.opaque and info.keys else None
    )  # those of maps are in the metadata where a guest can use them
    return [info.name, dtype, dims, info.native, info.optional, info.opaque, info.quantization, keys, info.aliases]


def _info_of(described: Sequence[Any]) -> TensorInfo:
    name, dtype, dims, native, optional, opaque, quantization, keys, aliases = described
    return TensorInfo(
        str(name),
        None if dtype is None else dtype_of(dtype),
        None if dims is None else _declared_dims_of(dims),
        printable(str(native)),
        bool(optional),
        bool(opaque),
        None if quantization is None else (float(quantization[0]), int(quantization[1])),
        None if keys is None else _keys_of(keys),
        tuple(map(str, aliases)),
    )


def dtype_of(name: str) -> DType:
    """The numpy dtype of a name. Raises `InvalidWorkerMessage` for a dtype that no tensor has."""
    if name != "object" and name not in _NUMBERS:
        raise InvalidWorkerMessage(f"elements of type {name!r:.80}")
    return dtype_named(name)


def described_graph(graph: Graph) -> dict[str, Any]:
    """A graph as a message. Raises `NNError` with `too-large` for more or longer names of signatures than the host
    takes."""
    names = graph.signatures
    if len(names) > _MAX_SIGNATURES or max(map(len, (graph.signature, *names))) > _MAX_SIGNATURE:
        most = f"at most {_MAX_SIGNATURES} signatures, whose names have at most {_MAX_SIGNATURE} characters"
        raise NNError(ErrorCode.TOO_LARGE, f"an isolated graph may have {most}")
    return {
        "encoding": graph.encoding.value,
        "inputs": [_described_info(info) for info in graph.inputs],
        "outputs": [_described_info(info) for info in graph.outputs],
        "device": graph.device,
        "outputs_vary": graph.outputs_vary,
        "keeps_state": graph.keeps_state,
        "signature": graph.signature,
        "signatures": list(names),
    }


def encoded_metadata(graph: Graph) -> bytes:
    """A graph's metadata as bytes: names and values in turn. Raises `NNError` with `too-large` for more than the host
    takes."""
    items = [text for pair in graph.metadata.items() for text in pair]
    encoded = encoded_texts(np.array([None, *items], object)[1:])
    if len(encoded) > _MAX_METADATA:
        message = f"metadata of {len(encoded)} bytes: an isolated graph may have at most {_MAX_METADATA}"
        raise NNError(ErrorCode.TOO_LARGE, message)
    return encoded


class Description:
    """A graph as a worker describes it."""

    def __init__(self, described: Any, metadata: bytes) -> None:
        try:
            if len(metadata) > _MAX_METADATA:
                raise InvalidWorkerMessage(f"metadata of {len(metadata)} bytes")
            texts = list(map(str, texts_in(metadata)))
            self.encoding = GraphEncoding(described["encoding"])
            self.inputs = tuple(map(_info_of, described["inputs"]))
            self.outputs = tuple(map(_info_of, described["outputs"]))
            self.metadata = dict(zip(texts[::2], texts[1::2], strict=True))
            self.device = printable(str(described["device"]))
            self.outputs_vary = bool(described["outputs_vary"])
            self.keeps_state = bool(described["keeps_state"])
            self.signatures = _signatures_of(described["signatures"])
            [self.signature] = _signatures_of([described["signature"]])
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise InvalidWorkerMessage(f"an invalid description of a graph ({one_line(error)})") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Description) and self._model == other._model

    @property
    def _model(self) -> tuple[object, ...]:
        """All that is the model's own."""
        return self.inputs, self.outputs, self.signature, self.signatures

    __hash__ = None  # type: ignore[assignment]


def encoded_texts(array: Array) -> bytes:
    """The elements of an array of strings, one behind the other: of each, a number (twice its length, plus 1 if it is
    bytes, not text), and its bytes. Raises `NNError` for elements that are neither text nor bytes."""
    parts = []
    for item in array.reshape(-1).tolist():
        if isinstance(item, str):
            text = item.encode("utf-8", "surrogatepass")
        elif isinstance(item, bytes):
            text = item
        else:
            message = f"no tensor of an isolated graph can have a {type(item).__name__} as an element"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        parts += [_LENGTH.pack(len(text) << 1 | isinstance(item, bytes)), text]
    require_few_texts(len(parts) // 2, sum(map(len, parts)))
    return b"".join(parts)


def require_few_texts(count: int, size: int) -> None:
    """Raise `NNError` with `too-large` for more strings, or more bytes of strings, than one message has."""
    for unit, amount, most in (("strings", count, MAX_TEXTS), ("bytes of strings", size, MAX_BYTES)):
        if amount > most:
            message = (
                f"{amount} {unit}: an isolated graph may have at most {most} in an input, or in all outputs together"
            )
            raise NNError(ErrorCode.TOO_LARGE, message)


def texts_of(content: bytes, dims: Dims) -> Array:
    """The array of strings that `encoded_texts` encoded."""
    count = prod(dims)
    if count * _LENGTH.size > len(content):
        raise InvalidWorkerMessage(f"too few strings for the dims {list(dims)}")
    array: Array = np.empty(count, object)
    array[:] = list(texts_in(content, count))
    return array.reshape(dims)


def texts_in(content: bytes, count: int | None = None) -> Iterator[str | bytes]:
    """The strings that `encoded_texts` encoded: exactly `count`, or all."""
    start = found = 0
    while start < len(content):
        if found == MAX_TEXTS:
            raise InvalidWorkerMessage(f"more than {MAX_TEXTS} strings")
        if start + _LENGTH.size > len(content):
            raise InvalidWorkerMessage("strings that end too early")
        (number,) = _LENGTH.unpack_from(content, start)
        start += _LENGTH.size
        text = content[start : start + (number >> 1)]
        start += number >> 1
        found += 1
        yield text if number & 1 else text.decode("utf-8", "surrogatepass")
    if start != len(content) or count not in (None, found):
        raise InvalidWorkerMessage(f"{found} strings, which aren't as many or as long as the message says")


def dims_of(value: Any) -> Dims:
    """Dimensions of a tensor. Raises `InvalidWorkerMessage`."""
    if not isinstance(value, list) or len(value) > MAX_RANK or not all(map(_is_dim, value)):
        raise InvalidWorkerMessage(f"dims {value!r:.80}")
    return tuple(value)


def _is_dim(value: Any, below: int = 2**48) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _keys_of(value: Any) -> tuple[str, ...]:
    """The keys that an input in JSON may have."""
    if not isinstance(value, list) or len(value) > _MAX_KEYS:
        raise InvalidWorkerMessage("keys of an input that are no short list")
    return tuple(printable(str(key)[:_MAX_KEY]) for key in value)


def _signatures_of(value: Any) -> tuple[str, ...]:
    """Names of signatures."""
    if not isinstance(value, list) or len(value) > _MAX_SIGNATURES or not all(map(_is_signature, value)):
        raise InvalidWorkerMessage("signatures that are no short list of short names")
    return tuple(value)


def _is_signature(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_SIGNATURE


def _declared_dims_of(value: Any) -> tuple[int | str, ...]:
    """Declared dimensions, some of which are names. A model may declare more of them than any tensor has."""
    fits = isinstance(value, list) and all(isinstance(dim, str) or _is_dim(dim, 2**63) for dim in value)
    if not fits or len(value) > _MAX_DECLARED_RANK:
        raise InvalidWorkerMessage(f"dims {value!r:.80}")
    return tuple(value)
