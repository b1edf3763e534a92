"""What a backend is: one ML runtime for one encoding, which turns models into graphs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_nn.backends.devices import CPU, Device, device_for
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

Options = Mapping[str, Any]
"""A backend's own options, by name."""
Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | Sequence[Buffer]
"""A model: a path (of a file or a directory), its bytes, or the several builders of an encoding that has them."""


class Backend(ABC):
    """One ML runtime and one encoding. `encoding`, `runtime`, `sniff` and `load_path` are all that a backend needs.

    Methods raise `NNError`; any other exception of `load` and `load_path` becomes one with `runtime-error`. Importing a
    backend's module must not import its runtime.
    """

    encoding: GraphEncoding
    """`AUTODETECT` for a format that the specification has no word for."""
    runtime: str
    """The runtime's Python module, such as `onnxruntime`: the name by which an operator asks for it."""
    extra: str = ""
    """The extra of `wasi-nn` that installs the runtime, such as `onnx`; none for a runtime of another package."""
    model_files: Sequence[str] = ()
    """The usual names of a model's file in a directory that is given as a model, the most usual first."""
    withstands_hostile_bytes: bool = False
    """Whether the runtime is safe for the bytes of untrusted models. Guests load no others by default."""
    safe_in_isolation: bool = False
    """Whether guests load untrusted models by default all the same, isolated."""
    works_in_forks: bool = True
    """Whether the runtime can be used in a forked process if it was used before the fork."""
    needs_sockets: bool = False
    """Whether the runtime opens a port, on a loopback device of its own where the graph is isolated."""
    extension_encoding: int | None = None
    """The number of an encoding that only WasmEdge has (9 Whisper, 11 Piper ...). Its graphs may have any number of
    builders, none too."""

    @abstractmethod
    def sniff(self, model: memoryview) -> bool:
        """Whether the bytes look like a model of this encoding. They may be hostile; the runtime must not be needed."""

    @abstractmethod
    def load_path(self, path: Path, target: ExecutionTarget, options: Options) -> Graph:
        """Load the operator's own model from its file."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Options) -> Graph:
        """Load a model from bytes, which are the caller's again afterwards. Nothing outside of them may be reached."""
        message = f"models of {self.runtime} are loaded by name only: from files, not from bytes"
        raise NNError(ErrorCode.SECURITY, message)

    def list_devices(self) -> Sequence[Device]:
        """The devices that the runtime can use on this machine, the preferred ones first."""
        return [CPU]

    def devices(self) -> Mapping[ExecutionTarget, str]:
        """The targets that can be used on this machine, with the label of the device for each."""
        devices = self.list_devices()
        chosen = {target: device_for(devices, target) for target in ExecutionTarget}
        return {target: device.label for target, device in chosen.items() if device is not None}

    def files_of(self, path: Path) -> Sequence[Path]:
        """Every file and folder that a model is in, by the path of its file."""
        return [path]

    def own_files_of(self, path: Path, options: Options) -> Sequence[Path]:
        """The files and folders of a model that its worker may read, if it is isolated. Raises `NNError` with
        `security` if the model names others."""
        return self.files_of(path)
