"""Backends: each turns a model into a `Graph` by one ML runtime.

A backend is chosen by its encoding, or by the bytes of the model. A package adds one by an entry point of the group
`wasi_nn.backends` that names a subclass of `Backend`. It is asked for models that no built-in backend takes.
Importing this package, or a backend, imports no runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from wasi_nn.backends.backend import Backend as Backend, Buffer as Buffer, Options as Options, Source as Source
from wasi_nn.backends.devices import Device as Device, choose_device as choose_device
from wasi_nn.backends.remote.addresses import RemoteModel as RemoteModel
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.graph import Graph as Graph
from wasi_nn.graph.outputs import EndedEarly as EndedEarly, NamedOutputs as NamedOutputs, Outputs as Outputs
from wasi_nn.graph.runner import ABSENT as ABSENT, RunFunction as RunFunction, Runner as Runner
from wasi_nn.graph.tensor_info import TensorInfo as TensorInfo
from wasi_nn.graph.variables import Variables as Variables
from wasi_nn.settings import how_to_install_extra

logger = logging.getLogger("wasi_nn")

# In the order in which they are asked: the first installed backend that recognises a model loads it.
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

_REMOTE = (
    "wasi_nn.backends.oip.backend:OipBackend",
    "wasi_nn.backends.openai.backend:OpenAIBackend",
)


def built_in() -> Iterator[Backend]:
    """The backends of this package for models in files, whether or not their runtimes are installed."""
    return map(_import, _BUILT_IN)


@cache
def _import(name: str) -> Backend:
    module, attribute = name.split(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), attribute)()
    except OSError as error:  # such as no free descriptors
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{module} can't be imported: {one_line(error)}") from error
    return backend


@cache
def added() -> tuple[Backend, ...]:
    """The backends that other packages add by an entry point; one that can't be imported is logged and left out."""
    from importlib.metadata import entry_points

    backends = []
    for entry in entry_points(group="wasi_nn.backends"):
        try:
            backends.append(_completed(entry.load())())
        except Exception:
            logger.exception("the backend %s (%s) can't be loaded", entry.name, entry.value)
    return tuple(backends)


def _completed(kind: type) -> type[Backend]:
    """A class of another package with the defaults of `Backend`, if it doesn't inherit them."""
    if issubclass(kind, Backend):
        return kind
    return type(kind.__name__, (kind, Backend), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})


def available() -> Iterator[Backend]:
    """Every backend for models in files, in the order in which they are asked. Those added are looked for only when it
    comes to them."""
    yield from built_in()
    yield from (backend for backend in added() if not backend.schemes)


def remote() -> Iterator[Backend]:
    """Every backend for models on other servers. The scheme of a model's addresses chooses one of them."""
    yield from map(_import, _REMOTE)
    yield from (backend for backend in added() if backend.schemes)


def of_extension(number: int) -> Backend | None:
    """The backend for the number of an encoding that only WasmEdge has; None if no backend has the number."""
    return next((it for it in available() if it.extension_encoding == number), None)


def is_installed(backend: Backend) -> bool:
    """Whether a backend's runtime is installed. Raises `NNError` with `runtime-error` if the host is out of files."""
    try:
        return importlib.util.find_spec(module_of(backend).partition(".")[0]) is not None
    except OSError as error:
        message = f"this host can't look for {backend.runtime}: {one_line(error)}"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from error


def module_of(backend: Backend) -> str:
    """The Python module without which a backend's runtime isn't installed."""
    return backend.module or backend.runtime


def files_of(backend: Backend, file: Path) -> Sequence[Path]:
    """All files and folders of a model, by the path of its file."""
    try:
        return backend.files_of(file)
    except (OSError, ValueError):  # loading the model raises this error
        return [file]


def how_to_install(backend: Backend) -> str:
    """What a user does to install a backend's runtime."""
    return how_to_install_extra(backend.extra) if backend.extra else "install the package of that name"


@contextmanager
def load_errors(backend: Backend) -> Iterator[None]:
    """Turn every exception of a backend's `load` into an `NNError`."""
    try:
        yield
    except NNError:
        raise
    except ModuleNotFoundError as error:
        how, needing = how_to_install(backend), backend.runtime if backend.schemes else backend.encoding.value
        raise NNError(
            ErrorCode.INVALID_ENCODING,
            f"{needing} needs {module_of(backend)}, which isn't installed: {how} ({one_line(error)})",
        ) from error
    except Exception as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{backend.runtime} can't load the model: {one_line(error)}") from error
