"""`wasi-nn completion`: prints a script with which a shell completes the command. The package shtab makes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.util import find_spec

from wasi_nn.cli import PROGRAM, UsageError
from wasi_nn.settings import how_to_install_extra

SHELLS = ("bash", "zsh", "fish")
_EPILOG = """\
The script needs neither shtab nor Python when it completes. For bash, and for
zsh with a folder of its own:

  mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc
  wasi-nn completion bash > ~/.local/share/bash-completion/completions/wasi-nn
  wasi-nn completion zsh > ~/.zfunc/_wasi-nn

In ~/.zshrc, zsh also needs: fpath+=~/.zfunc; autoload -Uz compinit; compinit
"""
_FILES = ("FILE", "KEY.pem", "LIST", "GUEST", "INPUT", "MODEL", "OTHER", "OUT")
_DIRECTORIES = ("DIR", "DIRECTORY", "HOST[::GUEST][:ro]", "ENCODING::DIR")


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `completion` to the command's parser."""
    parser = subcommands.add_parser(
        "completion",
        usage=f"{PROGRAM} completion SHELL",
        help="print a script that has a shell complete this command",
        description="Print a script with which a shell completes commands, options, their values and\n"
        "the names of files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    parser.set_defaults(main=main, module="wasi_nn.errors")


def main(options: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    if find_spec("shtab") is None:
        raise UsageError(f"shtab, which makes the script, isn't installed: {how_to_install_extra('completion')}")
    import shtab

    from wasi_nn.cli import parser_of

    parser = parser_of()
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
        elif action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)
