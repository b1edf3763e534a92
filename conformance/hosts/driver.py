"""What a driver of a host is: it says what the host has, and how to run a guest."""

from __future__ import annotations

import os
import shlex
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from conformance.processes import Lasting, ended
from conformance.suite import TYPES

REFUSED = "refused"
"""The end of a guest that the host doesn't run, since an import is missing: the case isn't supported."""
CRASH = "crash"
"""The end of a host that fails itself: a panic, a segmentation fault."""
HANG = "hang"
"""The end of a host that didn't end in time, and was killed."""
TRAP = "trap"


_FILES = {
    "ggml": ["model.gguf"],
    "onnx": ["model.onnx"],
    "openvino": ["model.xml", "model.bin"],
    "tensorflowlite": ["model.tflite"],
}


@dataclass(frozen=True)
class Graph:
    """A named graph that a guest may load."""

    name: str
    encoding: str
    folder: Path
    """A folder whose name is the graph's, with the model's files."""

    @property
    def files(self) -> list[Path]:
        """The model's files, in the order of the encoding's builders."""
        return [self.folder / name for name in _FILES[self.encoding]]


@dataclass(frozen=True)
class Outcome:
    """What a guest printed, and how it ended."""

    lines: Sequence[str]
    end: str
    """`exit N`, or one of the ends above."""
    reason: str = ""
    """What the host says about it, in a line."""

    @property
    def shown(self) -> list[str]:
        """The lines, and the end if it isn't `exit 0`: the form of the outputs that a case expects."""
        return [*self.lines, *([] if self.end == "exit 0" else [self.end])]


class NoVersionError(Exception):
    """A host hangs or crashes when it is asked for its version. The message says which."""


class Driver(ABC):
    """A host. The simplest driver has the attributes, `command` and `end`."""

    abis: Sequence[str] = ("core",)
    """The interfaces that it has: core, 2024-06-25, 2024-08-19, 2024-10-28, wasmedge, wamr, core-ext, component-ext."""
    encodings: Sequence[str] = ("onnx", "openvino", "tensorflowlite", "ggml")
    """The encodings that it has, of these. A named graph is in the first of them that the model has."""
    named: bool = True
    """Whether it has named graphs."""
    types: Sequence[str] = TYPES
    """The types of tensors that it has."""

    def __init__(self, path: str) -> None:
        self.path = path
        first, *rest = shlex.split(path)
        # Guests run in folders of their own, where a relative path would lead elsewhere.
        self.words = [str(Path(first).absolute()) if Path(first).is_file() else first, *rest]
        """The command: a path, and maybe arguments."""

    @abstractmethod
    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        """The command that runs a guest with named graphs."""

    @abstractmethod
    def end(self, code: int, errors: str) -> str:
        """How a guest ended, by the command's exit code and its standard error."""

    def reason(self, errors: str) -> str:
        """The line of the host's standard error that tells most."""
        return next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")

    def environment(self) -> Mapping[str, str]:
        """Further environment variables of the command."""
        return {}

    def version(self, timeout: float = 60) -> str:
        """The host's name and version, for the report. Raises NoVersionError if it hangs or crashes."""
        return (ask([*self.words, "--version"], timeout) or self.path).splitlines()[0]

    lasting: Sequence[str] = ()
    """The command of a process that runs many guests, as `conformance.processes.Lasting` says. Empty: each guest has a
    process of `command`."""

    def task(self, guest: Path, graphs: Sequence[Graph], folder: Path) -> Mapping[str, Any]:
        """What a lasting process is told of a guest: by default, the arguments of `command` and the folder."""
        return {"arguments": self.command(guest, graphs)[len(self.words) :], "folder": str(folder)}

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        """Run a guest in an empty folder. A host that takes longer than the timeout, in seconds, is killed."""
        if self.lasting:
            return self.outcome(*self.processes.ask(self.task(guest, graphs, folder), timeout))
        return self.outcome(*ended(self.command(guest, graphs), timeout, self.whole_environment(), folder))

    def outcome(self, code: int | None, output: bytes, errors: bytes) -> Outcome:
        """What a guest printed, and how it ended, by the exit code, or None if it was killed since it took too long."""
        said = errors.decode(errors="replace")
        end = HANG if code is None else CRASH if code < 0 else self.end(code, said)
        return Outcome(output.decode(errors="replace").splitlines(), end, self.reason(said))

    def whole_environment(self) -> Mapping[str, str]:
        """The environment of the command."""
        return {**os.environ, **self.environment()}

    @cached_property
    def processes(self) -> Lasting:
        """The lasting processes."""
        return Lasting(self.lasting, self.whole_environment())

    def close(self) -> None:
        """End what the driver has started. Called after the last guest."""
        if self.lasting:
            self.processes.close()


def ask(words: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints that is to end soon by itself. Raises NoVersionError if it hangs or a signal ends it."""
    code, output, _ = ended(words, timeout, environment)
    if code is None:
        raise NoVersionError(f"it hangs when it is asked for its version: {timeout:g} s were too few")
    if code < 0:
        raise NoVersionError(f"it crashes when it is asked for its version: {signal.Signals(-code).name}")
    return output.decode(errors="replace").strip()
