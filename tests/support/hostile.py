"""What a hostile model is to the tests, and the surroundings that it would like to reach.

The models themselves are in `hostile_onnx`, `hostile_tflite` and so on, one module an encoding, and `hostile_models`
has all of them. `hostile_trial` gives them to a session as a guest would; `test_hostile_models` looks at what came of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wasi_nn import ErrorCode

ENCODING, INVALID, LARGE = ErrorCode.INVALID_ENCODING, ErrorCode.INVALID_ARGUMENT, ErrorCode.TOO_LARGE
RUNTIME, SECURITY, UNSUPPORTED = ErrorCode.RUNTIME_ERROR, ErrorCode.SECURITY, ErrorCode.UNSUPPORTED_OPERATION

SECRET = "the host's own secret"
"""What the canary file and the environment have in them, and no output and no message may show."""


@dataclass(frozen=True)
class Scene:
    """A directory of the host's in which models are loaded: nothing in it may be opened, made or changed by one."""

    folder: Path

    @property
    def canary(self) -> Path:
        """A file with the secret, in which weights of 16 f32 have room; `link.bin` is a symbolic link to it."""
        return self.folder / "weights.bin"

    def prepare(self) -> None:
        """Make what is in it."""
        self.folder.mkdir()
        self.canary.write_text(SECRET.ljust(64))
        (self.folder / "link.bin").symlink_to(self.canary)


@dataclass(frozen=True)
class Outcome:
    """What is to come of a model: an error with one of the codes, when it is loaded or later; or none, and it ran.

    `isolated_only` says why a model can't be loaded in the host's own process, and can't be told from others before.
    """

    stage: str
    codes: tuple[ErrorCode, ...] = ()
    isolated_only: str = ""


def refused(*codes: ErrorCode) -> Outcome:
    """The model can't be loaded."""
    return Outcome("load", codes)


def fails(*codes: ErrorCode) -> Outcome:
    """The model can be loaded, but not run."""
    return Outcome("compute", codes)


HARMLESS = Outcome("ran")
"""The model may run, and has done no harm then."""


def isolated_only(why: str) -> Outcome:
    """The model may only be loaded in isolation, where it fails somehow."""
    return Outcome("any", isolated_only=why)


Builders = bytes | Sequence[bytes]
Made = tuple[str, Callable[[Scene], Builders]]


def made(name: str, make: Callable[..., Builders], *arguments: Any, **keywords: Any) -> Made:
    """A model that has nothing to do with the scene."""
    return name, lambda _: make(*arguments, **keywords)


@dataclass(frozen=True)
class Hostile:
    """A model that wants to harm its host, or might."""

    encoding: str
    name: str
    make: Callable[[Scene], Builders]
    outcome: Outcome

    def builders(self, scene: Scene) -> Sequence[bytes]:
        """The model's bytes."""
        builders = self.make(scene)
        return [builders] if isinstance(builders, bytes) else builders


def corpus(encoding: str, models: Mapping[Outcome, Sequence[Made]]) -> list[Hostile]:
    """The models of an encoding, by what is to come of them."""
    return [Hostile(encoding, name, make, outcome) for outcome, group in models.items() for name, make in group]
