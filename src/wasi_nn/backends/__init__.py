"""Backends: each turns a model into a `Graph` by one ML runtime.

A backend is found by its encoding, or by the look of the model. A package adds one by an entry point of the group
`wasi_nn.backends` that names a class with the `Backend` protocol; it is asked for what no built-in backend takes.
Importing this package, or a backend, imports no runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

logger = logging.getLogger("wasi_nn")

Options = Mapping[str, Any]
Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | Sequence[Buffer]
"""A model: a path (of a file or a directory), its bytes, or the several builders of an encoding that has them."""


class Backend(Protocol):
    """One ML runtime and one encoding. Its methods raise `NNError`; any other exception of `load` becomes one with
    `runtime-error`."""

    encoding: GraphEncoding
    """`AUTODETECT` for a format that the specification has no word for."""
    runtime: str
    """The runtime's Python module, such as `onnxruntime`: the name by which an operator asks for it."""
    extra: str
    """The extra of `wasi-nn` that installs the runtime, such as `onnx`."""
    model_files: Sequence[str]
    """What a model's file may be called in a directory that is given as a model, the usual name first."""
    withstands_hostile_bytes: bool
    """Whether the runtime may be given the bytes of a model that nobody vouches for: guests load no others by
    default."""

    def sniff(self, model: memoryview) -> bool:
        """Whether the bytes look like a model of this encoding. They may be hostile; the runtime must not be needed."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Options) -> Graph:
        """Load a model from bytes, which are the caller's again afterwards. Nothing outside of them may be reached."""

    def load_path(self, path: Path, target: ExecutionTarget, options: Options) -> Graph:
        """Load the operator's own model from its file."""

    def devices(self) -> Mapping[ExecutionTarget, str]:
        """The targets that can be used here, with the device each would run on."""

    # A backend whose runtime doesn't withstand hostile bytes may have `safe_in_isolation`: guests load such models by
    # default, in isolation. One whose models are in several files may have `files_of(path)`, which gives all of them,
    # and if the model names them, `own_files_of(path, options)`, which gives those that an isolated model may read. One
    # whose runtime opens a port has `needs_sockets`. Where `works_in_forks` is False, the runtime can't be used in
    # a process if it was before that was forked. A backend of an encoding that is WasmEdge's own (9 Whisper, 11 Piper
    # ...) also has its number as `extension_encoding`; such a graph may have any number of builders, none too.


# In the order in which they are asked: of several that can run a model, the first whose runtime is installed does.
_BUILT_IN = (
    "wasi_nn.backends.onnx.backend:OnnxBackend",
    "wasi_nn.backends.tflite.backend:TfliteBackend",
    "wasi_nn.backends.openvino.backend:OpenVinoBackend",
    "wasi_nn.backends.pytorch.backend:PyTorchBackend",
    "wasi_nn.backends.tensorflow.backend:TensorFlowBackend",
    "wasi_nn.backends.ggml.backend:GgmlBackend",
    "wasi_nn.backends.openvino.backend:OpenVinoOnnxBackend",
    "wasi_nn.backends.openvino.backend:OpenVinoTensorFlowBackend",
    "wasi_nn.backends.openvino.backend:OpenVinoTfliteBackend",
)


def built_in() -> Iterator[Backend]:
    """The backends of this package, whether or not their runtimes are installed."""
    return map(_import, _BUILT_IN)


@cache
def _import(name: str) -> Backend:
    module, attribute = name.split(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), attribute)()
    except OSError as error:  # no files are left
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{module} can't be imported: {one_line(error)}") from error
    return backend


@cache
def added() -> tuple[Backend, ...]:
    """The backends that other packages add by an entry point; one that can't be imported is logged and left out."""
    from importlib.metadata import entry_points

    backends = []
    for entry in entry_points(group="wasi_nn.backends"):
        try:
            backends.append(entry.load()())
        except Exception:
            logger.exception("the backend %s (%s) can't be loaded", entry.name, entry.value)
    return tuple(backends)


def available() -> Iterator[Backend]:
    """Every backend, in the order in which they are asked. Those added are looked for only when it comes to them."""
    yield from built_in()
    yield from added()


def of_extension(number: int) -> Backend | None:
    """The backend for an encoding of WasmEdge's own, by its number; None if there is none."""
    return next((it for it in available() if getattr(it, "extension_encoding", None) == number), None)


def is_installed(backend: Backend) -> bool:
    """Whether a backend's runtime is there to be imported."""
    return importlib.util.find_spec(backend.runtime.partition(".")[0]) is not None


def files_of(backend: Backend, file: Path) -> Sequence[Path]:
    """What a backend loads a model from, whose file is given: files, and folders with all that is in them."""
    all_of: Callable[[Path], Sequence[Path]] | None = getattr(backend, "files_of", None)
    try:
        return [file] if all_of is None else all_of(file)
    except (OSError, ValueError):  # loading it will say what is wrong
        return [file]


@contextmanager
def explained(backend: Backend) -> Iterator[None]:
    """Whatever comes out of a backend's `load` becomes an `NNError`."""
    try:
        yield
    except NNError:
        raise
    except ModuleNotFoundError as error:
        raise NNError(
            ErrorCode.INVALID_ENCODING,
            f"{backend.encoding.value} needs {backend.runtime}, which isn't installed: "
            f"pip install 'wasi-nn[{backend.extra}]' ({one_line(error)})",
        ) from error
    except Exception as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{backend.runtime} can't load the model: {one_line(error)}") from error
