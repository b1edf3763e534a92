"""Grammars and JSON schemas, which a generated text follows: their bounds, and who may give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.backends.ggml.unknown_options import UnknownOptions
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set, how_to_set_option

_MAX_GRAMMAR = 1 << 16  # characters
_MAX_NESTING = 100  # llama.cpp parses grammars by recursion: 200,000 open parentheses crash the process

# The numbers in a JSON schema for which llama.cpp needs memory in proportion.
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_MAX_COUNT = 1000


@dataclass(frozen=True)
class GuestPolicy:
    """What guests may ask of a graph. That depends on the operator's options, and on whether the graph is isolated."""

    operator_options: Mapping[str, Any]
    in_worker: bool
    unknown_options: UnknownOptions = field(default_factory=UnknownOptions, compare=False)

    def require_grammar_allowed(self, options: Mapping[str, Any], *, has_deadlines: bool) -> None:
        """Raise `NNError` with `security` for a guest's grammar that isn't allowed.

        A grammar can occupy llama.cpp without end. So it needs the operator's permission, unless the host ends the
        process at a deadline of the compute.
        """
        is_harmless = self.in_worker and has_deadlines
        if not options.get("grammar") or self.operator_options.get("allow-grammar", is_harmless):
            return
        allow = f"allow grammars ({how_to_set_option('allow-grammar', True)})"
        isolate = f"isolate the graph ({how_to_set('LoadRules(isolate=True)', '--isolate')})"
        limit = f"limit the time of a guest's computes ({how_to_set('Limits.compute_time', '--max-compute-time')})"
        if has_deadlines:
            cure = f"{isolate}, or {allow}" if not self.in_worker else allow
        else:
            cure = f"{limit}, or {allow}" if self.in_worker else f"{allow}, or {isolate} and {limit}"
        message = "this graph takes no grammar from guests, since one can occupy llama.cpp without end"
        raise NNError(ErrorCode.SECURITY, f"{message}: {cure}")


def check_grammar(grammar: str) -> None:
    """Raise `NNError` for a grammar that llama.cpp can't read without harm."""
    if len(grammar) > _MAX_GRAMMAR:
        raise NNError(
            ErrorCode.TOO_LARGE, f"the grammar has {len(grammar)} characters: at most {_MAX_GRAMMAR} are allowed"
        )
    if grammar.lstrip().startswith("%llguidance"):
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "the grammar is in llguidance's own language: write it in GBNF")
    depth = deepest = 0
    for character in grammar:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
        if not (character.isprintable() or character in "\t\r\n"):
            # llama.cpp's parser prints a character that it can't read to the terminal.
            message = f"the grammar has the character {character!r}, which isn't printable: write an escape for it"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if deepest > _MAX_NESTING:
        message = f"the grammar has {deepest} nested parentheses: at most {_MAX_NESTING} are allowed"
        raise NNError(ErrorCode.TOO_LARGE, message)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise `NNError` with `too-large` for a JSON schema for which llama.cpp needs too much memory."""
    todo: list[Any] = [schema]
    while todo:
        part = todo.pop()
        for name, value in part.items() if isinstance(part, dict) else enumerate(part):
            if name in _COUNTS and type(value) in (int, float) and value > _MAX_COUNT:
                raise NNError(
                    ErrorCode.TOO_LARGE, f"{name} of the JSON schema is {value}: at most {_MAX_COUNT} is allowed"
                )
            if isinstance(value, dict | list):
                todo.append(value)
