"""Reads requests in OpenAI's form. Nothing in them is trusted: every error says in one line what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.arguments import shown
from wasi_nn.errors import nearest, printable
from wasi_nn.serving.computing.long_calls import read_json_text
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.openai.errors import WrongParameter, unsupported, wrong
from wasi_nn.serving.settings import ServingLimits, how_to_raise

_MOST_STOPS, _LONGEST_STOP = 4, 256  # characters
_MOST_TOKENS = 2**31 - 1
_SEEDS = 2**32 - 1  # the seeds of llama.cpp but for the one that means another one each time

IGNORED = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
    }
)
"""Parameters that have no effect here, and would change nothing in a text."""


def read_object(body: bytes, limits: ServingLimits, *, in_pieces: bool = False) -> dict[str, Any]:
    """The object of JSON in a body, as `read_json_text` gives it, without the keys that are null. Raises
    `ServingError`."""
    if len(body) > limits.json_bytes:
        message = f"{len(body)} bytes of JSON; at most {limits.json_bytes} are allowed ({how_to_raise('json_bytes')})"
        raise ServingError(Reason.TOO_LARGE, message)
    try:
        content = read_json_text(body.decode(), in_pieces=in_pieces)
    except RecursionError:
        raise ServingError(Reason.INVALID, "the JSON is nested too deeply") from None
    except ValueError as error:  # also for bytes that aren't UTF-8, and numbers of thousands of digits
        raise ServingError(Reason.INVALID, printable(f"the request isn't JSON: {error}")) from None
    if not isinstance(content, dict):
        raise ServingError(Reason.INVALID, f"the request is an object of JSON, not {shown(content)}")
    return {key: value for key, value in content.items() if value is not None}


def as_text(parameter: str, value: object, wanted: str = "a text") -> str:
    """A text that has a form in UTF-8."""
    if not isinstance(value, str):
        raise wrong(parameter, wanted, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongParameter(parameter, f"{parameter!r} has half a character, which isn't UTF-8") from None
    return value


def model_of(content: Mapping[str, Any]) -> str:
    """The name of the model."""
    if "model" not in content:
        raise WrongParameter("model", "the request has no 'model'")
    return as_text("model", content["model"], "the name of a model")


def flag(content: Mapping[str, Any], parameter: str) -> bool:
    """A parameter that is true or false; false if it isn't there."""
    value = content.get(parameter, False)
    if not isinstance(value, bool):
        raise wrong(parameter, "true or false", value)
    return value


def _number(least: float, most: float) -> Callable[[str, Any], float]:
    def read(parameter: str, value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most or not math.isfinite(value):
            raise wrong(parameter, f"a number from {least:g} to {most:g}", value)
        number: float = value
        return number

    return read


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def read(parameter: str, value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise wrong(parameter, f"a whole number from {least} to {most}", value)
        return value

    return read


def _seed(parameter: str, value: Any) -> int:
    return _whole(-(2**63), 2**63 - 1)(parameter, value) % _SEEDS


_OPTIONS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "max_tokens": ("n-predict", _whole(1, _MOST_TOKENS)),
    "max_completion_tokens": ("n-predict", _whole(1, _MOST_TOKENS)),
    "temperature": ("temp", _number(0, 2)),
    "top_p": ("top-p", _number(0, 1)),
    "top_k": ("top-k", _whole(-1, _MOST_TOKENS)),
    "min_p": ("min-p", _number(0, 1)),
    "seed": ("seed", _seed),
    "presence_penalty": ("presence-penalty", _number(-2, 2)),
    "frequency_penalty": ("frequency-penalty", _number(-2, 2)),
}
"""The parameters that become options of a graph."""

_LACKING: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "one text a request: 'n' can only be 1"),
    "best_of": ((1,), "one text a request: 'best_of' can only be 1"),
    "logprobs": ((False,), "this server gives no probabilities of tokens"),
    "top_logprobs": ((0,), "this server gives no probabilities of tokens"),
    "logit_bias": (({},), "this server takes no 'logit_bias'"),
    "echo": ((False,), "this server doesn't repeat the prompt"),
    "suffix": (("",), "this server writes no text before a suffix"),
    "tools": (([],), "this server has no calls of tools"),
    "tool_choice": (("none", "auto"), "this server has no calls of tools"),
    "functions": (([],), "this server has no calls of functions"),
    "function_call": (("none", "auto"), "this server has no calls of functions"),
    "response_format": (({"type": "text"},), "this server writes text: 'response_format' can only be that"),
    "modalities": ((["text"],), "this server writes text only"),
}
"""Parameters with those of their values that ask for nothing special, and the error for the others."""


@dataclass(frozen=True)
class TextParameters:
    """How a text is written and sent. `options` are those of the graph."""

    options: dict[str, Any]
    stops: list[str]
    is_stream: bool
    has_usage: bool
    """Whether the stream ends with the numbers of tokens."""


@dataclass(frozen=True)
class Known:
    """The parameters of a call: those of its own, and those that only its other form has."""

    own: frozenset[str]
    foreign: frozenset[str] = field(default_factory=frozenset)


COMPLETION = Known(
    frozenset({"prompt"}),
    frozenset({"max_completion_tokens", "tools", "tool_choice", "functions", "function_call", "response_format"}),
)
CHAT = Known(frozenset({"messages"}), frozenset({"best_of", "echo", "suffix"}))
_COMMON = frozenset({"model", "stop", "stream", "stream_options"})


def read_text_parameters(content: Mapping[str, Any], known: Known) -> TextParameters:
    """The parameters of a request for a text. Raises `WrongParameter`, also for what the call doesn't know."""
    names = (_COMMON | IGNORED | _OPTIONS.keys() | _LACKING.keys() | known.own) - known.foreign
    options: dict[str, Any] = {}
    for name, value in content.items():
        if name not in names:
            near = nearest(name, names) if len(name) < 200 else ""
            raise unsupported(name[:200], f"this call has no parameter {shown(name)}{near}")
        if name in _OPTIONS:
            option, read = _OPTIONS[name]
            number = read(name, value)
            if options.setdefault(option, number) != number:
                raise WrongParameter(name, "'max_tokens' and 'max_completion_tokens' differ: give one of them")
        elif name in _LACKING and not any(_same(value, fine) for fine in _LACKING[name][0]):
            raise unsupported(name, _LACKING[name][1])
    is_stream = flag(content, "stream")
    has_usage = _has_usage(content)
    if has_usage is not None and not is_stream:
        raise WrongParameter("stream_options", "'stream_options' is for streams: 'stream' isn't true")
    return TextParameters(options, _stops(content.get("stop", [])), is_stream, bool(has_usage))


def _same(value: Any, fine: Any) -> bool:
    return type(value) is type(fine) and bool(value == fine)  # else true would be 1


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
        raise wrong("stop", f"a text or a list of at most {_MOST_STOPS}", value)
    for stop in stops:
        if not 1 <= len(as_text("stop", stop, "a text or a list of texts")) <= _LONGEST_STOP:
            raise wrong("stop", f"texts of 1 to {_LONGEST_STOP} characters", stop)
    return stops


def _has_usage(content: Mapping[str, Any]) -> bool | None:
    value = content.get("stream_options")
    if value is None:
        return None
    if not isinstance(value, dict) or not value.keys() <= {"include_usage", "include_obfuscation"}:
        raise wrong("stream_options", 'an object such as {"include_usage": true}', value)
    return flag(value, "include_usage")
