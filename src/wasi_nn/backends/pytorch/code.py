"""How deep the code of a TorchScript archive goes: torch reads it by recursion, and its stack ends at some depth."""

from __future__ import annotations

import re

# A string without an end is one up to the line's: else the line would be searched for it again and again.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\n *|[A-Za-z_]\w*|\d[\d.]*|\s|.""", re.DOTALL)
_OPERATORS = {"not", "and", "or", "if", "else", "in", "is", "lambda"}  # those that are written as words
_MAX_DEPTH = 500  # of expressions
_MAX_INDENT = 400  # spaces, of which torch writes two a level


def is_shallow(code: str) -> bool:
    """Whether no expression of the code, nor a block of it, is deeper than torch can read."""
    levels = [0]  # how many operators there are of each bracket that is open, since the last comma of it
    depth = 0  # their sum
    for match in _TOKEN.finditer(code):
        token = match[0]
        if token[0] == "\n":
            if len(token) > _MAX_INDENT:
                return False
            if len(levels) == 1:
                levels[0] = depth = 0
        elif token in ("(", "[", "{"):
            levels[-1] += 1
            levels.append(0)
            depth += 1
        elif token in (")", "]", "}"):
            if len(levels) > 1:
                depth -= levels.pop()
        elif token == ",":
            depth -= levels[-1]
            levels[-1] = 0
        elif token in _OPERATORS or not (token[0].isalnum() or token[0] in "_\"'#" or token.isspace()):
            levels[-1] += 1
            depth += 1
        if depth > _MAX_DEPTH:
            return False
    return True
