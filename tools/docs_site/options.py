"""The page of the command's options, written from the parsers of the command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from docs_site.pages import title_of
from wasi_nn import cli

PAGE = "reference/options.md"
_MARK = "<!-- the options of all subcommands -->"


def filled(text: str) -> str:
    """The page with the options of all subcommands in the place of its mark."""
    assert _MARK in text
    return text.replace(_MARK, "\n".join(sections()).rstrip("\n"))


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each subcommand."""
    for action in cli.parser_of()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("the command has no subcommands")


def sections() -> Iterator[str]:
    """A section for each subcommand: what it does, how it is written, and a table for each group of its options."""
    for name, parser in parsers().items():
        yield f"## {name}\n\n{_escaped(parser.description or '')}\n"
        yield f"```text\n{' '.join(parser.format_usage().removeprefix('usage: ').split())}\n```\n"
        for group in parser._action_groups:
            rows = [_row(action, parser) for action in group._group_actions if action.help != argparse.SUPPRESS]
            if not rows:
                continue
            title = group.title or ""
            yield f"**{_escaped(title[:1].upper() + title[1:])}**\n"
            if group.description:
                yield f"{_escaped(' '.join(group.description.split()))}\n"
            yield "| | |\n|---|---|\n" + "".join(rows)
        if parser.epilog:
            yield from _paragraphs(parser.epilog)


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = "" if action.nargs == 0 else f"`{_value_of(action, parser)}`"
    text = _escaped(parser._get_formatter()._expand_help(action)) if action.help else ""
    return f"| {' '.join(filter(None, (names, value)))} | {text} |\n"


def _value_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The word for an option's value, as the help has it."""
    formatter = parser._get_formatter()
    if not action.option_strings:
        return formatter._metavar_formatter(action, action.dest)(1)[0]
    return formatter._format_args(action, formatter._get_default_metavar_for_optional(action)).replace("|", "\\|")


def _paragraphs(epilog: str) -> Iterator[str]:
    """The text behind the options; what is indented there are commands."""
    for paragraph in re.split(r"\n\s*\n", epilog.strip("\n")):
        lines = paragraph.splitlines()
        if all(line.startswith("  ") for line in lines):
            commands = "\n".join(line.removeprefix("  ") for line in lines)
            yield f"```sh\n{commands}\n```\n"
        else:
            yield f"{_escaped(paragraph)}\n"


def _escaped(text: str) -> str:
    """A text without marks of Markdown, but with links to the pages that it names."""
    text = re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)
    return re.sub(r"docs/([\w/-]+\.md)", lambda it: f"[{title_of(PurePosixPath(it[0]))}](../{it[1]})", text)
