"""Backends: each turns a model into a `Graph` by one ML runtime.

A backend is found by its encoding, or by the look of the model. A package adds one by an entry point of the group
`wasi_nn.backends` that names a class with the `Backend` protocol; it is asked for what no built-in backend takes.
Importing this package, or a backend, imports no runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from wasi_nn.graph.graph import Graph
from wasi_nn.isolation import Isolation
from wasi_nn.isolation import require_available as require_isolation
from wasi_nn.isolation import unavailable as isolation_unavailable
from wasi_nn.process import forks
from wasi_nn.process.files import is_irregular, open_regular
from wasi_nn.types import (
    ErrorCode,
    ExecutionTarget,
    GraphEncoding,
    ModelNotFound,
    NNError,
    TargetUnavailable,
    one_line,
    word,
)

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


@dataclass(frozen=True)
class LoadRules:
    """How an operator wants models loaded, whoever asks for them.

    With `target_fallback`, a target that isn't there is replaced by that one, and the log says so; without, it is
    refused. `runtimes` names the runtime to use for an encoding that several can run, such as `{"onnx": "openvino"}`;
    else the first that is installed does. With `convert_types`, tensors of types that wasi-nn lacks are converted
    (`wasi_nn.graph.conversion`). With `isolate`, graphs live in processes of their own (`wasi_nn.isolation`), as
    `Isolation` has it or as is usual; without (None), only those that guests load from bytes which their runtime
    doesn't withstand are; with False, none are. Raises `NNError` with `invalid-argument` for a word that doesn't exist.
    """

    target_fallback: ExecutionTarget | str | None = None
    runtimes: Mapping[GraphEncoding, str] | Mapping[str, str] = field(default_factory=dict)
    convert_types: bool = False
    isolate: bool | Isolation | None = None

    def __post_init__(self) -> None:
        if self.isolate:
            require_isolation()
        if self.target_fallback is not None:
            word(ExecutionTarget, self.target_fallback)
        for encoding, runtime in self.runtimes.items():
            require_runtime(word(GraphEncoding, encoding), runtime)

    def isolation_of(self, backend: Backend, *, hostile: bool) -> Isolation | None:
        """How a graph of a backend is isolated, its bytes being a guest's or not; None if it isn't."""
        if isinstance(self.isolate, Isolation):
            return self.isolate
        alone = hostile and not backend.withstands_hostile_bytes and getattr(backend, "safe_in_isolation", False)
        return Isolation() if self.isolate or (self.isolate is None and alone) else None

    def let_guests_load(self, backend: Backend) -> bool:
        """Whether guests may load models of a backend from bytes, if nothing else is said: what its runtime withstands,
        or an isolated one does."""
        if backend.withstands_hostile_bytes:
            return True
        safe = getattr(backend, "safe_in_isolation", False) and self.isolate is not False
        return safe and not isolation_unavailable()

    def runtime_for(self, encoding: GraphEncoding) -> str | None:
        """The runtime that models of an encoding are to be run by; None for any."""
        return next((name for of, name in self.runtimes.items() if word(GraphEncoding, of) is encoding), None)


def require_runtime(encoding: GraphEncoding, runtime: str) -> None:
    """Raise `NNError` with `invalid-argument` unless there is such a runtime for an encoding, installed or not."""
    there = [backend.runtime for backend in available() if encoding in (backend.encoding, GraphEncoding.AUTODETECT)]
    if runtime not in there:
        message = f"no runtime for {encoding.value} is named {runtime!r}; there are {', '.join(there) or 'none'}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def load(
    source: Source,
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT,
    target: ExecutionTarget | str = ExecutionTarget.CPU,
    *,
    options: Options | None = None,
    runtime: str | None = None,
    rules: LoadRules | None = None,
    allowed: Callable[[Backend], bool] | None = None,
) -> Graph:
    """Load a model into a graph.

    `options` are the backend's own (`wasi_nn.backends.onnx.backend` lists those for ONNX). `runtime` names the ML
    runtime to use, where several can run the encoding; it comes before what `rules` say. `Graph.device` and
    `Graph.runtime` tell where it came to run. `allowed`, if given, has a say in which backends may be used.

    Raises `NNError`: `invalid-argument` for an option, encoding, target or runtime that doesn't exist; `not-found` for
    a path that doesn't exist; `invalid-encoding` where no backend fits, or its runtime isn't installed;
    `unsupported-operation` (as `TargetUnavailable`) for the target; `runtime-error` if the runtime refuses the model;
    `security` for a backend that isn't allowed.
    """
    encoding, target = word(GraphEncoding, encoding), word(ExecutionTarget, target)
    rules = rules or LoadRules()
    if runtime is not None:
        require_runtime(encoding, runtime)

    wanted = partial(_is_wanted, runtime, rules)
    model: Path | Sequence[memoryview]
    if isinstance(source, str | os.PathLike):
        backend, model = _backend_for_path(Path(source), encoding, wanted)
    else:
        parts = [source] if isinstance(source, Buffer) else source
        model = [memoryview(part).cast("B") for part in parts]
        if not model:
            raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph needs at least one builder")
        backend = _backend_for_bytes(model[0], encoding, wanted)
    if allowed is not None and not allowed(backend):
        raise NNError(ErrorCode.SECURITY, f"this host loads {backend.encoding.value} by name only, not from bytes")
    try:
        isolation = rules.isolation_of(backend, hostile=allowed is not None)
        return _finished(backend, model, target, options or {}, rules, isolation)
    except NNError as error:
        other = None if error.code is not ErrorCode.RUNTIME_ERROR else _looks_like_another(backend, source)
        if other is None:
            raise
        raise error.told_as(f"{error} (it looks like a model of {other.value})") from error


def _is_wanted(runtime: str | None, rules: LoadRules, backend: Backend) -> bool:
    return backend.runtime == (runtime or rules.runtime_for(backend.encoding) or backend.runtime)


def files_at(path: Path, encoding: GraphEncoding, runtime: str | None, rules: LoadRules) -> Sequence[Path]:
    """What a model at a path would be loaded from: files, and folders with all that is in them."""
    try:
        backend, file = _backend_for_path(path, encoding, partial(_is_wanted, runtime, rules))
        return [path, *files_of(backend, file)]
    except NNError:  # loading it will say what is wrong
        return [path]


def files_of(backend: Backend, file: Path) -> Sequence[Path]:
    """What a backend loads a model from, whose file is given: files, and folders with all that is in them."""
    all_of: Callable[[Path], Sequence[Path]] | None = getattr(backend, "files_of", None)
    try:
        return [file] if all_of is None else all_of(file)
    except (OSError, ValueError):  # loading it will say what is wrong
        return [file]


def load_with(
    backend: Backend, builders: Sequence[memoryview], target: ExecutionTarget, rules: LoadRules | None
) -> Graph:
    """Load a model from bytes by a certain backend. Raises as `load` does."""
    rules = rules or LoadRules()
    return _finished(backend, builders, target, {}, rules, rules.isolation_of(backend, hostile=True))


def _finished(
    backend: Backend,
    model: Path | Sequence[memoryview],
    target: ExecutionTarget,
    options: Options,
    rules: LoadRules,
    isolation: Isolation | None,
) -> Graph:
    """The graph that a backend loads, as the rules want it."""
    load_on: Callable[[ExecutionTarget, Options], Graph]
    if isolation is not None:
        from wasi_nn.isolation import isolated_graph

        load_on = partial(isolated_graph.load, backend, model, isolation)
    else:
        if not getattr(backend, "works_in_forks", True):
            forks.start(backend.runtime)
        load_on = partial(backend.load_path, model) if isinstance(model, Path) else partial(backend.load, model)
    with explained(backend):
        graph = _load_on(load_on, target, options, rules)
    if not graph.runtime:  # another package's, which doesn't say
        graph.runtime = backend.runtime
    if rules.convert_types:
        from wasi_nn.graph.conversion import converted

        graph = converted(graph)
    return graph


def _load_on(
    load_on: Callable[[ExecutionTarget, Options], Graph], target: ExecutionTarget, options: Options, rules: LoadRules
) -> Graph:
    try:
        return load_on(target, options)
    except TargetUnavailable as error:
        fallback = None if rules.target_fallback is None else word(ExecutionTarget, rules.target_fallback)
        if fallback in (None, target):
            raise
        logger.warning("%s; %s is used instead", error, fallback.value)
        return load_on(fallback, options)


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


def _backend_for_path(path: Path, encoding: GraphEncoding, wanted: Callable[[Backend], bool]) -> tuple[Backend, Path]:
    """The backend for a model by its path, and the path of its file."""
    try:
        file = _model_file(path, encoding) if path.is_dir() else path
        with open_regular(file) as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with memoryview(data) as view:
                backend = _backend_for_bytes(view, encoding, wanted, str(file))
        for other in files_of(backend, file):
            if is_irregular(other):
                raise OSError(f"{other.name} is no regular file")
        return backend, file
    except FileNotFoundError as error:
        raise ModelNotFound(f"no model at {path}: no such file or directory") from error
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {path} can't be read: {one_line(error)}") from error
    except ValueError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {path} is empty") from error


def _looks_like_another(backend: Backend, source: Source) -> GraphEncoding | None:
    """The encoding that a model's bytes look like, if not like the one that they were said to be of."""
    if isinstance(source, str | os.PathLike):
        return None
    model = memoryview(source if isinstance(source, Buffer) else source[0]).cast("B")
    try:
        like = [other.encoding for other in available() if other.sniff(model)]
    except NNError:
        return None
    return None if not like or backend.encoding in like else like[0]


def _model_file(directory: Path, encoding: GraphEncoding) -> Path:
    """The model in a directory: the file with a usual name, else the only one that looks like a model."""
    fitting = [backend for backend in available() if encoding in (backend.encoding, GraphEncoding.AUTODETECT)]
    usual = list(dict.fromkeys(name for backend in fitting for name in backend.model_files))
    named = [directory / name for name in usual if (directory / name).is_file()]
    found = named or [file for file in sorted(directory.iterdir()) if _looks_like_a_model(file, fitting)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file in found)
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the directory {directory} has several models ({names}): name one")
    raise NNError(
        ErrorCode.INVALID_ENCODING,
        f"the directory {directory} has none of {', '.join(usual)}, nor any other file in a format known here",
    )


def _looks_like_a_model(file: Path, fitting: Sequence[Backend]) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    with open_regular(file) as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with memoryview(data) as view:
            return any(backend.sniff(view) for backend in fitting)


def _backend_for_bytes(
    model: memoryview, encoding: GraphEncoding, wanted: Callable[[Backend], bool], name: str = "the model"
) -> Backend:
    """The first backend of an encoding (of any, for autodetect) that is wanted and takes the model to be its own; of
    several, the first that is installed."""
    tried, fitting = [], []
    for backend in available():
        if encoding not in (backend.encoding, GraphEncoding.AUTODETECT) or not wanted(backend):
            continue
        tried.append(backend)
        if backend.sniff(model):
            fitting.append(backend)
            if is_installed(backend):
                return backend
    if fitting:
        return fitting[0]
    if encoding is not GraphEncoding.AUTODETECT and tried:
        return next(filter(is_installed, tried), tried[0])  # it will say what is wrong with the model
    known = ", ".join(dict.fromkeys(backend.encoding.value for backend in tried or available()))
    if encoding is not GraphEncoding.AUTODETECT:
        raise NNError(ErrorCode.INVALID_ENCODING, f"there is no backend for {encoding.value} here, only for {known}")
    raise NNError(
        ErrorCode.INVALID_ENCODING,
        f"{name} isn't in a format known here (tried: {known}); it begins with {bytes(model[:8])!r}",
    )
