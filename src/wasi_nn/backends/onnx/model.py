"""Reads facts from ONNX models without ONNX Runtime: external data, declared shapes, and whether it is one at all.

Field numbers are those of onnx.proto3 (ONNX 1.17). Models may be hostile, and may be gigabytes: the reader is lazy,
skips weights, and stops after a number of fields that no real model has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from wasi_nn.backends.formats.protobuf import MAX_MESSAGE, CutShort, fields
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.process.files import mapped_file
from wasi_nn.settings import BY_PATH, how_to_set_option

_MAX_TOP_LEVEL_FIELDS = 100_000
_MAX_FIELDS = 2_000_000
_MAX_NESTING = 100_000  # of messages; protobuf itself reads 100

_MODEL_IR_VERSION, _MODEL_GRAPH = 1, 7
_MODEL_FIELDS: Mapping[int, type] = {1: int, 5: int} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), memoryview)
_LONG_MODEL_FIELDS = (7, 20, 25)
_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_SHAPE = 2
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_ENDINGS = (".bin", ".data", ".weights")

# The fields of each message that lead to tensors.
_PATHS_TO_TENSORS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}


def is_onnx(model: memoryview) -> bool:
    """Whether these bytes begin as a ModelProto: an IR version that is a number, and a graph."""
    seen = set()
    try:
        for number, value in islice(fields(model), _MAX_TOP_LEVEL_FIELDS):
            if (number, type(value)) in ((_MODEL_IR_VERSION, int), (_MODEL_GRAPH, memoryview)):
                seen.add(number)
            if len(seen) == 2:
                return True
    except ValueError:
        pass
    return False


def cut_short_onnx(model: memoryview) -> str | None:
    """The words for bytes that begin as a ModelProto, and have fewer bytes than its fields say; None for others."""
    seen = set()
    try:
        for number, value in islice(fields(model), _MAX_TOP_LEVEL_FIELDS):
            if not isinstance(value, _MODEL_FIELDS.get(number, ())):
                return None
            seen.add(number)
    except CutShort as cut:
        if _MODEL_IR_VERSION in seen and cut.number in _LONG_MODEL_FIELDS and cut.end < MAX_MESSAGE:
            return f"an ONNX model, cut short: it has {len(model)} bytes of at least {cut.end}"
    except ValueError:
        pass
    return None


def uses_external_data(model: memoryview) -> bool:
    """Whether any tensor of the model, however deep, has its data outside of the model.

    Raises `ValueError` if the model is malformed or has too many fields to look through.
    """
    return any(
        number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0)
        for number, value in _tensor_fields(model)
    )


def _external_locations(model: memoryview) -> set[str]:
    """The files with data of the model's tensors, by the names in the model. Raises as `uses_external_data` does."""
    locations = set()
    for number, value in _tensor_fields(model):
        if number == _TENSOR_EXTERNAL_DATA and isinstance(value, memoryview):
            entry = dict(fields(value))
            key, location = entry.get(_ENTRY_KEY), entry.get(_ENTRY_VALUE)
            if isinstance(key, memoryview) and bytes(key) == b"location" and isinstance(location, memoryview):
                locations.add(bytes(location).decode("utf-8", "surrogateescape"))
    return locations


def _tensor_fields(model: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of the model's tensors, however deep. Raises as `uses_external_data` does."""
    todo = [("model", fields(model))]
    count = 0
    while todo:
        kind, message = todo[-1]
        paths = _PATHS_TO_TENSORS.get(kind, {})
        for number, value in message:
            count += 1
            if count > _MAX_FIELDS:
                raise ValueError(f"it has more than {_MAX_FIELDS} fields")
            if kind == "tensor":
                yield number, value
            elif number in paths and isinstance(value, memoryview):
                todo.append((paths[number], fields(value)))
                if len(todo) > _MAX_NESTING:
                    raise ValueError("its messages are nested too deep")
                break
        else:
            todo.pop()


def require_self_contained(model: bytes) -> None:
    """Raise `NNError` with `security` for a model whose tensors have their data in files, or in the host's memory (a
    location that the runtime uses internally)."""
    if b"location" not in model:  # external data always has a key of this name
        return
    try:
        external = uses_external_data(memoryview(model))
    except ValueError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model is not valid ONNX: {error}") from error
    if external:
        raise NNError(
            ErrorCode.SECURITY,
            f"the model has external data, in other files, which bytes can't have: {BY_PATH}, or store it in one",
        )


def files_of_onnx(path: Path) -> Sequence[Path]:
    """The file of a model, and the files with data of its tensors."""
    return [path, *(path.parent / location for location in sorted(_locations_in(path)))]


def own_files_of_onnx(path: Path, listed: Sequence[str]) -> Sequence[Path]:
    """The files of a model. Each must be the model's own by its name, or be `listed`: paths from the model's folder,
    in which `*` stands for any characters.

    A model's own files lie beside it, and are named after it: `model.onnx.data`, `model.onnx_data_1`, `model.bin`. An
    untrusted model could name any other file to read it. Raises `NNError` with `security` for such a model.
    """
    folders = {path.parent.resolve(), path.resolve().parent}  # they differ if the model is a link into a cache
    files = [path]
    for location in sorted(_locations_in(path)):
        file = path.parent / location
        is_inside = not (Path(location).is_absolute() or ".." in Path(location).parts)
        is_listed = is_inside and any(fnmatchcase(location, pattern) for pattern in listed)
        own = location == file.name and _is_named_after(path, file) and file.resolve().parent in folders
        if not (own or is_listed):
            name = printable(location)[:200]
            why = _why_not_listed(path, name) if is_inside else "isn't in the model's folder: move the file there"
            raise NNError(ErrorCode.SECURITY, f"the model has data in {name!r}, which {why}")
        files.append(file)
    return files


def _why_not_listed(path: Path, name: str) -> str:
    return (
        f"isn't named after the model, as {path.name}.data would be: an isolated model may read that only if the "
        f"option 'external_data' lists it ({how_to_set_option('external_data', [name])})"
    )


def _is_named_after(path: Path, file: Path) -> bool:
    return file.name.startswith(path.name) or (file.stem == path.stem and file.suffix in _ENDINGS)


def _locations_in(path: Path) -> set[str]:
    with mapped_file(path) as content:
        try:
            return _external_locations(content) if is_onnx(content) else set()
        except ValueError:  # a malformed model: the runtime's error says what is wrong
            return set()


def tensors_with_shape(model: memoryview) -> set[str]:
    """The names of the graph's inputs and outputs that declare a shape, also the shape of a scalar.

    ONNX Runtime says `[]` for a scalar and for an unknown rank alike.
    Of a malformed model, only the part before the first error is read.
    """
    names: set[str] = set()
    try:
        for graph in _messages(model, _MODEL_GRAPH):
            for number, value in islice(fields(graph), _MAX_FIELDS):
                if number not in (_GRAPH_INPUT, _GRAPH_OUTPUT) or isinstance(value, int):
                    continue
                tensors = (t for m in _messages(value, _VALUE_TYPE) for t in _messages(m, _TYPE_TENSOR))
                if any(True for tensor in tensors for _ in _messages(tensor, _TENSOR_TYPE_SHAPE)):
                    names.update(bytes(name).decode("utf-8", "replace") for name in _messages(value, _VALUE_NAME))
    except ValueError:
        pass
    return names


def _messages(message: memoryview, field: int) -> Iterator[memoryview]:
    return (value for number, value in fields(message) if number == field and isinstance(value, memoryview))
