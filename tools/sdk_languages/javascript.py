"""The SDK for JavaScript and TypeScript: words in `words.js` and `words.d.ts`, the WIT of its worlds, and the examples,
built by componentize-qjs from npm."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import build_components

from sdk_languages import building, table
from sdk_languages.language import SDK, Guest, Language
from sdk_languages.table import REPOSITORY, Word

FOLDER = SDK / "javascript"
LIBRARY = FOLDER / "wasi-nn"
TOOLS = LIBRARY / "tools.mjs"
"""The steps of a build, for Node."""
CHECKS = REPOSITORY / "tests" / "support" / "sdk_javascript"
"""The folder of a program that only tests run: `sdk_checks`."""

_HEAD = "// The words of wasi-nn, as WIT has them. Written by tools/make_sdk.py.\n"


def _tables() -> Mapping[str, tuple[str, str, list[Word]]]:
    """By the tables' names: their words' type in TypeScript, a title, and the words that components have."""
    tables = {
        "codes": ("Code", "Why a call failed.", table.errors()),
        "types": ("Type", "The type of a tensor's elements.", table.tensor_types()),
        "encodings": ("Encoding", "The format of a model.", table.encodings()),
        "targets": ("Target", "Where a graph should run.", table.targets()),
    }
    return {
        name: (kind, title, [it for it in words if it.wit is not None]) for name, (kind, title, words) in tables.items()
    }


def words(_: str) -> str:
    """words.js."""
    lines = [_HEAD]
    for name, (_kind, title, of_table) in _tables().items():
        items = ", ".join(f"'{it.name}'" for it in of_table)
        lines += [f"/** {title} */", f"export const {name} = Object.freeze([{items}]);", ""]
    of_wit = {it.name: table.wit_tensor_type(it) for it in table.tensor_types()}
    for name, title, values in (
        ("sizes", "The bytes of an element of each type.", {it.name: str(it.size) for it in table.tensor_types()}),
        ("ofTypes", "WIT's word for each type.", {word: f"'{wit}'" for word, wit in of_wit.items()}),
        ("witTypes", "The type of each of WIT's words.", {wit: f"'{word}'" for word, wit in of_wit.items()}),
    ):
        items = ", ".join(f"{key}: {value}" for key, value in values.items())
        lines += [f"/** {title} */", f"export const {name} = Object.freeze({{ {items} }});", ""]
    return "\n".join(lines).rstrip() + "\n"


def declarations(_: str) -> str:
    """words.d.ts."""
    lines = [_HEAD]
    for name, (kind, title, of_table) in _tables().items():
        lines += [f"/** {title} */", f"export type {kind} ="]
        for word in of_table:
            lines += [f"  /** {word.text[0].upper()}{word.text[1:]}. */"] if word.text else []
            lines.append(f"  | '{word.name}'")
        lines[-1] += ";"
        lines += ["", "/** All of them. */", f"export const {name}: readonly {kind}[];", ""]
    return "\n".join(lines).rstrip() + "\n"


def wit(_: str) -> str:
    """guest.wit: the worlds `guest`, and `guest-ext` for programs that use wasi-nn:ext."""
    return building.worlds(build_components.WASI)


def tools() -> Path:
    """The folder of the commands that npm installs, in the versions of the SDK's package."""
    folder = building.BUILD / "javascript"
    wanted = json.loads((FOLDER / "package.json").read_text())
    installed = folder / "package.json"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in several processes may install at once
        if not installed.exists() or json.loads(installed.read_text()) != wanted:
            part = folder / "part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            shutil.copy(FOLDER / "package.json", part)
            subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=part, check=True)
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (part / "node_modules").rename(folder / "node_modules")
            (part / "package.json").rename(installed)
    return folder / "node_modules" / ".bin"


def build(source: Path, world: str, built: Path, root: Path = REPOSITORY) -> None:
    """Build a program, which imports nothing outside of the folder `root`. It takes some seconds."""
    command = [str(tools() / "componentize-qjs"), "--wit", str(LIBRARY / "guest.wit"), "-n", world, "--sync"]
    command += ["--opt-size", "--module-root", str(root), "--js", str(source), "-o", str(built.absolute())]
    subprocess.run(command, check=True, capture_output=True)
    mark = ["node", str(TOOLS), "mark", str(built.absolute()), "JavaScript", "componentize-qjs"]
    subprocess.run(mark, cwd=tools().parent, check=True)


_APP = """\
import {{ getArguments }} from 'wasi:cli/environment@0.2.0';
{imports}
const programs = {{ {names} }};
export const run = {{ run: () => programs[getArguments()[0]].run() }};
"""


def _build_together(sources: Sequence[Path], built: Path) -> None:
    """Build a component of some programs. The name that it is run by says which of them runs."""
    with tempfile.TemporaryDirectory(dir=building.BUILD) as scratch:
        app, names = Path(scratch, "app.js"), [path.stem for path in sources]
        places = [os.path.relpath(path, scratch) for path in sources]
        imports = [f"import {{ run as {name} }} from '{place}';" for name, place in zip(names, places, strict=True)]
        app.write_text(_APP.format(imports="\n".join(imports), names=", ".join(names)))
        build(app, "guest", built)


def _file(name: str, programs: Iterable[Path]) -> Path:
    """The built file of some programs. A change of a source changes its name."""
    library = [path for path in sorted(LIBRARY.glob("*")) if path.is_file()]
    content = hashlib.sha256(_APP.encode() + b"".join(path.read_bytes() for path in (*programs, *library)))
    return building.BUILD / f"javascript-{name}-{content.hexdigest()[:16]}.wasm"


def _guest(source: Path, file: Path, make: Callable[[Path], None]) -> Guest:
    return Guest(source.stem, "component", file, make, committed=False, tools=("npm",))


def _guests() -> Iterator[Guest]:
    """The examples, and the tests' program: those of the world `guest` in one component, which is built once."""
    examples = FOLDER / "examples"
    extensions = examples / "extensions.js"
    yield _guest(extensions, _file("guest-ext", [extensions]), partial(build, extensions, "guest-ext"))
    sources = [*(examples / f"{name}.js" for name in ("classify", "tour", "identify")), CHECKS / "sdk_checks.js"]
    file, make = _file("guest", sources), partial(_build_together, sources)
    for source in sources:
        yield _guest(source, file, make)


*_EXAMPLES, CHECKING = _guests()

LANGUAGE = Language(
    "javascript",
    {
        LIBRARY / "words.js": words,
        LIBRARY / "words.d.ts": declarations,
        LIBRARY / "guest.wit": wit,
        TOOLS: partial(building.naming_sdk, name="JavaScript"),
    },
    tuple(_EXAMPLES),
)
