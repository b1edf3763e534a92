"""The SDK for C: numbers in `wnn_numbers.h`, and in the headers of the bare imports between marked lines; the examples,
built by Zig."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from sdk_languages import building, table
from sdk_languages.language import GUESTS, SDK, TASKS, Guest, Language
from sdk_languages.table import Word
from wasi_nn.abi import producers

INCLUDE = SDK / "c" / "include"


def _enum(words: Iterable[Word], prefix: str, number: Callable[[Word], int | None]) -> list[str]:
    """The lines of an enum, for those words that have a number."""
    numbered = sorted((value, word) for word in words if (value := number(word)) is not None)
    return [f"    {prefix}{word.styled()} = {value},{_comment(word)}" for value, word in numbered]


def _comment(word: Word) -> str:
    return f" /* {word.text} */" if word.text else ""


def _names(words: Iterable[Word], style: str) -> str:
    return ", ".join(f'"{word.styled(style) if style != "kebab" else word.name}"' for word in words)


def _by_core(word: Word) -> int | None:
    return word.core


def _bare(text: str) -> str:
    """wasi_nn.h: the core ABI's numbers."""
    numbered = {it.core: it for it in (table.success(), *table.errors()) if it.core is not None}
    errnos = [numbered[number] for number in sorted(numbered)]
    text = table.between(text, "errors", _enum(errnos, "WASI_NN_", _by_core))
    text = table.between(text, "types", _enum(table.tensor_types(), "WASI_NN_", _by_core))
    text = table.between(text, "encodings", _enum(table.encodings(), "WASI_NN_", _by_core))
    text = table.between(text, "targets", _enum(table.targets(), "WASI_NN_", _by_core))
    names = [f'        "{it.styled("snake")}",' for it in errnos]
    return table.between(text, "error-names", names)


def _wasmedge(text: str) -> str:
    """wasi_nn_wasmedge.h: the numbers that WasmEdge has beyond those."""

    def defined(words: Iterable[Word], kind: str) -> Iterator[str]:
        for word in words:
            if word.core is None and word.wasmedge is not None:
                yield f"#define WASI_NN_{word.styled()} (({kind}){word.wasmedge}) /* {word.text} */"

    text = table.between(text, "errors", defined(table.errors(), "wasi_nn_error"))
    return table.between(text, "encodings", defined(table.encodings(), "wasi_nn_encoding"))


_WIT_TYPES = {"f16": "FP16", "f32": "FP32", "f64": "FP64"}  # other names are the same in WIT


def _component(text: str) -> str:
    """wasi_nn_component.h: wasi:nn's numbers, which are the places of the words in WIT."""

    def enum(words: Iterable[Word]) -> Iterator[str]:
        ordered = sorted((it for it in words if it.wit is not None), key=lambda it: it.wit or 0)
        yield "enum {"
        for word in ordered:
            yield f"    NN_{_WIT_TYPES.get(word.name, word.styled())} = {word.wit},"
        yield "};"

    kinds = (table.encodings(), table.targets(), table.tensor_types(), table.errors())
    return table.between(text, "numbers", [line for words in kinds for line in enum(words)])


def _extensions(text: str) -> str:
    """wasi_nn_ext.h: the names of the encodings in descriptions."""
    words = [it for it in table.encodings() if it.name != "autodetect"]
    return table.between(text, "encoding-names", [f'        "{it.name}",' for it in words])


_HEAD = """\
/* wnn_numbers.h: the words of wasi-nn, with their numbers in both ABIs, for wnn.h. Written by tools/make_sdk.py.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_NUMBERS_H
#define WNN_NUMBERS_H

#include <stdint.h>
"""


def _words(kind: str, title: str, words: list[Word], *, begin: int, prefix: str, none: str = "") -> Iterator[str]:
    yield f"/** {title} */"
    yield f"typedef enum {kind} {{"
    if none:
        yield f"    {none}"
    for number, word in enumerate(words, begin):
        text = f" /**< {word.text}. */" if word.text else ""
        yield f"    {prefix}{word.styled()} = {number},{text}"
    yield f"}} {kind};"
    yield ""


def _numbers_of(kind: str, words: list[Word], of: Callable[[Word], int | None], *, begin: int) -> str:
    """An array with an ABI's number for each word, 255 where the ABI lacks it."""
    numbers = ["255" if (value := of(word)) is None else str(value) for word in words]
    return f"static const uint8_t wnn_{kind}[] = {{{', '.join(['0'] * begin + numbers)}}};"


def numbers(_: str) -> str:
    """wnn_numbers.h."""
    errors, types = table.errors(), table.tensor_types()
    encodings, targets = table.encodings(), table.targets()
    lines = [_HEAD]
    none = "WNN_SUCCESS = 0, /**< The call did what it was asked for. */"
    lines += _words("wnn_code", "Why a call failed.", errors, begin=1, prefix="WNN_", none=none)
    lines += _words("wnn_type", "The type of a tensor's elements.", types, begin=0, prefix="WNN_")
    lines += _words("wnn_encoding", "The format of a model.", encodings, begin=0, prefix="WNN_")
    lines += _words("wnn_target", "Where a graph should run.", targets, begin=0, prefix="WNN_")
    element, dimension = table.element_kinds(), table.dimension_kinds()
    lines += _words("wnn_element_kind", "What a described tensor has.", element, begin=0, prefix="WNN_ELEMENT_")
    lines += _words("wnn_dimension_kind", "What a described dimension is.", dimension, begin=0, prefix="WNN_DIMENSION_")
    lines += [
        "/* The size of an element in bytes, by wnn_type. */",
        f"static const uint8_t wnn_sizes[] = {{{', '.join(str(it.size) for it in types)}}};",
        "/* The numbers of the ABI, by the words above; 255 for a word that the ABI lacks. */",
        "#ifdef WNN_COMPONENT",
        _numbers_of("abi_types", types, lambda it: it.wit, begin=0),
        _numbers_of("abi_encodings", encodings, lambda it: it.wit, begin=0),
        _numbers_of("abi_codes", errors, lambda it: it.wit, begin=1),
        "#elif defined(WNN_WASMEDGE)",
        _numbers_of("abi_types", types, lambda it: it.wasmedge, begin=0),
        _numbers_of("abi_encodings", encodings, lambda it: it.wasmedge, begin=0),
        _numbers_of("abi_codes", errors, lambda it: it.wasmedge, begin=1),
        "#else",
        _numbers_of("abi_types", types, lambda it: it.core, begin=0),
        _numbers_of("abi_encodings", encodings, table.specification_encoding, begin=0),
        _numbers_of("abi_codes", errors, lambda it: it.core, begin=1),
        "#endif",
        "/* The words themselves, as WIT has them. */",
        "static const char *const wnn_code_names[] = {",
        f'    "success", {_names(errors, "kebab")}}};',
        "static const char *const wnn_code_texts[] = {",
        *(f'    "{it.text}",' for it in (table.success(), *errors)),
        "};",
        f"static const char *const wnn_type_names[] = {{{_names(types, 'kebab')}}};",
        f"static const char *const wnn_encoding_names[] = {{{_names(encodings, 'kebab')}}};",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


_MADE_BY = r"""/* wnn_made_by.h: what a guest tells of its making, for wnn.h. Written by tools/make_sdk.py.
 *
 * `wasi-nn inspect` shows it. It is in a custom section of its own, which linkers keep where they strip all others.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_MADE_BY_H
#define WNN_MADE_BY_H

#ifdef __cplusplus
#define WNN_LANGUAGE "C++"
#else
#define WNN_LANGUAGE "C"
#endif
#ifdef WNN_HPP
#define WNN_SDK "wasi-nn for C++ {version}"
#else
#define WNN_SDK "wasi-nn for C {version}"
#endif

#if defined(__wasm__) && defined(__clang__)
__asm__(".section .custom_section.{section},\"\",@\n"
        ".ascii \"sdk " WNN_SDK "\\n\"\n"
        ".ascii \"language " WNN_LANGUAGE "\\n\"\n"
        ".ascii \"processed-by clang " __clang_version__ "\\n\"\n"
        ".text\n");
#endif

#endif
"""


def made_by(_: str) -> str:
    """wnn_made_by.h."""
    return _MADE_BY.format(section=producers.SECTION, version=table.SDK_VERSION)


FLAGS = ("--target=wasm32-wasi", "-O2", "-s", "-Wall", "-Wextra", "-Werror", "-I", str(INCLUDE.relative_to(SDK)))
OF_ABI = {"core": (), "wasmedge": ("-DWNN_WASMEDGE",), "component": ("-DWNN_COMPONENT",)}
"""The macros that choose an ABI."""


COMPILER = ("cc", "-std=c11")


def build(source: Path, abi: str, built: Path, compiler: tuple[str, ...] = COMPILER) -> None:
    """Build a program for an ABI. The first build of all takes half a minute."""
    module = built.absolute() if abi != "component" else built.absolute().with_suffix(".module.wasm")
    command = (*compiler, *FLAGS, *OF_ABI[abi], os.path.relpath(source, SDK), "-o", str(module))
    try:
        building.zig(*command, cwd=SDK)
        if abi == "component":
            building.embed_wit(module)
            building.componentize(module, built)
    finally:
        if abi == "component":
            module.unlink(missing_ok=True)


def guests_of(
    folder: Path, suffix: str, compiler: tuple[str, ...], programs: Iterable[str] = GUESTS
) -> Iterator[Guest]:
    """The examples in a folder, for the ABIs that show something of their own."""
    for program in programs:
        for abi in ("core", "wasmedge", "component"):
            if abi == "core" if program == "extensions" else abi == "wasmedge" and program != "tour":
                continue
            name = program if abi == "core" else f"{program}-{abi}"
            make = partial(build, folder / f"{program}{suffix}", abi, compiler=compiler)
            tools = ("npm",) if abi == "component" else ()
            yield Guest(program, abi, folder / f"{name}.wasm", make, tools=tools)


LANGUAGE = Language(
    "c",
    {
        INCLUDE / "wasi_nn.h": _bare,
        INCLUDE / "wasi_nn_wasmedge.h": _wasmedge,
        INCLUDE / "wasi_nn_component.h": _component,
        INCLUDE / "wasi_nn_ext.h": _extensions,
        INCLUDE / "wnn_numbers.h": numbers,
        INCLUDE / "wnn_made_by.h": made_by,
    },
    tuple(guests_of(SDK / "c" / "examples", ".c", COMPILER, (*GUESTS, *TASKS))),
)
