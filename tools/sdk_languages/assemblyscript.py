"""The SDK for AssemblyScript: numbers in `numbers.ts`, and the examples, built by `asc` from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sdk_languages import building, javascript, table
from sdk_languages.language import GUESTS, SDK, TASKS, Guest, Language
from sdk_languages.table import Word

PACKAGE = SDK / "assemblyscript"
VERSION: str = json.loads((PACKAGE / "package.json").read_text())["devDependencies"]["assemblyscript"]
"""The version of the compiler."""
TOOLS = PACKAGE / "assembly" / "tools.mjs"
"""The steps of a build, for Node."""
_TOOLS = building.BUILD / "assemblyscript"

_HEAD = """\
// The words of wasi-nn, with their numbers in the core ABI. Written by tools/make_sdk.py.

// @ts-ignore: `asc --use WASI_NN_WASMEDGE=1` defines it
const IS_WASMEDGE = isDefined(WASI_NN_WASMEDGE);
"""

Of = Callable[[Word], int | None]


def _enum(name: str, title: str, words: list[Word], of: Of = lambda it: None) -> Iterator[str]:
    yield ""
    yield f"/** {title} */"
    yield f"export enum {name} {{"
    for word in words:
        text = word.text or word.name
        number = of(word)
        yield f"  /** {text[0].upper()}{text[1:]}. */"
        yield f"  {word.styled('pascal')}{'' if number is None else f' = {number}'},"
    yield "}"


def _texts(function: str, title: str, name: str, words: list[Word], text: Of | Callable[[Word], str]) -> Iterator[str]:
    yield from _switch(
        function,
        title,
        f"value: {name}",
        "string",
        "value",
        [(f"{name}.{it.styled('pascal')}", f'"{text(it)}"') for it in words],
        '""',
    )


def _switch(
    function: str, title: str, parameter: str, result: str, of: str, cases: list[tuple[str, str]], otherwise: str
) -> Iterator[str]:
    yield ""
    yield f"/** {title} */"
    yield f"export function {function}({parameter}): {result} {{"
    yield f"  switch ({of}) {{"
    yield from (f"    case {case}: return {value};" for case, value in cases)
    yield f"    default: return {otherwise};"
    yield "  }"
    yield "}"


def _of_core(word: Word) -> int | None:
    return word.core


def _of_wasmedge(word: Word) -> int | None:
    return word.wasmedge


def _numbers_of(name: str, words: list[Word], core: Of = _of_core) -> Iterator[str]:
    """A function that gives the ABI's number of a word, or -1."""
    both = []
    for word in words:
        numbers = [-1 if number is None else number for number in (core(word), word.wasmedge)]
        value = str(numbers[0]) if numbers[0] == numbers[1] else f"IS_WASMEDGE ? {numbers[1]} : {numbers[0]}"
        both.append((f"{name}.{word.styled('pascal')}", value))
    function, title = f"numberOf{name}", "The number in the ABI; -1 if it has none."
    yield from _switch(function, title, f"value: {name}", "i32", "value", both, "-1")


def numbers(_: str) -> str:
    """numbers.ts."""
    lines = _HEAD.splitlines()
    errors, types, encodings = table.errors(), table.tensor_types(), table.encodings()
    lines += _enum("Code", "Why a call failed.", errors)
    cases = [(str(it.wasmedge), f"Code.{it.styled('pascal')}") for it in errors if it.wasmedge is not None]
    lines += _switch(
        "codeOf", "The reason that an errno stands for.", "errno: u32", "Code", "errno", cases, "Code.Unknown"
    )
    lines += _texts("nameOfCode", "The reason as a word.", "Code", errors, lambda it: it.name)
    lines += _texts("textOfCode", "The reason in words.", "Code", errors, lambda it: it.text)
    lines += _enum("Type", "The type of a tensor's elements.", types)
    lines += _texts("nameOfType", "The type as a word.", "Type", types, lambda it: it.name)
    sizes = [(f"Type.{it.styled('pascal')}", str(it.size)) for it in types]
    lines += _switch("sizeOfType", "The bytes of an element.", "value: Type", "u32", "value", sizes, "0")
    lines += _numbers_of("Type", types)
    of_number = [(str(it.core), f"Type.{it.styled('pascal')}") for it in types if it.core is not None]
    title = "The type of a number of the ABI; -1 if there is none."
    lines += _switch("typeOfNumber", title, "number: u32", "i32", "number", of_number, "-1")
    lines += _enum("Encoding", "The format of a model.", encodings)
    lines += _texts("nameOfEncoding", "The encoding as a word.", "Encoding", encodings, lambda it: it.name)
    lines += _numbers_of("Encoding", encodings, table.specification_encoding)
    of_record = [(str(it.wit), f"Encoding.{it.styled('pascal')}") for it in encodings]
    title = "The encoding of a number in a description."
    lines += _switch("encodingOf", title, "number: u32", "Encoding", "number", of_record, "Encoding.Autodetect")
    lines += ["", "/** The encoding of this name; -1 if there is none. */"]
    lines += ["export function encodingNamed(name: string): i32 {"]
    lines += [f'  if (name == "{it.name}") return Encoding.{it.styled("pascal")};' for it in encodings]
    lines += ["  return -1;", "}"]
    lines += _enum("Target", "Where a graph should run.", table.targets())
    lines += _numbers_of("Target", table.targets())
    lines += _enum("ElementKind", "What a described tensor has.", table.element_kinds(), lambda it: it.wit)
    lines += _enum("DimensionKind", "The kinds of described dimensions.", table.dimension_kinds(), lambda it: it.wit)
    return "\n".join(lines) + "\n"


def tools_text(_: str) -> str:
    """tools.mjs, which is that of the SDK for JavaScript."""
    return building.naming_sdk(javascript.TOOLS.read_text(), "AssemblyScript")


def tools() -> Path:
    """The folder with `asc` and the shim for WASI, which npm installs there in the versions of the package."""
    installed = _TOOLS / "node_modules" / "assemblyscript"
    manifest = installed / "package.json"
    if not manifest.exists() or json.loads(manifest.read_text())["version"] != VERSION:
        _TOOLS.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / "package.json", _TOOLS)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=_TOOLS, check=True)
    return _TOOLS / "node_modules"


def build(program: str, is_wasmedge: bool, built: Path) -> None:
    """Build an example, or the program whose absolute path this is, without its suffix."""
    asc, source = tools() / "assemblyscript" / "bin" / "asc.js", PACKAGE / "examples" / f"{program}.ts"
    # asc takes a configuration's own paths relative to the present folder, unless the configuration's is so too.
    arguments = ["node", str(asc), str(source), "--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"]
    arguments += ["-O3z", "--outFile", str(built.absolute())]
    arguments += ["--use", "WASI_NN_WASMEDGE=1"] if is_wasmedge else []
    subprocess.run(arguments, cwd=_TOOLS, check=True)
    mark = ["node", str(TOOLS), "mark", str(built.absolute()), "AssemblyScript", "assemblyscript"]
    subprocess.run(mark, cwd=_TOOLS, check=True)


def _guests() -> Iterator[Guest]:
    folder = PACKAGE / "examples"
    for program in (*GUESTS, *TASKS):
        if program != "extensions":
            yield Guest(program, "core", folder / f"{program}.wasm", partial(build, program, False), tools=("npm",))
        if program in ("tour", "extensions"):
            file = folder / f"{program}-wasmedge.wasm"
            yield Guest(program, "wasmedge", file, partial(build, program, True), tools=("npm",))


LANGUAGE = Language(
    "assemblyscript", {PACKAGE / "assembly" / "numbers.ts": numbers, TOOLS: tools_text}, tuple(_guests())
)
