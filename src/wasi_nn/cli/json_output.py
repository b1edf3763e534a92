"""`--json`: the output of a subcommand for programs. Its keys stay: docs/reference/command.md lists them."""

from __future__ import annotations

import argparse
import json


def add_option(
    parser: argparse.ArgumentParser, text: str = "print JSON, for programs (docs/reference/command.md has its keys)"
) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=text)


def print_json(content: object) -> None:
    """Print a value as JSON, on several lines."""
    print(json.dumps(content, indent=2))
