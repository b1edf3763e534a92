"""The files of a language model beside its own, which the operator names: adapters, and a projector of images."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasi_nn.backends.ggml.gguf import Header, read_header
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, printable
from wasi_nn.process.files import open_regular
from wasi_nn.settings import BY_PATH


@dataclass(frozen=True)
class ExtraFiles:
    """Files that llama.cpp opens beside the model, by names that stay those of the files whose headers were checked."""

    adapters: Sequence[tuple[str, float]] = ()
    """The name and the scale of each LoRA adapter."""
    projector: str = ""
    """The name of the file by which images become embeddings; empty if there is none."""
    descriptors: Sequence[int] = field(default=())

    def close(self) -> None:
        """Close the files."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def extra_paths(model: Path, options: Mapping[str, Any]) -> list[Path]:
    """The paths of the files that the operator's options name, relative to the model's folder."""
    projector = options.get("mmproj", "")
    return [model.parent / path for path in [*(path for path, _ in _adapters(options)), projector] if path]


def refuse_extra_files(options: Mapping[str, Any]) -> None:
    """Raise `NNError` with `unsupported-operation` for options that name files, for a model from bytes."""
    for name in ("lora", "mmproj"):
        if options.get(name):
            message = f"a model from bytes takes no files beside it (option {name!r}): {BY_PATH}"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


def open_extra_files(model: Path, options: Mapping[str, Any]) -> ExtraFiles:
    """Open the files that the operator's options name. Raises `NNError`: `not-found` for one that doesn't exist,
    `invalid-encoding` for one that is no file of its kind."""
    with ExitStack() as opened:
        descriptors: list[int] = []
        adapters = []
        for path, scale in _adapters(options):
            descriptor, header = _open(model.parent / path, "the LoRA adapter")
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
            if header.keys.get("adapter.type") != "lora":
                message = f"the LoRA adapter {printable(path)} isn't one: its adapter.type isn't lora"
                raise NNError(ErrorCode.INVALID_ENCODING, message)
            adapters.append((f"/proc/self/fd/{descriptor}", scale))
        projector = ""
        if options.get("mmproj"):
            descriptor, header = _open(model.parent / options["mmproj"], "the projector")
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
            projector = f"/proc/self/fd/{descriptor}"
            if header.architecture != "clip" or header.keys.get("clip.has_vision_encoder") is not True:
                message = f"the projector {printable(options['mmproj'])} isn't the projector of a vision model"
                raise NNError(ErrorCode.INVALID_ENCODING, message)
        opened.pop_all()
        return ExtraFiles(adapters, projector, descriptors)


def _adapters(options: Mapping[str, Any]) -> list[tuple[str, float]]:
    entries = options.get("lora", ())
    tables = ({"path": entry} if isinstance(entry, str) else entry for entry in entries)
    return [(table["path"], float(table.get("scale", 1))) for table in tables]


def _open(path: Path, what: str) -> tuple[int, Header]:
    try:
        with open_regular(path) as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                header = read_header(view)
            return os.dup(file.fileno()), header
    except FileNotFoundError as error:
        raise ModelNotFound(printable(f"{what} {path} doesn't exist")) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(f"{what} {path} can't be read: {reason}")) from error
    except NNError as error:
        raise NNError(error.code, printable(f"{what} {path} can't be used: {error}")) from error
