"""The parser of the command line: `argparse`, with errors of one line that say what to type instead."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from wasi_nn.errors import nearest, printable

_REQUIRED = "the following arguments are required: "
_NO_VALUE = re.compile(r"argument (--[\w-]+)(?:/\S+)?: expected one argument")
_USAGE_EXIT_CODE = 2
_ANY_WIDTH = 80
_FIRST_TITLE, _FURTHER_TITLE = "options that you may need first", "further options"


class Parser(argparse.ArgumentParser):
    """A parser whose options can't be abbreviated, and whose errors are one line each.

    `words_to` and `behind_to` may name lists of the namespace. The first one takes the words that no other argument
    takes, wherever they stand between options; the second one all arguments behind `--`, as they stand.

    `first_options` are options that the help shows before all others. `sections` has the titles of groups of
    subcommands, each with the subcommands' names.
    """

    words_to = behind_to = ""
    first_options: Sequence[str] = ()
    sections: Mapping[str, Sequence[str]] = {}

    def __init__(self, *arguments: Any, formatter_class: Any = argparse.HelpFormatter, **settings: Any) -> None:
        self._help_formatter = formatter_class
        # argparse makes a formatter for each option that is added, and without a width each asks for the terminal's.
        quick = partial(formatter_class, width=_ANY_WIDTH)
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": quick, **settings})

    def format_help(self) -> str:
        """The help, as wide as the terminal."""
        self.formatter_class = self._help_formatter
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        first = [self._option_string_actions[name] for name in self.first_options]
        positionals, *groups = self._action_groups
        _add_section(formatter, positionals.title, positionals.description, self._shown_positionals(positionals))
        for heading, names in self.sections.items():
            _add_section(formatter, heading, None, self._subcommands(names))
        _add_section(formatter, _FIRST_TITLE, None, first)
        for group in groups:
            title = _FURTHER_TITLE if first and group is self._optionals else group.title
            rest = [action for action in group._group_actions if action not in first]
            _add_section(formatter, title, group.description, rest)
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _shown_positionals(self, group: argparse._ArgumentGroup) -> list[argparse.Action]:
        """The positional arguments, without the one for a subcommand: `sections` show that."""
        return [action for action in group._group_actions if not (self.sections and action is self._subparsers_action)]

    @property
    def _subparsers_action(self) -> argparse._SubParsersAction[Any] | None:
        return next((action for action in self._actions if isinstance(action, argparse._SubParsersAction)), None)

    def _subcommands(self, names: Sequence[str]) -> list[argparse.Action]:
        """What the help says of these subcommands."""
        action = self._subparsers_action
        lines = {} if action is None else {line.dest: line for line in action._get_subactions()}
        return [lines[name] for name in names if name in lines]

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
        from wasi_nn.cli.colours import Colours

        name = Colours(sys.stderr).painted(f"{self.prog}:", "bold", "red")
        print(f"{name} {message} (help: {self.prog} --help)", file=sys.stderr)
        sys.exit(_USAGE_EXIT_CODE)

    def _why_missing(self, name: str) -> str:
        for action in self._actions:
            if action.metavar == name and not action.option_strings:
                words = ", ".join(action.choices) if action.choices else action.help
                return f"{name} is missing: {words}"
        return f"{name} is missing"


def _add_section(
    formatter: argparse.HelpFormatter, title: str | None, text: str | None, actions: Sequence[argparse.Action]
) -> None:
    """Add a section to the help; one without any actions isn't shown."""
    formatter.start_section(title)
    formatter.add_text(text if actions else None)
    formatter.add_arguments(actions)
    formatter.end_section()
