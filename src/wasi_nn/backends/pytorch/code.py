"""Bounds the depth of TorchScript code, which torch parses by recursion: deeper code would overflow its stack."""

from __future__ import annotations

import re

# A string without an end goes to the end of its line: else each such quote would search the rest of the line again.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\n *|[A-Za-z_]\w*|\d[\d.]*|\s|.""", re.DOTALL)
_OPERATORS = {"not", "and", "or", "if", "else", "in", "is", "lambda"}  # the operators that are words
_MAX_DEPTH = 500  # operators and brackets around one part of an expression
_MAX_INDENT = 400  # spaces; torch writes two for each level


def is_shallow(code: str) -> bool:
    """Whether torch can parse the code: no expression and no block in it is nested too deep."""
    levels = [0]  # for each open bracket, and for the line: the number of operators since the last comma
    depth = 0  # the sum of the levels
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
