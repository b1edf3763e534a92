"""The SDK for C++: words in `wnn_words.hpp`, on top of the SDK for C; the examples, built by Zig."""

from __future__ import annotations

from collections.abc import Iterator

from sdk_languages import c, table
from sdk_languages.language import SDK, Language
from sdk_languages.table import Word

FOLDER = SDK / "cpp"

_HEAD = """\
/* wnn_words.hpp: the words of wasi-nn as enumerations of C++. Written by tools/make_sdk.py.
 *
 * Copyright the wasi-nn authors. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WNN_WORDS_HPP
#define WNN_WORDS_HPP

#include <wnn_numbers.h>

namespace wnn {
"""


def _enum(name: str, title: str, words: list[Word]) -> Iterator[str]:
    yield f"/** {title} */"
    yield f"enum class {name} {{"
    for word in words:
        text = f" /**< {word.text}. */" if word.text else ""
        yield f"    {word.styled('snake')} = WNN_{word.styled()},{text}"
    yield "};"
    yield ""


def words(_: str) -> str:
    """wnn_words.hpp."""
    lines = [_HEAD]
    lines += _enum("Code", "Why a call failed.", table.errors())
    lines += _enum("Type", "The type of a tensor's elements.", table.tensor_types())
    lines += _enum("Encoding", "The format of a model.", table.encodings())
    lines += _enum("Target", "Where a graph should run.", table.targets())
    return "\n".join([*lines, "} // namespace wnn", "", "#endif"]) + "\n"


COMPILER = ("c++", "-std=c++20", "-fno-exceptions", "-fno-rtti", "-I", "cpp/include")

LANGUAGE = Language(
    "cpp",
    {FOLDER / "include" / "wnn_words.hpp": words},
    tuple(c.guests_of(FOLDER / "examples", ".cpp", COMPILER)),
)
