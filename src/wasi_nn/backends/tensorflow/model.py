"""Recognizes the formats of TensorFlow models without TensorFlow, and finds or unpacks the files of a SavedModel.

Field numbers are those of TensorFlow's graph.proto, node_def.proto, saved_model.proto and meta_graph.proto. Models may
be hostile: only the beginning of a message is read, weights are skipped, and malformed bytes are no model.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath

from wasi_nn.backends.formats import archives
from wasi_nn.backends.formats.protobuf import MAX_MESSAGE, CutShort, fields
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.process.ending import finalize_by_the_end

SAVED_MODEL = "saved_model.pb"
_FOLDERS = ("variables", "assets")

# How much of a model is read to recognize it: fields of a message, nodes of a graph, entries of a tar file, and bytes
# of a compressed tar file.
_MAX_FIELDS = 1000
_MAX_NODES = 16
_MAX_TAR_ENTRIES = 1000
_MAX_TAR_BYTES = 4 << 20
_TAR_BLOCK = 512

# The fields of each message, and the type by which `protobuf.fields` gives each.
_SAVED_MODEL_FIELDS: Mapping[int, type] = {1: int, 2: memoryview}
_META_GRAPH_FIELDS: Mapping[int, type] = dict.fromkeys(range(1, 8), memoryview)
_GRAPH_FIELDS: Mapping[int, type] = {1: memoryview, 2: memoryview, 3: int, 4: memoryview, 5: memoryview}
_NODE_FIELDS: Mapping[int, type] = dict.fromkeys(range(1, 8), memoryview)
_SAVED_MODEL_VERSION, _SAVED_MODEL_META_GRAPH = 1, 2
_META_GRAPH_GRAPH = 2
_GRAPH_NODE, _GRAPH_VERSIONS = 1, 4
_NODE_NAME, _NODE_OP, _NODE_ATTR = 1, 2, 5

_NAME = re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP = re.compile(rb"[A-Za-z_][A-Za-z0-9_.>]*")


def is_tensorflow(model: memoryview) -> bool:
    """Whether the bytes are a TensorFlow model: a SavedModel's protobuf, an archive of one, or a GraphDef."""
    return is_saved_model_archive(model) or is_saved_model(model) or is_graph_def(model)


def is_saved_model(model: memoryview) -> bool:
    """Whether the bytes are a SavedModel's protobuf: a schema version and meta graphs."""
    try:
        parts = _known_fields(model, _SAVED_MODEL_FIELDS)
        graphs = [value for number, value in parts if number == _SAVED_MODEL_META_GRAPH]
        if not graphs or all(number != _SAVED_MODEL_VERSION for number, _ in parts):
            return False
        first = _known_fields(_message(graphs[0]), _META_GRAPH_FIELDS)
        return any(number == _META_GRAPH_GRAPH for number, _ in first)
    except ValueError:
        return False


def is_graph_def(model: memoryview) -> bool:
    """Whether the bytes are a GraphDef: nodes with names and operations, and either attributes or a version."""
    try:
        parts = _known_fields(model, _GRAPH_FIELDS)
        nodes = [_message(value) for number, value in parts if number == _GRAPH_NODE]
        known = [dict(_known_fields(node, _NODE_FIELDS)) for node in nodes[:_MAX_NODES]]
    except ValueError:
        return False
    is_typical = any(number == _GRAPH_VERSIONS for number, _ in parts) or any(_NODE_ATTR in node for node in known)
    return is_typical and bool(known) and all(map(_is_node, known))


def cut_short_tensorflow(model: memoryview) -> str | None:
    """The words for bytes that begin as a SavedModel's protobuf or a GraphDef, and have fewer bytes than its fields
    say; None for others."""
    whole: list[tuple[int, int | memoryview]] = []
    try:
        whole.extend(islice(fields(model), _MAX_FIELDS))
    except CutShort as cut:
        return None if cut.end >= MAX_MESSAGE else _named_beginning(model, whole, cut)
    except ValueError:
        pass
    return None


def _named_beginning(model: memoryview, whole: Sequence[tuple[int, int | memoryview]], cut: CutShort) -> str | None:
    cut_short = f"cut short: it has {len(model)} bytes of at least {cut.end}"
    if whole == [(_SAVED_MODEL_VERSION, 1)] and cut.number == _SAVED_MODEL_META_GRAPH:
        return f"the {SAVED_MODEL} of a SavedModel, {cut_short}"
    nodes = [value for number, value in whole[:_MAX_NODES] if number == _GRAPH_NODE and isinstance(value, memoryview)]
    try:
        is_graph = bool(nodes) and all(_is_node(dict(_known_fields(node, _NODE_FIELDS))) for node in nodes)
    except ValueError:
        return None
    return f"a TensorFlow GraphDef, {cut_short}" if is_graph and cut.number in _GRAPH_FIELDS else None


def _is_node(node: Mapping[int, int | memoryview]) -> bool:
    name, op = (_message(node.get(number, memoryview(b""))) for number in (_NODE_NAME, _NODE_OP))
    return _NAME.fullmatch(name) is not None and _OP.fullmatch(op) is not None


def _known_fields(message: memoryview, known: Mapping[int, type]) -> list[tuple[int, int | memoryview]]:
    """The first fields of a message. Raises `ValueError` if one of them isn't among the known."""
    known_fields = []
    for number, value in islice(fields(message), _MAX_FIELDS):
        if not isinstance(value, known.get(number, ())):
            raise ValueError(f"field {number}")
        known_fields.append((number, value))
    return known_fields


def _message(value: int | memoryview) -> memoryview:
    assert isinstance(value, memoryview)
    return value


def is_saved_model_archive(model: memoryview) -> bool:
    """Whether the bytes are a zip or tar file that contains a SavedModel, at the top or in a folder at the top."""
    if archives.is_tar(model):
        return any(map(_may_be_of_saved_model, _tar_entries(model)))
    names = (name for name in archives.entries(model) if name.endswith(SAVED_MODEL))
    return any(_is_saved_model_file(PurePosixPath(name)) for name in names)


def _is_saved_model_file(path: PurePosixPath) -> bool:
    return path.name == SAVED_MODEL and len(path.parts) <= 2


def _may_be_of_saved_model(path: PurePosixPath) -> bool:
    """Whether a file belongs to a SavedModel. Weights count, since they may fill all that is read of an archive."""
    weights = path.parts[-2:-1] == ("variables",) and path.name.startswith("variables.") and len(path.parts) <= 3
    return weights or _is_saved_model_file(path)


def _tar_entries(model: memoryview) -> Iterator[PurePosixPath]:
    """The paths of a tar file's first entries; of a compressed one, those in its first bytes."""
    if bytes(model[:2]) == b"\x1f\x8b":
        try:
            model = memoryview(zlib.decompressobj(wbits=31).decompress(model[:_MAX_TAR_BYTES], _MAX_TAR_BYTES))
        except zlib.error:
            return
    at = 0
    for _ in range(_MAX_TAR_ENTRIES):
        header = bytes(model[at : at + _TAR_BLOCK])
        if len(header) < _TAR_BLOCK or header[257:262] != b"ustar":
            return
        yield PurePosixPath(header[:100].partition(b"\0")[0].decode("utf-8", "replace"))
        try:
            size = int(header[124:136].strip(b" \0") or b"0", 8)
        except ValueError:  # a size that isn't octal is one of 8 GiB or more
            return
        at += _TAR_BLOCK + -(-max(size, 0) // _TAR_BLOCK) * _TAR_BLOCK


def files_of_saved_model(path: Path) -> Sequence[Path]:
    """The files and folders of a SavedModel, by the path of its `saved_model.pb`."""
    return [path, *(path.parent / name for name in _FOLDERS)]


class ModelFolder:
    """The folder of a SavedModel. `unpacked` is a temporary folder around it, which is removed after its last use."""

    def __init__(self, path: Path, unpacked: Path | None = None) -> None:
        self.path = path
        self._unpacked = unpacked
        self._process = os.getpid()
        self._is_needed = False
        self._files = self._file_states()

    def keep_for(self, graph: object) -> None:
        """Keep the folder until a graph is gone, whose sessions read their variables from it."""
        self._is_needed = True
        finalize_by_the_end(graph, self._remove)

    def done_with(self) -> None:
        """Remove a temporary folder, unless a graph needs it."""
        if not self._is_needed:
            self._remove()

    def _remove(self) -> None:
        if self._unpacked is not None and os.getpid() == self._process:  # a forked child leaves it to its parent
            shutil.rmtree(self._unpacked, ignore_errors=True)

    def require_unchanged(self) -> None:
        """Raise `NNError` with `runtime-error` if files of the folder have changed since the model was loaded."""
        if self._file_states() != self._files:
            message = (
                f"the files of the model in {self.path} have changed since it was loaded, and each new context reads "
                "its variables there: the operator must load it again, by Registry.reload() if a file of graphs names "
                "it, else by Registry.add(..., overwrite=True)"
            )
            raise NNError(ErrorCode.RUNTIME_ERROR, message)

    def _file_states(self) -> dict[Path, tuple[int, int, int]]:
        files = [file for folder in _FOLDERS for file in (self.path / folder).glob("*")]
        return {file: (state.st_ino, state.st_size, state.st_mtime_ns) for file in files for state in [file.stat()]}


def unpacked_saved_model(model: memoryview) -> ModelFolder:
    """Unpack an archive of a SavedModel into a temporary folder.

    Raises `NNError` as `archives.unpack` does; with `runtime-error` if the archive has no SavedModel, and with
    `invalid-argument` if it has several.
    """
    top = Path(tempfile.mkdtemp(prefix="wasi-nn-"))
    try:
        archives.unpack(model, top)
        models = sorted(file for pattern in (SAVED_MODEL, f"*/{SAVED_MODEL}") for file in top.glob(pattern))
        if not models:
            message = f"the archive has no {SAVED_MODEL}, neither at its top nor in a folder there"
            raise NNError(ErrorCode.RUNTIME_ERROR, message)
        if len(models) > 1:
            names = ", ".join(str(file.relative_to(top)) for file in models)
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"the archive has several models ({names}): give an archive of one"
            )
        return ModelFolder(models[0].parent, top)
    except BaseException:
        shutil.rmtree(top, ignore_errors=True)
        raise


@contextmanager
def saved_model_folder(model: memoryview) -> Iterator[Path]:
    """The folder of a SavedModel, unpacked for the `with` block. Raises as `unpacked_saved_model` does."""
    folder = unpacked_saved_model(model)
    try:
        yield folder.path
    finally:
        folder.done_with()
