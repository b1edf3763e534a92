"""Choosing a backend for a model: by its encoding, by the look of its bytes, and by what is installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wasi_nn.arguments import as_builders, as_path
from wasi_nn.backends import Backend, RemoteModel, Source, available, files_of, is_installed, remote
from wasi_nn.backends.remote.addresses import as_remote_model
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, nearest, one_line, printable, shortened
from wasi_nn.loading.rules import LoadRules
from wasi_nn.process.files import is_irregular, mapped_file
from wasi_nn.types import GraphEncoding


@dataclass(frozen=True)
class ChosenModel:
    """A model, by the path of its file, as its builders or on other servers, and the backend that is to load it."""

    backend: Backend
    model: Path | Sequence[memoryview] | RemoteModel


def choose(source: Source | RemoteModel, encoding: GraphEncoding, runtime: str | None, rules: LoadRules) -> ChosenModel:
    """Choose the backend for a model. Nothing of the model is parsed for that but its first bytes.

    Raises `NNError`: `invalid-argument` for a source without builders, `invalid-encoding` where no backend fits;
    `not-found` (as `ModelNotFound`) and `runtime-error` for a file that isn't there or can't be read.
    """
    wanted = partial(_is_allowed, runtime, rules)
    model_elsewhere = as_remote_model(source)
    if model_elsewhere is not None:
        return ChosenModel(_backend_for_remote(model_elsewhere, encoding, runtime), model_elsewhere)
    if isinstance(source, str | os.PathLike):
        return ChosenModel(*_backend_for_path(Path(as_path("source", source)), encoding, wanted))
    model = as_builders("source", source, "the path of a model, its bytes, or a list of builders")
    if not model:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph needs at least one builder")
    return ChosenModel(_backend_for_bytes(model[0], encoding, wanted), model)


def _backend_for_remote(model: RemoteModel, encoding: GraphEncoding, runtime: str | None) -> Backend:
    """The backend for the scheme of a model's addresses, installed or not."""
    schemes = {scheme: backend for backend in reversed(list(remote())) for scheme in backend.schemes}
    backend = schemes.get(model.scheme)
    if backend is None:
        message = f"no backend reaches models at {shortened(model.scheme)}://; there are {', '.join(sorted(schemes))}"
        raise NNError(ErrorCode.INVALID_ENCODING, message + nearest(model.scheme, schemes))
    if runtime not in (None, backend.runtime):
        message = f"models at {model.scheme}:// are run by {backend.runtime}, not by {runtime}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if encoding not in (backend.encoding, GraphEncoding.AUTODETECT):
        message = (
            f"models at {model.scheme}:// have no encoding that is known here, such as {encoding.value}: give none"
        )
        raise NNError(ErrorCode.INVALID_ENCODING, message)
    return backend


def _is_allowed(runtime: str | None, rules: LoadRules, backend: Backend) -> bool:
    return backend.runtime == (runtime or rules.runtime_for(backend.encoding) or backend.runtime)


def files_at(path: Path, encoding: GraphEncoding, runtime: str | None, rules: LoadRules) -> Sequence[Path]:
    """The files and folders that a model at a path is loaded from."""
    try:
        backend, file = _backend_for_path(path, encoding, partial(_is_allowed, runtime, rules))
        return [path, *files_of(backend, file)]
    except NNError:  # loading the model raises this error
        return [path]


def _backend_for_path(
    path: Path, encoding: GraphEncoding, is_allowed: Callable[[Backend], bool]
) -> tuple[Backend, Path]:
    """The backend for a model by its path, and the path of its file."""
    name = printable(str(path))
    try:
        file = _model_file(path, encoding) if path.is_dir() else path
        with mapped_file(file) as content:
            backend = _backend_for_bytes(content, encoding, is_allowed, file)
        for other in files_of(backend, file):
            if is_irregular(other):
                raise OSError(f"{other.name} is no regular file")
        return backend, file
    except FileNotFoundError as error:
        raise ModelNotFound(f"no model at {name}: no such file or directory") from error
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {name} can't be read: {one_line(error)}") from error
    except ValueError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"the model {name} is empty: download or copy it again") from error


def _model_file(directory: Path, encoding: GraphEncoding) -> Path:
    """The model in a directory: the file with a usual name, else the only one that looks like a model."""
    shown = printable(str(directory))
    fitting = [backend for backend in available() if encoding in (backend.encoding, GraphEncoding.AUTODETECT)]
    usual = list(dict.fromkeys(name for backend in fitting for name in backend.model_files))
    named = [directory / name for name in usual if (directory / name).is_file()]
    models = named or [file for file in sorted(directory.iterdir()) if _looks_like_a_model(file, fitting)]
    if len(models) == 1:
        return models[0]
    if models:
        names = ", ".join(printable(file.name) for file in models)
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"the directory {shown} has several models ({names}): give the path of one"
        )
    from wasi_nn.loading.explanation import what_is_in

    raise NNError(
        ErrorCode.INVALID_ENCODING,
        f"the directory {shown} has none of {', '.join(usual)}, nor any other file in a format known here"
        + what_is_in(directory),
    )


def _looks_like_a_model(file: Path, fitting: Sequence[Backend]) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    with mapped_file(file) as content:
        return any(backend.sniff(content) for backend in fitting)


def _backend_for_bytes(
    model: memoryview, encoding: GraphEncoding, is_allowed: Callable[[Backend], bool], file: Path | None = None
) -> Backend:
    """The first installed backend that is allowed, has the encoding (any, for autodetect) and recognises the model; if
    none of these is installed, the first of them."""
    tried, fitting = [], []
    for backend in available():
        if encoding not in (backend.encoding, GraphEncoding.AUTODETECT) or not is_allowed(backend):
            continue
        tried.append(backend)
        if backend.sniff(model):
            fitting.append(backend)
            if is_installed(backend):
                return backend
    if fitting:
        return fitting[0]
    if encoding is not GraphEncoding.AUTODETECT and tried:
        return next(filter(is_installed, tried), tried[0])  # its error will say what is wrong with the model
    if encoding is not GraphEncoding.AUTODETECT:
        known = dict.fromkeys(backend.encoding.value for backend in available())
        message = f"there is no backend for {encoding.value} here, only for {', '.join(known)}"
        raise NNError(ErrorCode.INVALID_ENCODING, message)
    from wasi_nn.loading.explanation import unknown_format

    raise unknown_format(model, file, tried)
