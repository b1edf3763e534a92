"""The SDK for Rust: numbers in `numbers.rs`, and the examples, built by any `rustc` that has a target for WASI."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sdk_languages import building, table
from sdk_languages.language import GUESTS, SDK, TASKS, Guest, Language
from sdk_languages.table import Word
from wasi_nn.abi import producers

CRATE = SDK / "rust"
COMPONENT_TYPE = CRATE / "src" / "component-type.bin"
_TARGETS = ("wasm32-wasi", "wasm32-wasip1")  # up to Rust 1.83, and since 1.78
_OLD_START = "wasm32-wasi"  # its start-up code lets the linker wrap every export

_HEAD = """\
//! The words of wasi-nn, with their numbers in both ABIs. Written by tools/make_sdk.py.

"""


def _enum(name: str, title: str, words: list[Word], kind: str = "upper") -> Iterator[str]:
    yield f"/// {title}"
    yield "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]"
    yield f"pub enum {name} {{"
    for word in words:
        text = word.text or word.name
        yield f"    /// {text[0].upper()}{text[1:]}."
        yield f"    {word.styled('pascal')},"
    yield "}"
    yield ""
    yield f"impl {name} {{"
    yield "    /// All of them."
    yield f"    pub const ALL: [{name}; {len(words)}] = ["
    yield from (f"        {name}::{word.styled('pascal')}," for word in words)
    yield "    ];"
    yield ""
    yield "    /// The word, as WIT has it."
    yield from _match("name", "&'static str", name, words, lambda it: f'"{it.name}"')
    yield ""
    yield "    /// The one with this name, if there is one."
    yield f"    pub fn from_name(name: &str) -> Option<{name}> {{"
    yield f"        {name}::ALL.iter().copied().find(|it| it.name() == name)"
    yield "    }"


def _match(
    function: str, result: str, name: str, words: list[Word], value: Callable[[Word], str], visible: str = "pub"
) -> Iterator[str]:
    yield f"    {visible} fn {function}(self) -> {result} {{"
    yield "        match self {"
    yield from (f"            {name}::{word.styled('pascal')} => {value(word)}," for word in words)
    yield "        }"
    yield "    }"


def _number(name: str, words: list[Word], abi: str, of: Callable[[Word], int | None]) -> Iterator[str]:
    """A function that gives the ABI's number."""

    def value(word: Word) -> str:
        number = of(word)
        return "None" if number is None else f"Some({number})"

    yield ""
    yield "    #[allow(dead_code)]"
    yield from _match(abi, "Option<u8>", name, words, value, "pub(crate)")


def _from_number(name: str, words: list[Word], abi: str, of: Callable[[Word], int | None]) -> Iterator[str]:
    """A function that gives the word of an ABI's number."""
    yield ""
    yield "    #[allow(dead_code)]"
    yield f"    pub(crate) fn from_{abi}(number: u32) -> Option<{name}> {{"
    yield "        match number {"
    for word in words:
        if (number := of(word)) is not None:
            yield f"            {number} => Some({name}::{word.styled('pascal')}),"
    yield "            _ => None,"
    yield "        }"
    yield "    }"


def numbers(_: str) -> str:
    """numbers.rs."""
    abis: dict[str, Callable[[Word], int | None]] = {
        "core": lambda it: it.core,
        "wasmedge": lambda it: it.wasmedge,
        "wit": lambda it: it.wit,
    }
    errors = table.errors()
    lines = [_HEAD.rstrip("\n"), ""]
    lines += _enum("Code", "Why a call failed.", errors)
    lines += ["", "    /// The meaning, in words."]
    lines += _match("text", "&'static str", "Code", errors, lambda it: f'"{it.text}"')
    for abi, of in abis.items():
        lines += _from_number("Code", errors, abi, of)
    lines += ["}", ""]
    types = table.tensor_types()
    lines += _enum("Type", "The type of a tensor's elements.", types)
    lines += ["", "    /// The size of an element in bytes."]
    lines += _match("size", "usize", "Type", types, lambda it: str(it.size))
    for abi, of in abis.items():
        lines += _number("Type", types, abi, of)
        lines += _from_number("Type", types, abi, of)
    lines += ["}", ""]
    encodings = table.encodings()
    lines += _enum("Encoding", "The format of a model.", encodings)
    for abi, of in (abis | {"core": table.specification_encoding}).items():
        lines += _number("Encoding", encodings, abi, of)
    lines += _from_number("Encoding", encodings, "wit", abis["wit"])
    lines += ["}", ""]
    targets = table.targets()
    lines += _enum("Target", "Where a graph should run.", targets)
    for abi, of in abis.items():
        lines += _number("Target", targets, abi, of)
    lines += ["}", ""]
    for what, words in (("ELEMENT", table.element_kinds()), ("DIMENSION", table.dimension_kinds())):
        for word in words:
            lines += ["#[allow(dead_code)]", f"pub(crate) const {what}_{word.styled()}: u8 = {word.wit};"]
    return "\n".join(lines) + "\n"


_MADE_BY = """\
//! What a guest tells of its making. Written by tools/make_sdk.py.
//!
//! `wasi-nn inspect` shows it. It is in a custom section of its own, which linkers keep where they strip all others.

#[cfg(target_arch = "wasm32")]
#[link_section = "{section}"]
#[used]
static MADE_BY: [u8; {size}] = *b"{text}";

/// Keeps the section in a program that calls this.
pub(crate) fn link() {{
    // Sound: it reads a byte of a static.
    #[cfg(target_arch = "wasm32")]
    unsafe {{
        core::ptr::read_volatile(&MADE_BY[0]);
    }}
}}
"""


def made_by(_: str) -> str:
    """made_by.rs."""
    text = f"sdk wasi-nn for Rust {table.SDK_VERSION}\nlanguage Rust\n"
    return _MADE_BY.format(section=producers.SECTION, size=len(text), text=text.replace("\n", "\\n"))


def toolchain() -> tuple[str, str] | None:
    """A `rustc` that has the standard library for WASI, and the name of that target: of those on the path, and of
    Debian's (packages `rustc` and `libstd-rust-dev-wasm32`). None if there is none."""
    for rustc in dict.fromkeys(found for found in ("/usr/bin/rustc", shutil.which("rustc")) if found):
        if not Path(rustc).exists():
            continue
        asked = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=True)
        for target in _TARGETS:
            if Path(asked.stdout.strip(), "lib", "rustlib", target, "lib").is_dir():
                return rustc, target
    return None


def build_module(source: str, features: str, built: Path) -> None:
    """Build a program, whose path is absolute or in the crate, as a core module. Exits if no `rustc` can."""
    found = toolchain()
    if found is None:
        raise SystemExit("no rustc has a target for WASI: apt install rustc libstd-rust-dev-wasm32 lld-14")
    rustc, target = found
    folder = building.BUILD / "rust"
    folder.mkdir(parents=True, exist_ok=True)
    flags = [rustc, "--edition", "2021", "--target", target, "-C", "opt-level=s", "-C", "panic=abort", "-C", "lto"]
    flags += ["-C", "codegen-units=1", "-C", "strip=symbols", "--remap-path-prefix", f"{CRATE}=."]
    flags += [it for name in ("std", *features.split()) for it in ("--cfg", f'feature="{name}"')]
    library = folder / f"libwasi_nn_guest-{'-'.join(['core', *features.split()])}.rlib"
    crate = ["--crate-name", "wasi_nn_guest", "--crate-type", "rlib", "src/lib.rs", "-C", "embed-bitcode=yes"]
    environment = {key: it for key, it in os.environ.items() if not key.startswith(("RUST", "CARGO"))}
    subprocess.run([*flags, *crate, "-o", str(library)], cwd=CRATE, env=environment, check=True)
    example = [source, "--extern", f"wasi_nn_guest={library}", "-o", str(built.absolute())]
    subprocess.run([*flags, *example], cwd=CRATE, env=environment, check=True)


def build_component(source: str, built: Path) -> None:
    """Build a program, as `build_module` does, as a component."""
    found = toolchain()
    old = found is not None and found[1] == _OLD_START
    module = built.with_suffix(".module.wasm")
    try:
        build_module(source, "component old-start" if old else "component", module)
        building.componentize(module, built)
    finally:
        module.unlink(missing_ok=True)


def write_component_type() -> None:
    """Write the WIT of the crate's imports as the custom section that the crate puts into a module."""
    COMPONENT_TYPE.write_bytes(building.component_type())


def _guests() -> Iterator[Guest]:
    for program in (*GUESTS, *TASKS):
        folder, source = CRATE / "examples", f"examples/{program}.rs"
        if program != "extensions":
            yield Guest(program, "core", folder / f"{program}.wasm", partial(build_module, source, ""))
        if program in ("tour", "extensions"):
            build = partial(build_module, source, "wasmedge")
            yield Guest(program, "wasmedge", folder / f"{program}-wasmedge.wasm", build)
        file = folder / f"{program}-component.wasm"
        yield Guest(program, "component", file, partial(build_component, source), tools=("npm",))


LANGUAGE = Language(
    "rust", {CRATE / "src" / "numbers.rs": numbers, CRATE / "src" / "made_by.rs": made_by}, tuple(_guests())
)
