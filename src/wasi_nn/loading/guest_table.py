"""The table `[guests.NAME]` of a file of graphs: a guest that `wasi-nn serve` runs.

    [guests.labels]
    path = "labels.wasm"                     # .wasm or .wat, a core module or a component; relative to the file
    serves = "model"                         # or "http"; by default the guest's imports and exports say it
    graphs = ["colours"]                     # the graphs that it may load; * stands for any characters; default: none
    limits = { run-time = "5s", fuel = 10000000 }    # those of wasi-nn run, without --max-
    directories = { "/data" = "data", "/out" = { path = "out", writable = true } }   # read-only unless writable
    environment = { LANG = "C" }
    arguments = ["--top", "3"]
    mount = "/labels"                        # the path of a guest that serves http; default: /guests/NAME
    http-out = ["https://api.example.com"]   # where a guest that serves http may send requests; default: nowhere
    reuse = false                            # whether a sandbox answers more than one request
    start-ahead = true                       # whether the sandbox of a model's next request starts before that comes
    inputs = [{ name = "picture", datatype = "UINT8", shape = [-1, -1, 3] }]
    outputs = [{ name = "label", datatype = "BYTES", shape = [1] }]

Only `path` is required; a guest that serves a model needs `outputs` too. An unknown key is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.backends.options import Check, is_flag, is_text, is_texts, one_of, taking
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.graph.datatypes import DATATYPES, MAX_TENSOR_NAME, MAX_TENSORS
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.limits import units
from wasi_nn.limits.limits import Limits
from wasi_nn.loading.file_tables import is_table, require_known
from wasi_nn.loading.http_out import http_out_of
from wasi_nn.loading.served_guest import GUEST_LIMITS, DeclaredTensor, GuestDirectory, ServedGuest, Serves

_MOUNT = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_OWN_PATHS = ("v1", "v2", "guests", "metrics", "openapi.json", "page")  # where a guest would never be asked
_LARGEST_DIM = 2**32 - 1


def guest_of(where: str, folder: Path, name: str, keys: Any) -> ServedGuest:
    """The guest that a table describes; `folder` is that of the file, `where` names the table in messages.

    Raises `NNError`: `not-found` for a path without a file, `invalid-argument` for any other mistake.
    """
    if not name:
        raise _wrong(where, "a guest's name can't be empty")
    if not is_table(keys):
        raise _wrong(where, "it must be a table with a path")
    require_known(where, keys, KEYS, ("path",))
    path = (folder / keys["path"]).absolute()
    if not os.path.exists(path):
        raise NNError(ErrorCode.NOT_FOUND, f"{where}: no file at {path}")
    inputs = _tensors(where, "inputs", keys.get("inputs", []))
    outputs = _tensors(where, "outputs", keys.get("outputs", []))
    serves = Serves(keys["serves"]) if "serves" in keys else None
    if serves is Serves.HTTP and (inputs or outputs):
        raise _wrong(where, "inputs and outputs belong to a guest that serves a model, not to one that serves http")
    if "mount" in keys and (serves is Serves.MODEL or inputs or outputs):
        raise _wrong(where, "mount is the path of a guest that serves http: a model has its name")
    if "http-out" in keys and (serves is Serves.MODEL or inputs or outputs):
        raise _wrong(where, "http-out is for a guest that serves http: one that serves a model makes no requests")
    if "start-ahead" in keys and serves is Serves.HTTP:
        raise _wrong(where, "start-ahead is for a guest that serves a model")
    if not outputs and (serves is Serves.MODEL or inputs):
        raise _wrong(where, "a guest that serves a model needs outputs, such as " + _EXAMPLE)
    return ServedGuest(
        path,
        serves,
        tuple(keys.get("graphs", ())),
        _limits(where, keys.get("limits", {})),
        _directories(where, folder, keys.get("directories", {})),
        _environment(where, keys.get("environment", {})),
        tuple(_plain_text(where, "an argument", text) for text in keys.get("arguments", ())),
        inputs,
        outputs,
        keys.get("reuse", False),
        keys.get("mount", ""),
        http_out_of(where, folder, keys["http-out"]) if "http-out" in keys else None,
        keys.get("start-ahead", True),
    )


def _wrong(where: str, message: str) -> NNError:
    return NNError(ErrorCode.INVALID_ARGUMENT, f"{where}: {message}")


def _plain_text(where: str, what: str, text: str) -> str:
    if "\0" in text:
        raise _wrong(where, f"{what} has a zero byte in it: {shown(text)}")
    return text


def _limits(where: str, table: Mapping[str, Any]) -> Limits:
    known = {field.name.replace("_", "-"): field.name for field in fields(Limits)}
    values = {}
    for key, value in table.items():
        if key not in known:
            message = f"no limit is named {key!r}; there are {', '.join(known)}{nearest(key, known)}"
            raise _wrong(where, message)
        values[known[key]] = _limit(where, key, units.KINDS[known[key]], value)
    try:
        return replace(GUEST_LIMITS, **values)
    except NNError as error:
        raise _wrong(where, str(error)) from error


def _limit(where: str, key: str, read: Callable[[str], Any], value: Any) -> Any:
    """The value of a limit: a number, or a text as the command takes it. A float may only be a time."""
    if value == "none":
        return None
    if isinstance(value, str):
        try:
            return read(value)
        except ValueError as error:
            raise _wrong(where, f"the limit {key}: {error}; or none, for no limit") from error
    if type(value) in (int, float):
        return value
    raise _wrong(
        where, f'the limit {key} can\'t be {shown(value)}: it takes a number, or a text such as "10s" or "64M"'
    )


def _directories(where: str, folder: Path, table: Mapping[str, Any]) -> dict[str, GuestDirectory]:
    directories = {}
    for guest_path, value in table.items():
        what = f"{where}, directory {guest_path!r}"
        keys = value if is_table(value) else {"path": value}
        require_known(what, keys, _DIRECTORY_KEYS, ("path",))
        if not guest_path or "\0" in guest_path:
            raise _wrong(what, "it has no path for the guest, such as /data")
        path = (folder / keys["path"]).absolute()
        if not os.path.isdir(path):
            raise NNError(ErrorCode.NOT_FOUND, f"{what}: no directory at {path}")
        directories[guest_path] = GuestDirectory(path, keys.get("writable", False))
    return directories


def _environment(where: str, table: Mapping[str, Any]) -> dict[str, str]:
    for name, value in table.items():
        if not name or "=" in name or "\0" in name:
            raise _wrong(where, f"{shown(name)} is no name of an environment variable")
        if not isinstance(value, str):
            raise _wrong(where, f"the environment variable {name!r} can't be {shown(value)}: it takes a text")
        _plain_text(where, f"the environment variable {name!r}", value)
    return dict(table)


def _tensors(where: str, key: str, tables: Sequence[Any]) -> tuple[DeclaredTensor, ...]:
    if len(tables) > MAX_TENSORS:
        raise _wrong(where, f"{len(tables)} {key}; at most {MAX_TENSORS} are allowed")
    tensors: list[DeclaredTensor] = []
    for place, table in enumerate(tables):
        what = f"{where}, {key} {place}"
        if not is_table(table):
            raise _wrong(what, f"it can't be {shown(table)}: it takes a table, such as {_EXAMPLE[1:-1]}")
        known = _TENSOR_KEYS if key == "inputs" else {it: _TENSOR_KEYS[it] for it in _TENSOR_KEYS if it != "optional"}
        require_known(what, table, known, ("name", "datatype", "shape"))
        tensor = DeclaredTensor(**{**table, "shape": tuple(table["shape"])})
        if any(tensor.name == other.name for other in tensors):
            raise _wrong(where, f"two of the {key} are named {tensor.name!r}")
        tensors.append(tensor)
    return tuple(tensors)


_EXAMPLE = '[{ name = "label", datatype = "BYTES", shape = [1] }]'


@taking("a text of 1 to 1,024 bytes")
def _is_tensor_name(value: Any) -> bool:
    return is_text(value) and len(value.encode()) <= MAX_TENSOR_NAME


@taking(f"a list of at most {MAX_RANK} whole numbers, where -1 stands for any size")
def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(type(dim) is int and -1 <= dim <= _LARGEST_DIM for dim in value)
    )


@taking(
    "a path such as /labels, of letters, digits and -._~ between the slashes, whose first part isn't one of the "
    f"server's own ({', '.join(_OWN_PATHS)})"
)
def _is_mount(value: Any) -> bool:
    return is_text(value) and _MOUNT.fullmatch(value) is not None and value.split("/")[1] not in _OWN_PATHS


@taking(f"a list of tables, such as {_EXAMPLE}")
def _is_list(value: Any) -> bool:
    return isinstance(value, list)


@taking('a table, such as { LANG = "C" }')
def _is_any_table(value: Any) -> bool:
    return isinstance(value, dict)


@taking('a list of places, such as ["https://api.example.com"], or a table with such a list as to')
def _is_http_out(value: Any) -> bool:
    return isinstance(value, list | dict)


KEYS: dict[str, Check] = {
    "path": is_text,
    "serves": one_of([it.value for it in Serves]),
    "graphs": is_texts,
    "limits": _is_any_table,
    "directories": _is_any_table,
    "environment": _is_any_table,
    "arguments": is_texts,
    "inputs": _is_list,
    "outputs": _is_list,
    "reuse": is_flag,
    "start-ahead": is_flag,
    "mount": _is_mount,
    "http-out": _is_http_out,
}
"""The keys of a guest."""
_DIRECTORY_KEYS: dict[str, Check] = {"path": is_text, "writable": is_flag}
_TENSOR_KEYS: dict[str, Check] = {
    "name": _is_tensor_name,
    "datatype": one_of(DATATYPES),
    "shape": _is_shape,
    "optional": is_flag,
}
