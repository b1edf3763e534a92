"""Named graphs and guests in a file that an operator writes, usually `graphs.toml`.

    [graphs.mobilenet]
    path = "models/mobilenet.onnx"      # or a list with one path for each builder; relative to the file's directory;
                                        # or the address of a model on another server, or a list of addresses
    encoding = "onnx"                   # default: detected from the model
    target = "gpu"                      # default: cpu
    runtime = "onnxruntime"             # for an encoding that several runtimes can run
    sha256 = "9f86d0..."                # of the model's file, or of its builders one after another
    convert-types = true                # whether tensors of types that wasi-nn lacks are converted
    share-variables = true              # whether all guests share one set of the model's variables
    max-batch = 8                       # rows that wasi-nn serve computes at once, from several requests
    max-delay = 0.005                   # seconds for which a request may wait for others to be joined with
    options = { threads = 2 }           # options of the backend

    [guests.labels]                     # what wasi-nn serve runs: guest_table has the keys
    path = "labels.wasm"

Only `path` is required. An unknown key is an error, so that a mistyped one isn't ignored.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wasi_nn.backends.options import Check, cannot_be, is_flag, is_names, is_text, taking
from wasi_nn.backends.remote.addresses import is_address
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.loading.explanation import what_is
from wasi_nn.loading.file_tables import is_table, require_known
from wasi_nn.loading.guest_table import guest_of
from wasi_nn.loading.named_graph import NamedGraph, is_batch, is_delay, is_sha256
from wasi_nn.loading.served_guest import ServedGuest
from wasi_nn.process.files import mapped_file
from wasi_nn.settings import how_to_set

_MAX_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class NamedInFile:
    """The graphs and the guests of a file, by their names."""

    graphs: Mapping[str, NamedGraph]
    guests: Mapping[str, ServedGuest]


def read(file: Path) -> NamedInFile:
    """The graphs and guests that a file names.

    Raises `NNError`: `not-found` if there is no such file; `invalid-argument` for an error in the file, with the graph
    or guest and the key.
    """
    try:
        content = tomllib.loads(_text(file))
    except FileNotFoundError as error:
        raise NNError(ErrorCode.NOT_FOUND, f"no file of graphs at {file}: no such file or directory") from error
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: values that are nested too deep
        other = _other_format(file)
        if other:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{file} is {other}") from error
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{file} can't be read: {one_line(error)}") from error
    require_known(
        str(file), content, {"graphs": is_table, "guests": is_table}, () if "guests" in content else ("graphs",)
    )
    graphs, guests = content.get("graphs", {}), content.get("guests", {})
    clash = next((name for name in guests if name in graphs), None)
    if clash is not None:
        message = f"{file}: a graph and a guest are both named {clash!r}: give one of them another name"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return NamedInFile(
        {name: _graph(f"{file}, graph {name!r}", file.parent, keys) for name, keys in graphs.items()},
        {name: guest_of(f"{file}, guest {name!r}", file.parent, name, keys) for name, keys in guests.items()},
    )


def with_setting(graph: NamedGraph, key: str, text: str) -> NamedGraph:
    """The graph with another value for a key of a file of graphs (one of `SETTINGS`), or for an option of its backend.

    The text is the value as JSON, or else the value itself. Raises `NNError` with `invalid-argument` if the key can't
    have the value.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if key in _NO_SETTINGS:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{key!r} is no setting: {_NO_SETTINGS[key]}")
    if key not in SETTINGS:
        meant = key.replace("_", "-")
        if meant in SETTINGS:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no setting {key!r}; did you mean {meant}?")
        return replace(graph, options={**graph.options, key: value})
    value = value if _KEYS[key](value) else text
    if not _KEYS[key](value):
        raise NNError(ErrorCode.INVALID_ARGUMENT, cannot_be(key, value, _KEYS[key]))
    field: dict[str, Any] = {key.replace("-", "_"): value}
    return replace(graph, **field)


def _other_format(file: Path) -> str:
    """A clause about a file of another well-known format, such as a model; empty for any other file."""
    if file.is_dir():
        return "a directory, not a file of graphs"
    with suppress(OSError, ValueError), mapped_file(file) as content:
        found = what_is(content, file.name)
        if found is not None and not found.vague:
            name = (
                f": give the model a name ({how_to_set('{NAME: PATH}', '--graph NAME=PATH')})" if found.encoded else ""
            )
            return f"{found.name}, not a file of graphs{name}"
    return ""


def _text(file: Path) -> str:
    def open_without_blocking(path: str, flags: int) -> int:  # a pipe without a writer would block
        return os.open(path, flags | os.O_NONBLOCK)

    with open(file, "rb", opener=open_without_blocking) as opened:
        os.set_blocking(opened.fileno(), True)
        content = opened.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    return content.decode()


def _graph(where: str, folder: Path, keys: Any) -> NamedGraph:
    if not is_table(keys):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: it must be a table with a path")
    require_known(where, keys, _KEYS, ("path",))
    path = keys["path"]
    source: Any = _placed(folder, path) if isinstance(path, str) else [_placed(folder, part) for part in path]
    settings = {name.replace("-", "_"): value for name, value in keys.items() if name != "path"}
    return NamedGraph(source, **settings)


def _placed(folder: Path, path: str) -> Path | str:
    return path if is_address(path) else folder / path


@taking("a path or an address, or a list of these")
def _is_path(value: Any) -> bool:
    return is_text(value) or is_names(value)


_KEYS: dict[str, Check] = {
    "path": _is_path,
    "encoding": is_text,
    "target": is_text,
    "runtime": is_text,
    "sha256": is_sha256,
    "convert-types": is_flag,
    "share-variables": is_flag,
    "max-batch": is_batch,
    "max-delay": is_delay,
    "options": is_table,
}

_NO_SETTINGS = {
    "path": "the path stands beside the name of the graph, as in --graph NAME=PATH",
    "options": "give each option by its own name, such as threads=2",
}
SETTINGS = tuple(key for key in _KEYS if key not in _NO_SETTINGS)
"""The keys of a graph beside its model and the options of its backend."""
