"""The SDK for Python: words in `numbers.py`, the WIT of its worlds, and the examples, built by componentize-py."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import build_components

from sdk_languages import building, language, table
from sdk_languages.language import SDK, Guest, Language
from sdk_languages.table import REPOSITORY, Word

FOLDER = SDK / "python"
PACKAGE = FOLDER / "wasi_nn_guest"
EXAMPLES = FOLDER / "examples"

_HEAD = '''\
"""The words of wasi-nn, with their numbers in WIT. Written by tools/make_sdk.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A word of wasi-nn, which is a string too: `Encoding("onnx")` is `Encoding.ONNX`, and prints as `onnx`.

    number  its number in WIT
    size    of a tensor type: the bytes of an element. Else 0
    """

    number: int
    size: int

    def __new__(cls, word: str, number: int = 0, size: int = 0) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.number = number
        member.size = size
        return member

    @classmethod
    def of_number(cls, number: int) -> Self:
        """The word that WIT gives a number."""
        return next(it for it in cls if it.number == number)
'''


def _enum(name: str, title: str, words: list[Word]) -> Iterator[str]:
    yield from ["", "", f"class {name}(Word):", f'    """{title}"""', ""]
    for word in words:
        if word.wit is not None:  # others are only in core ABIs
            size = f", {word.size}" if word.size else ""
            yield f'    {word.styled()} = "{word.name}", {word.wit}{size}'
            if word.text:
                yield f'    """{word.text[0].upper()}{word.text[1:]}."""'


def numbers(_: str) -> str:
    """numbers.py."""
    lines = _HEAD.splitlines()
    lines += _enum("Code", "Why a call failed.", table.errors())
    lines += _enum("Type", "The type of a tensor's elements.", table.tensor_types())
    lines += _enum("Encoding", "The format of a model.", table.encodings())
    lines += _enum("Target", "Where a graph should run.", table.targets())
    return "\n".join(lines) + "\n"


def wit(_: str) -> str:
    """guest.wit: the worlds `guest`, and `guest-ext` for programs that use wasi-nn:ext."""
    return building.worlds()


_COMMAND = Path(sys.executable).with_name("componentize-py")


def write_bindings(folder: Path) -> None:
    """Write the modules of the world `guest-ext`, which are made for each component, for type checkers."""
    subprocess.run([_COMMAND, "-d", PACKAGE / "guest.wit", "-w", "guest-ext", "bindings", folder], check=True)


def build(programs: Sequence[str], world: str, built: Path, folders: Sequence[Path] = (EXAMPLES,)) -> None:
    """Build a component of some programs in these folders. The name that it is run by says which of them runs. It takes
    ten seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:  # as copies: the build writes compiled modules beside the sources
            shutil.copytree(folder, scratch, dirs_exist_ok=True)
        shutil.copytree(PACKAGE, Path(scratch, PACKAGE.name))
        Path(scratch, "app.py").write_text(_APP.format(programs=", ".join(programs)))
        Path(scratch, f"{README_PROGRAM}.py").write_text(language.readme_block(FOLDER, "python"))
        command = [str(_COMMAND), "-d", str(PACKAGE / "guest.wit"), "-w", world]
        command += ["componentize", "app", "-p", scratch, "-o", str(built.absolute())]
        subprocess.run(command, check=True, capture_output=True)
    version = subprocess.run([_COMMAND, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([sys.executable, str(PACKAGE / "made_by.py"), str(built), version], check=True)


_APP = """
import sys
import {programs}
from wasi_nn_guest import command
Run = command(lambda: sys.modules[sys.argv[0]].main())
"""


def together(programs: Sequence[str], world: str, folders: Sequence[Path] = (EXAMPLES,)) -> list[Guest]:
    """Programs in one component, because each has 18 MB and takes so long to build. A change of a source changes the
    file's name."""
    sources = [path for folder in (*folders, PACKAGE) for path in sorted(folder.glob("*")) if path.is_file()]
    texts = (_APP, *programs, language.readme_block(FOLDER, "python"))
    content = hashlib.sha256("".join(texts).encode() + b"".join(path.read_bytes() for path in sources))
    file = building.BUILD / f"python-{world}-{content.hexdigest()[:16]}.wasm"
    make = partial(build, programs, world, folders=folders)
    of_abi = partial(Guest, abi="component", file=file, build=make, committed=False)
    return [of_abi(program) for program in programs]


README_PROGRAM = "readme"
"""The name of the program that the README shows."""
CHECKS = REPOSITORY / "tests" / "support" / "sdk_python"
"""The folder of a program that only tests run: `sdk_checks`."""
BARE = build_components.COMPONENTS / "python"
"""The folder of programs by the bare imports. Of these, tests run `ext` in the same component as the SDK's."""
*_PORTABLE, CHECKING, README = together(
    ["classify", "tour", "identify", "sdk_checks", README_PROGRAM], "guest", (EXAMPLES, CHECKS)
)

*_EXTENDED, EXT = together(["extensions", "chat", "ext"], "guest-ext", (EXAMPLES, BARE))

LANGUAGE = Language(
    "python",
    {
        PACKAGE / "numbers.py": numbers,
        PACKAGE / "guest.wit": wit,
        PACKAGE / "made_by.py": partial(building.naming_sdk, name="Python"),
    },
    (*_PORTABLE, *_EXTENDED),
)
