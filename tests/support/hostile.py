"""The types for the corpus of hostile models: a model, its expected outcome, and the files that it tries to reach.

The models are in `hostile_onnx`, `hostile_tflite` and so on, one module per encoding; `hostile_models` has all of them.
`hostile_trial` loads them in a session, as a guest would; `test_hostile_models` checks the outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wasi_nn import ErrorCode

ENCODING, INVALID, LARGE = ErrorCode.INVALID_ENCODING, ErrorCode.INVALID_ARGUMENT, ErrorCode.TOO_LARGE
RUNTIME, SECURITY, UNSUPPORTED = ErrorCode.RUNTIME_ERROR, ErrorCode.SECURITY, ErrorCode.UNSUPPORTED_OPERATION

SECRET = "the host's own secret"
"""The content of the canary file and of an environment variable. No output and no message may contain it."""


@dataclass(frozen=True)
class Scene:
    """The working directory in which models are loaded. No model may open, create or change a file in it."""

    folder: Path

    @property
    def canary(self) -> Path:
        """A file with the secret, as long as weights of 16 f32; `link.bin` is a symbolic link to it."""
        return self.folder / "weights.bin"

    def prepare(self) -> None:
        """Make the directory and its files."""
        self.folder.mkdir()
        self.canary.write_text(SECRET.ljust(64))
        (self.folder / "link.bin").symlink_to(self.canary)


@dataclass(frozen=True)
class Outcome:
    """The expected outcome of a model: its last stage ("load", "compute" or "ran"), and the allowed error codes.

    `isolated_only` says why a model may only be tried in isolation, although it can't be recognised beforehand. An
    `endless` model computes until it is interrupted, on any machine.
    """

    stage: str
    codes: tuple[ErrorCode, ...] = ()
    isolated_only: str = ""
    endless: bool = False


def refused(*codes: ErrorCode) -> Outcome:
    """The model can't be loaded."""
    return Outcome("load", codes)


def fails(*codes: ErrorCode, endless: bool = False) -> Outcome:
    """The model can be loaded, but not run."""
    return Outcome("compute", codes, endless=endless)


HARMLESS = Outcome("ran")
"""The model may run, and does no harm."""


def isolated_only(why: str, *, endless: bool = False) -> Outcome:
    """The model is tried in isolation only, where it may fail in any way."""
    return Outcome("any", isolated_only=why, endless=endless)


Builders = bytes | Sequence[bytes]
Made = tuple[str, Callable[[Scene], Builders]]


@dataclass(frozen=True)
class _Alike:
    """Makes a model that is the same in every scene."""

    make: Callable[[], Builders]

    def __call__(self, scene: Scene) -> Builders:
        return self.make()


def made(name: str, make: Callable[..., Builders], *arguments: Any, **keywords: Any) -> Made:
    """A model that doesn't depend on the scene."""
    return name, _Alike(partial(make, *arguments, **keywords))


@dataclass(frozen=True)
class Hostile:
    """A model that may harm its host."""

    encoding: str
    name: str
    make: Callable[[Scene], Builders]
    outcome: Outcome

    @property
    def alike(self) -> bool:
        """Whether the model is the same in every scene."""
        return isinstance(self.make, _Alike)

    def builders(self, scene: Scene) -> Sequence[bytes]:
        """The model's bytes."""
        builders = self.make(scene)
        return [builders] if isinstance(builders, bytes) else builders


def corpus(encoding: str, models: Mapping[Outcome, Sequence[Made]]) -> list[Hostile]:
    """The models of an encoding, grouped by their expected outcomes."""
    return [Hostile(encoding, name, make, outcome) for outcome, group in models.items() for name, make in group]
