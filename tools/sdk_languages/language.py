"""What `tools/make_sdk.py` writes and builds for one language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sdk_languages.table import REPOSITORY

SDK = REPOSITORY / "sdk"
GUESTS = ("classify", "tour", "extensions")
"""The programs that every SDK has in `sdk/LANGUAGE/examples`. sdk/README.md says what they do."""
TASKS = ("identify", "chat")
"""Further programs, which some SDKs have."""


@dataclass(frozen=True)
class Guest:
    """A built example of an SDK."""

    program: str
    """One of `GUESTS` or `TASKS`."""
    abi: str
    """`core`, `wasmedge` (core, with WasmEdge's functions) or `component`."""
    file: Path
    """The built file, which is committed beside its source if it is small."""
    build: Callable[[Path], None] = field(compare=False)
    """Builds it into this file. Raises `subprocess.CalledProcessError` if it can't be built."""
    committed: bool = True
    """Whether the repository has the built file. A test builds any other guest, if its tools are there."""
    tools: tuple[str, ...] = ()
    """The commands that `build` needs beside the Python packages of the extra `dev`, such as `npm`."""

    @property
    def language(self) -> str:
        """The name of the language's folder."""
        return self.file.relative_to(SDK).parts[0] if self.committed else self.file.name.partition("-")[0]

    def __str__(self) -> str:
        return f"{self.language}-{self.program}-{self.abi}"


@dataclass(frozen=True)
class Language:
    """The files of one SDK that are written or built."""

    name: str
    """The name of its folder in `sdk`."""
    numbers: Mapping[Path, Callable[[str], str]]
    """Its files with numbers. Each has a function that gives the whole new text for the present one (empty if there is
    no file yet)."""
    guests: tuple[Guest, ...] = ()


def readme_block(folder: Path, language: str) -> str:
    """The first block of code in this language in a folder's README."""
    return (folder / "README.md").read_text().partition(f"\n```{language}\n")[2].partition("```")[0]
