"""Explains bytes that can't be loaded: a model of another encoding, a model that is cut short, or no model at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from wasi_nn.backends import Backend, available, files_of
from wasi_nn.backends.formats.foreign import DOWNLOAD_AGAIN, ForeignFormat, download_mishap, foreign_format
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.process.files import files_in, mapped_file
from wasi_nn.types import GraphEncoding

_MOST_FILES = 1000  # of a folder, or of a model: no more are read
_EXPLAINED_CODES = (ErrorCode.RUNTIME_ERROR, ErrorCode.INVALID_ENCODING)
_NOUNS = {
    GraphEncoding.OPENVINO: "an OpenVINO network",
    GraphEncoding.ONNX: "an ONNX model",
    GraphEncoding.TENSORFLOW: "a TensorFlow model",
    GraphEncoding.PYTORCH: "a PyTorch model",
    GraphEncoding.TENSORFLOWLITE: "a TensorFlow Lite model",
    GraphEncoding.GGML: "a GGUF model",
}


def what_is(content: memoryview, file_name: str = "", tried: Collection[Backend] = ()) -> ForeignFormat | None:
    """The format of bytes: a model's, that of a part of a model, or another well-known one; None if it is unknown.
    `tried` are backends that don't recognise the bytes."""
    like = _recogniser(content, tried)
    if like is not None:
        cut = _cut_short(like, content)
        if cut is not None:
            return ForeignFormat(cut, DOWNLOAD_AGAIN, hides=True)
        noun = _NOUNS.get(like.encoding, f"a model of {like.runtime}")
        return ForeignFormat(noun, f"give the encoding {like.encoding.value}, or autodetect", encoded=True)
    foreign = foreign_format(content, file_name)
    if foreign is None or foreign.vague:
        cut = next(filter(None, (_cut_short(backend, content) for backend in available())), None)
        return foreign if cut is None else ForeignFormat(cut, DOWNLOAD_AGAIN, hides=True)
    return foreign


def what_is_in(directory: Path) -> str:
    """A clause about the first file in a directory that has a well-known format; empty if there is none."""
    for file in islice(sorted(directory.iterdir()), _MOST_FILES):
        with suppress(OSError, ValueError), mapped_file(file) as content:
            found = what_is(content, file.name)
            if found is not None and not found.vague:
                return f"; its file {printable(file.name)} is {found.name}: {found.advice}"
    return ""


def unknown_format(content: memoryview, file: Path | None, tried: Sequence[Backend]) -> NNError:
    """The error for a model without a given encoding that no backend recognises. `tried` are the backends that may load
    the model, and don't recognise it."""
    found = what_is(content, "" if file is None else file.name, tried)
    tried = tried or list(available())
    encodings = ", ".join(dict.fromkeys(backend.encoding.value for backend in tried))
    if found is not None and found.encoded:
        runtimes = " and ".join(dict.fromkeys(backend.runtime for backend in tried))
        fitting = " or ".join(dict.fromkeys(it.runtime for it in available() if _sniffs(it, content)))
        message = f"{_name(file)} is {found.name}, and the chosen runtime {runtimes} loads only {encodings}"
        return NNError(ErrorCode.INVALID_ENCODING, f"{message}: choose {fitting}")
    if found is not None and not found.vague:
        return NNError(ErrorCode.INVALID_ENCODING, f"{_name(file)} is {found.name}: {found.advice}")
    kind = "" if found is None else f" is {found.name}, and"
    return NNError(
        ErrorCode.INVALID_ENCODING,
        f"{_name(file) if file is None else printable(str(file))} isn't in a format known here "
        f"(tried: {encodings}); it{kind} begins with {bytes(content[:8])!r}",
    )


def explained(error: NNError, backend: Backend, model: Path | Sequence[memoryview]) -> NNError:
    """A backend's error for a model, with another message if the model's bytes show the cause. The code stays the
    same."""
    if error.code not in _EXPLAINED_CODES:
        return error
    if isinstance(model, Path):
        with suppress(OSError, ValueError), mapped_file(model) as content:
            return _explained(error, backend, content, model) or _explained_by_parts(error, backend, model)
        return error
    first, *others = model or [memoryview(b"")]
    text = _explained(error, backend, first, None)
    if text is not None:
        return text
    for place, other in enumerate(others, 2):
        found = download_mishap(other)
        if found is not None:
            return error.with_message(f"builder {place} of the model is {found.name}: {found.advice}")
    return error


def _explained(error: NNError, backend: Backend, content: memoryview, file: Path | None) -> NNError | None:
    name = _name(file)
    if _sniffs(backend, content):
        cut = _cut_short(backend, content)
        return None if cut is None else error.with_message(f"{name} is {cut}: {DOWNLOAD_AGAIN}")
    found = what_is(content, "" if file is None else file.name)
    if found is None:
        return None
    if found.encoded:
        message = f"{name} is {found.name}, given as {backend.encoding.value}: {found.advice} ({error})"
        return error.with_message(message)
    if found.vague:
        return error.with_message(f"{error} ({name} is {found.name}: {found.advice})")
    return error.with_message(f"{name} is {found.name}: {found.advice}")


def _explained_by_parts(error: NNError, backend: Backend, model: Path) -> NNError:
    """The error, with another message if a further file of the model is missing, or is a failed download."""
    for part in islice(files_of(backend, model), _MOST_FILES):
        if part == model or ".." in part.parts or model.parent not in part.parents:
            continue
        if not part.exists():
            if backend.encoding is not GraphEncoding.TENSORFLOW:  # whose folders are optional
                return error.with_message(f"{_name(model)} lacks its file {printable(str(part))} ({error})")
            continue
        for file in islice(files_in(part), _MOST_FILES):
            with suppress(OSError, ValueError), mapped_file(file) as content:
                found = download_mishap(content)
                if found is not None:
                    return error.with_message(f"{_name(file, 'the file')} of the model is {found.name}: {found.advice}")
    return error


def _name(file: Path | None, noun: str = "the model") -> str:
    return noun if file is None else f"{noun} {printable(str(file))}"


def _recogniser(content: memoryview, tried: Collection[Backend]) -> Backend | None:
    """The first backend that recognises the bytes as one of its models, without those that have tried."""
    return next((backend for backend in available() if backend not in tried and _sniffs(backend, content)), None)


def _sniffs(backend: Backend, content: memoryview) -> bool:
    with suppress(NNError):
        return backend.sniff(content)
    return False


def _cut_short(backend: Backend, content: memoryview) -> str | None:
    with suppress(NNError):
        return backend.cut_short(content)
    return None
