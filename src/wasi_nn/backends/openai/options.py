"""The options of a language model on another server: those of guests, which are ggml's, as parameters of OpenAI's API.

Options that say how a model is loaded have no effect: the server has loaded it. An option that would change the text,
and for which the API has no parameter, is refused, unless the operator lists it in the option `ignore`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wasi_nn.backends.ggml.grammars import GuestPolicy
from wasi_nn.backends.ggml.options import COMPLETING, DEFAULT_SEED, EMBEDDING, RANDOM_SEED, from_guest, parse_object
from wasi_nn.backends.options import Check, is_flag, is_names, taking
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import how_to_set_option

MESSAGES = "messages"
"""The option of a guest that has a conversation in place of the prompt."""

_MOST_TOKENS = 1024
_LONGEST_TEXT = 1 << 24
_MOST_MESSAGES = 4096

_PARAMETERS = {
    "temp": "temperature",
    "top-p": "top_p",
    "top-k": "top_k",
    "min-p": "min_p",
    "presence-penalty": "presence_penalty",
    "frequency-penalty": "frequency_penalty",
    "seed": "seed",
}
"""The parameter for each option of a guest."""

_OWN = ("model", "prompt", MESSAGES, "stream", "stream_options", "max_tokens", "n", "stop", "echo", "logprobs")
"""Parameters that an operator can't set: they decide the form of the answer."""

_READ_BY_RUNNER = ("n-predict", "reverse-prompt")
_OF_EMBEDDINGS = ("embedding", "batch")
_EUCLIDEAN = 2  # the norm of embeddings that servers give
_REFUSABLE = (COMPLETING.keys() | EMBEDDING.keys() | {"embedding", "reranking"}) - _PARAMETERS.keys()
_GUEST = GuestPolicy({"allow-grammar": True}, in_worker=False)  # a grammar is refused here, for another reason


def _whole(least: int, most: int) -> Check:
    return taking(f"a whole number from {least} to {most}")(lambda value: type(value) is int and least <= value <= most)


@taking("a table of the API's parameters, such as { temperature = 0.5 }, without those of the form of an answer")
def _is_extra(value: Any) -> bool:
    if not isinstance(value, Mapping) or any(name in _OWN for name in value):
        return False
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


OPERATORS: dict[str, Check] = {
    "chat": is_flag,
    "embedding": is_flag,
    "max-predict": _whole(1, _LONGEST_TEXT),
    "n-parallel": _whole(1, 4096),
    "ignore": is_names,
    "extra": _is_extra,
}
"""The operator's options beside those of all models on other servers."""


def guest_options(data: memoryview | bytes, operators: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a guest's JSON, for a graph with these options of the operator. Raises `NNError` as
    `ggml.options.from_guest` does, and `unsupported-operation` for one that the API lacks."""
    options = from_guest(data, _GUEST)
    allowed = {*_READ_BY_RUNNER, *operators.get("ignore", ()), *(_OF_EMBEDDINGS if operators.get("embedding") else ())}
    for name, value in options.items():
        is_usual = value in (False, "", b"") or (name == "embd-normalize" and value == _EUCLIDEAN)
        if name in _REFUSABLE and name not in allowed and not is_usual:
            how = how_to_set_option("ignore", [name])
            message = f"option {name!r} has no effect on a model behind OpenAI's API: leave it out ({how})"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    values = parse_object(data) if data and b'"messages"' in bytes(data) else {}
    if MESSAGES in values:
        options[MESSAGES] = _messages(values[MESSAGES])
    return options


def _messages(value: Any) -> list[Any]:
    fits = (
        isinstance(value, list) and 0 < len(value) <= _MOST_MESSAGES and all(isinstance(each, dict) for each in value)
    )
    if not fits:
        message = f"option 'messages' takes a list of 1 to {_MOST_MESSAGES} objects, each with a role and a content"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return list(value)


def most_tokens(operators: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """The most tokens of a text: what the guest wants, within what the operator allows."""
    most: int = operators.get("max-predict", _MOST_TOKENS)
    wanted: int = options.get("n-predict", -1)
    return most if wanted < 0 else min(wanted, most)


def parameters(operators: Mapping[str, Any], options: Mapping[str, Any], *, with_stop: bool) -> dict[str, Any]:
    """The parameters of a request, without the model and the prompt. The seed is ggml's own unless the guest gives one,
    so that a text comes again where the server can do that."""
    fields = {_PARAMETERS[name]: value for name, value in options.items() if name in _PARAMETERS}
    if fields.setdefault("seed", DEFAULT_SEED) in (-1, RANDOM_SEED):
        del fields["seed"]
    if with_stop and options.get("reverse-prompt"):
        fields["stop"] = [options["reverse-prompt"]]
    return {**operators.get("extra", {}), **fields, "max_tokens": most_tokens(operators, options)}
