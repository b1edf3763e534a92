"""`Backend`: the base class of all backends. A backend loads models of one encoding with one ML runtime."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_nn.backends.devices import CPU, Device, device_for
from wasi_nn.backends.remote.addresses import RemoteModel
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

Options = Mapping[str, Any]
"""The options of a backend, by name."""
Buffer = bytes | bytearray | memoryview
"""The bytes of a model, or of a part of it."""
Source = str | os.PathLike[str] | Buffer | Sequence[Buffer] | Sequence[str]
"""A model: the path of a file or a directory, its bytes, or a list of builders; or the address of a model on another
server, or a list of such addresses."""


class Backend(ABC):
    """One ML runtime for one encoding. A backend must have `encoding`, `runtime`, `sniff` and `load_path`; all else is
    optional, and has a default here.

    Methods raise `NNError`. Any other exception of `load` and `load_path` becomes an `NNError` with `runtime-error`.
    Importing the backend's module must not import its runtime.
    """

    encoding: GraphEncoding
    """The encoding of the models; `AUTODETECT` for a format that the specification doesn't name."""
    runtime: str
    """The runtime's Python module, such as `onnxruntime`. Operators choose the runtime by this name."""
    module: str = ""
    """The Python module without which the runtime isn't installed, if its name isn't `runtime`."""
    schemes: Sequence[str] = ()
    """The schemes of the addresses of models on other servers, such as `grpc`, for a backend of such models. It loads
    nothing else: no files and no bytes."""
    extra: str = ""
    """The extra of `wasi-nn` that installs the runtime, such as `onnx`; empty if no extra does."""
    model_files: Sequence[str] = ()
    """The usual names of the model's file in a directory, the most usual first."""
    withstands_hostile_bytes: bool = False
    """Whether the runtime is safe for untrusted models. If not, guests load none from bytes by default, unless
    `safe_in_isolation`."""
    safe_in_isolation: bool = False
    """Whether guests may load untrusted models by default, isolated in a worker, although the runtime isn't safe."""
    works_in_forks: bool = True
    """Whether the runtime can be used in a forked process if it was used before the fork."""
    needs_sockets: bool = False
    """Whether the runtime opens a port. An isolated graph gets a loopback device that no other process has."""
    in_worker: bool = False
    """Whether the backend loads models in an isolated worker, which the host ends if a compute doesn't stop."""
    extension_encoding: int | None = None
    """The number of an encoding that only WasmEdge has (9 is Whisper, 11 is Piper). Its graphs may have any number of
    builders, or none."""

    @abstractmethod
    def sniff(self, model: memoryview) -> bool:
        """Whether the bytes look like a model of this encoding. They may be hostile, and the runtime may be missing."""

    def cut_short(self, model: memoryview) -> str | None:
        """Optional: the words for bytes that begin as a model of this encoding and don't end as one, such as `an ONNX
        model, cut short: ...`. None for all others, and by default. The same as for `sniff` holds."""
        return None

    @abstractmethod
    def load_path(self, path: Path, target: ExecutionTarget, options: Options) -> Graph:
        """Load a trusted model from the path of its file."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Options) -> Graph:
        """Optional: load a model, which may be untrusted, from its builders. The graph must not keep views of these
        bytes, nor reach any file. The default raises `NNError` with `security`."""
        message = f"models of {self.runtime} are loaded by name only: from files, not from bytes"
        raise NNError(ErrorCode.SECURITY, message)

    def load_remote(self, model: RemoteModel, options: Options) -> Graph:
        """For a backend that has `schemes`: load a model that is on other servers. The graph runs in the host's process
        even if graphs are isolated: a worker reaches no network."""
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{self.runtime} runs no models on other servers")

    def check_options(self, options: Options) -> None:  # noqa: B027  optional
        """Optional: raise `NNError` with `invalid-argument` for options that no model of this backend takes."""

    def list_devices(self) -> Sequence[Device]:
        """Optional: the devices that the runtime can use on this machine, the preferred ones first."""
        return [CPU]

    def devices(self) -> Mapping[ExecutionTarget, str]:
        """The targets that can be used on this machine, each with its device's label: made of `list_devices`."""
        devices = self.list_devices()
        chosen = {target: device_for(devices, target) for target in ExecutionTarget}
        return {target: device.label for target, device in chosen.items() if device is not None}

    def files_of(self, path: Path) -> Sequence[Path]:
        """Optional: all files and folders of a model, by the path of its file. The default: that file."""
        return [path]

    def own_files_of(self, path: Path, options: Options) -> Sequence[Path]:
        """Optional: the files and folders that the worker of an isolated model may read. Raises `NNError` with
        `security` if the model names other files."""
        return self.files_of(path)
