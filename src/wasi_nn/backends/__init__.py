"""Backends: each turns a model into a `Graph` by one ML runtime.

A backend is found by its encoding, or by the look of the model. A package adds one by an entry point of the group
`wasi_nn.backends` that names a class with the `Backend` protocol; it is asked for what no built-in backend takes.
Importing this package, or a backend, imports no runtime.
"""

from __future__ import annotations

import importlib
import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from wasi_nn.graph import Graph, one_line
from wasi_nn.types import ErrorCode, ExecutionTarget, GraphEncoding, NNError, TargetUnavailable, word

logger = logging.getLogger("wasi_nn")

Options = Mapping[str, Any]
Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | Sequence[Buffer]
"""A model: a path (of a file or a directory), its bytes, or the several builders of an encoding that has them."""


class Backend(Protocol):
    """One ML runtime. Its methods raise `NNError`; any other exception of `load` becomes one with `runtime-error`."""

    encoding: GraphEncoding
    extra: str
    """The extra of `wasi-nn` that installs the runtime, such as `onnx`."""
    distribution: str
    """The runtime's distribution, such as `onnxruntime`."""
    model_files: Sequence[str]
    """The file names any of which make a directory a model of this backend."""
    withstands_hostile_bytes: bool
    """Whether the runtime may be given the bytes of a model that nobody vouches for: guests load no others by
    default."""

    def sniff(self, model: memoryview) -> bool:
        """Whether the bytes look like a model of this encoding. They may be hostile; the runtime must not be needed."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Options) -> Graph:
        """Load a model from bytes, which are the caller's again afterwards. Nothing outside of them may be reached."""

    def load_path(self, path: Path, target: ExecutionTarget, options: Options) -> Graph:
        """Load the operator's own model from a file, or from a directory that has one of `model_files`."""

    def devices(self) -> Mapping[ExecutionTarget, str]:
        """The targets that can be used here, with the device each would run on."""


_BUILT_IN = {
    GraphEncoding.ONNX: "wasi_nn.backends.onnx:OnnxBackend",
    GraphEncoding.TENSORFLOWLITE: "wasi_nn.backends.tflite:TfliteBackend",
}


def built_in() -> list[Backend]:
    """The backends of this package, whether or not their runtimes are installed."""
    return [_import(name) for name in _BUILT_IN.values()]


@cache
def _import(name: str) -> Backend:
    module, attribute = name.split(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)()
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


def load(
    source: Source,
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT,
    target: ExecutionTarget | str = ExecutionTarget.CPU,
    *,
    options: Options | None = None,
    target_fallback: ExecutionTarget | str | None = None,
    allowed: Callable[[Backend], bool] | None = None,
) -> Graph:
    """Load a model into a graph.

    `options` are the backend's own (`wasi_nn.backends.onnx` lists those for ONNX). With `target_fallback`, a target
    that isn't there is replaced by that one, and the log says so; without, it is refused. `Graph.device` tells what
    came of it. `allowed`, if given, has a say in which backends may be used.

    Raises `NNError`: `invalid-argument` for an option, encoding or target that doesn't exist; `not-found` for a path
    that doesn't exist; `invalid-encoding` where no backend fits, or its runtime isn't installed;
    `unsupported-operation` (as `TargetUnavailable`) for the target; `runtime-error` if the runtime refuses the model;
    `security` for a backend that isn't allowed.
    """
    encoding, target = word(GraphEncoding, encoding), word(ExecutionTarget, target)
    load_on: Callable[[ExecutionTarget, Options], Graph]
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        backend = _backend_for_path(path, encoding)
        load_on = partial(backend.load_path, path)
    else:
        parts = [source] if isinstance(source, Buffer) else source
        builders = [memoryview(part).cast("B") for part in parts]
        backend = _backend_for_bytes(builders, encoding)
        load_on = partial(backend.load, builders)
    if allowed is not None and not allowed(backend):
        raise NNError(ErrorCode.SECURITY, f"this host loads {backend.encoding.value} by name only, not from bytes")
    with _explained(backend):
        try:
            return load_on(target, options or {})
        except TargetUnavailable as error:
            fallback = None if target_fallback is None else word(ExecutionTarget, target_fallback)
            if fallback in (None, target):
                raise
            logger.warning("%s; %s is used instead", error, fallback.value)
            return load_on(fallback, options or {})


@contextmanager
def _explained(backend: Backend) -> Iterator[None]:
    """Whatever comes out of a backend's `load` becomes an `NNError`."""
    try:
        yield
    except NNError:
        raise
    except ModuleNotFoundError as error:
        raise NNError(
            ErrorCode.INVALID_ENCODING,
            f"{backend.encoding.value} needs {backend.distribution}, which isn't installed: "
            f"pip install 'wasi-nn[{backend.extra}]' ({one_line(error)})",
        ) from error
    except Exception as error:
        raise NNError(
            ErrorCode.RUNTIME_ERROR, f"{backend.distribution} can't load the model: {one_line(error)}"
        ) from error


def _backend_for_path(path: Path, encoding: GraphEncoding) -> Backend:
    if path.is_dir():
        return _first(
            encoding,
            lambda backend: any((path / name).exists() for name in backend.model_files),
            lambda tried: (
                f"the directory {path} has none of {', '.join(name for b in tried for name in b.model_files)}"
            ),
        )
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with memoryview(data) as view:
                return _backend_for_bytes([view], encoding, str(path))
    except FileNotFoundError as error:
        raise NNError(ErrorCode.NOT_FOUND, f"no model at {path}: no such file or directory") from error
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {path} can't be read: {one_line(error)}") from error
    except ValueError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {path} is empty") from error


def _backend_for_bytes(builders: Sequence[memoryview], encoding: GraphEncoding, name: str = "the model") -> Backend:
    if not builders:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph needs at least one builder")
    if encoding is not GraphEncoding.AUTODETECT:
        return _first(encoding, lambda backend: True, lambda tried: "")
    return _first(
        encoding,
        lambda backend: backend.sniff(builders[0]),
        lambda tried: (
            f"{name} isn't in a format known here (tried: {', '.join(b.encoding.value for b in tried)}); "
            f"it begins with {bytes(builders[0][:8])!r}"
        ),
    )


def _first(
    encoding: GraphEncoding, fits: Callable[[Backend], bool], message: Callable[[Sequence[Backend]], str]
) -> Backend:
    """The first backend of this encoding (of any, for autodetect) that fits."""
    tried = []
    for backend in available():
        if encoding in (backend.encoding, GraphEncoding.AUTODETECT):
            if fits(backend):
                return backend
            tried.append(backend)
    if not tried:
        known = ", ".join(backend.encoding.value for backend in available())
        raise NNError(ErrorCode.INVALID_ENCODING, f"there is no backend for {encoding.value} here, only for {known}")
    raise NNError(ErrorCode.INVALID_ENCODING, message(tried))
