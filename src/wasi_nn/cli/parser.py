"""The parser of the command line: `argparse`, with errors of one line that say what to type instead."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from wasi_nn.errors import nearest, printable

_REQUIRED = "the following arguments are required: "
_NO_VALUE = re.compile(r"argument (--[\w-]+)(?:/\S+)?: expected one argument")
_USAGE_EXIT_CODE = 2
_ANY_WIDTH = 80


class Parser(argparse.ArgumentParser):
    """A parser whose options can't be abbreviated, and whose errors are one line each.

    `words_to` and `behind_to` may name lists of the namespace. The first one takes the words that no other argument
    takes, wherever they stand between options; the second one all arguments behind `--`, as they stand.
    """

    words_to = behind_to = ""

    def __init__(self, *arguments: Any, formatter_class: Any = argparse.HelpFormatter, **settings: Any) -> None:
        self._help_formatter = formatter_class
        # argparse makes a formatter for each option that is added, and without a width each asks for the terminal's.
        quick = partial(formatter_class, width=_ANY_WIDTH)
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": quick, **settings})

    def format_help(self) -> str:
        """The help, as wide as the terminal."""
        self.formatter_class = self._help_formatter
        return super().format_help()

    def parse_known_args(  # type: ignore[override]  # its overloads are for other namespaces
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse the arguments. An unknown one is an error here, with the subcommand's name and options."""
        arguments = list(sys.argv[1:] if args is None else args)
        first, behind = arguments[:1], None
        if first and first[0].startswith("-") and first[0] != "--" and not self._knows(first[0]):
            self.error(self._why_unknown(first[0]))  # else argparse reports a missing argument first
        if self.behind_to and "--" in arguments:
            place = arguments.index("--")
            arguments, behind = arguments[:place], arguments[place + 1 :]
        parsed, rest = super().parse_known_args(arguments, namespace)
        if self.behind_to:
            setattr(parsed, self.behind_to, behind or [])
        if self.words_to and not any(word.startswith("-") and word != "-" for word in rest):
            getattr(parsed, self.words_to).extend(rest)
            rest = []
        if rest:
            others = "; the guest's own options come after --" if self.behind_to and behind is None else ""
            self.error(self._why_unknown(rest[0]) + others)
        return parsed, rest

    def _knows(self, argument: str) -> bool:
        return argument.partition("=")[0] in self._option_string_actions

    def _why_unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"{printable(argument)!r} is one argument too many"
        option = argument.partition("=")[0]
        known = [name.lstrip("-") for name in self._option_string_actions if name.startswith("--")]
        meant = nearest(option.lstrip("-"), known).replace("did you mean ", "did you mean --")
        return f"no option {printable(option)}{meant}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            words = list(map(str, action.choices))
            message = f"{printable(str(value))!r} isn't one of {', '.join(words)}{nearest(str(value), words)}"
            raise argparse.ArgumentError(action, message)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is, and exit with 2."""
        if message.startswith(_REQUIRED):
            message = self._why_missing(message.removeprefix(_REQUIRED).split(", ")[0])
        elif no_value := _NO_VALUE.match(message):
            message = f"{no_value[1]} needs a value: {self._option_string_actions[no_value[1]].metavar}"
        print(f"{self.prog}: {message} (help: {self.prog} --help)", file=sys.stderr)
        sys.exit(_USAGE_EXIT_CODE)

    def _why_missing(self, name: str) -> str:
        for action in self._actions:
            if action.metavar == name and not action.option_strings:
                words = ", ".join(action.choices) if action.choices else action.help
                return f"{name} is missing: {words}"
        return f"{name} is missing"
