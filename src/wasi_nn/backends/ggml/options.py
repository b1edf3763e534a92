"""The options of GGML graphs: their names and values, and their meaning to llama.cpp.

The names are WasmEdge's. A guest gives options in JSON (beside the model, or on input 1), the operator as a mapping. Of
all of WasmEdge's options, those in `LOADING` and `COMPLETING` take effect, those in `FILES` are refused, and those in
`_NO_EFFECT` are ignored. Unknown names are an error in the operator's options, where they may be typos; in a guest's,
they are ignored, as in WasmEdge, and told to the log.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wasi_nn.arguments import as_json
from wasi_nn.backends.ggml.grammars import GuestPolicy, check_grammar, check_schema
from wasi_nn.backends.ggml.image_option import IMAGE, check_given, refuse_path, without_image
from wasi_nn.backends.options import check_options, taking
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.types import GraphEncoding

MAX_OPTIONS = 1 << 20
"""The most bytes of JSON that a guest may give."""

DEFAULT_SEED = 0
RANDOM_SEED = 0xFFFFFFFF  # as in llama.cpp

_MAX_CONTEXT = 1 << 24
_MAX_SLOTS = 64
_MAX_ADAPTERS = 16
BATCH = (32, 8192)
"""The range of a batch, in tokens: outside of it, llama.cpp ends the process."""
POOLING = ("mean", "cls", "last")
FLASH_ATTENTION = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Accepts:
    """The values that an option may have: `fits` checks one, `what` describes them in errors."""

    what: str
    fits: Callable[[Any], bool]


def _whole(least: int, most: int) -> Accepts:
    return Accepts(
        f"a whole number from {least} to {most}", lambda value: type(value) is int and least <= value <= most
    )


def _number(least: float, most: float) -> Accepts:
    return Accepts(
        f"a number from {least:g} to {most:g}",
        lambda value: type(value) in (int, float) and math.isfinite(value) and least <= value <= most,
    )


_FLAG = Accepts("true or false", lambda value: isinstance(value, bool))
_TEXT = Accepts("text", lambda value: isinstance(value, str))
_ON_OFF = Accepts("'on', 'off' or 'auto'", lambda value: isinstance(value, str) and value in FLASH_ATTENTION)
_POOLING = Accepts("'mean', 'cls' or 'last'", lambda value: isinstance(value, str) and value in POOLING)
_SCHEMA = Accepts("a JSON schema, as an object or as text", lambda value: isinstance(value, str | dict))
_ANYTHING = Accepts("anything", lambda value: True)


def _are_adapters(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_ADAPTERS and all(map(_is_adapter, value))


def _is_adapter(value: Any) -> bool:
    if isinstance(value, str):
        return value != "" and "\0" not in value
    return (
        isinstance(value, dict)
        and {"path"} <= value.keys() <= {"path", "scale"}
        and isinstance(value["path"], str)
        and _is_adapter(value["path"])
        and _number(-100, 100).fits(value.get("scale", 1))
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Options that decide how the model is loaded.
LOADING = {
    "ctx-size": _whole(0, _MAX_CONTEXT),
    "batch-size": _whole(*BATCH),
    "ubatch-size": _whole(*BATCH),
    "threads": _whole(0, 4096),
    "threads-batch": _whole(0, 4096),
    "n-gpu-layers": _whole(-1, 1 << 20),
    "main-gpu": _whole(0, 255),
    "embedding": _FLAG,
    "reranking": _FLAG,
    "pooling-type": _POOLING,
    "flash-attn": _ON_OFF,
    "rope-freq-base": _number(0, 1e12),
    "rope-freq-scale": _number(0, 1e6),
}

# Options that only the operator may set: they concern the machine, or what guests may do.
OPERATOR_ONLY = {
    "n-parallel": _whole(1, _MAX_SLOTS),
    "max-predict": _whole(1, _MAX_CONTEXT),
    "max-unread": _whole(16, _MAX_CONTEXT),
    "max-grammar-time": _number(0.1, 86_400),
    "reproducible": _FLAG,
    "lora": Accepts('a list of paths, or of tables such as {"path": "a.gguf", "scale": 0.5}', _are_adapters),
    "use-mmap": _FLAG,
    "use-mlock": _FLAG,
    "check-tensors": _FLAG,
    "no-kv-offload": _FLAG,
    "enable-log": _FLAG,
    "enable-debug-log": _FLAG,
    "allow-grammar": _FLAG,
    "allow-images": _FLAG,
    "mmproj": _TEXT,
}

# Options of a completion, each with its name in llama.cpp's server.
COMPLETING = {
    "n-predict": ("n_predict", _whole(-1, (1 << 31) - 1)),
    "temp": ("temperature", _number(0, 1000)),
    "top-k": ("top_k", _whole(-1, (1 << 31) - 1)),
    "top-p": ("top_p", _number(0, 1)),
    "min-p": ("min_p", _number(0, 1)),
    "typ-p": ("typical_p", _number(0, 1)),
    "xtc-probability": ("xtc_probability", _number(0, 1)),
    "xtc-threshold": ("xtc_threshold", _number(0, 1)),
    "dynatemp-range": ("dynatemp_range", _number(0, 1000)),
    "dynatemp-exponent": ("dynatemp_exponent", _number(0, 1000)),
    "last-n-penalty": ("repeat_last_n", _whole(0, 1 << 20)),
    "repeat-penalty": ("repeat_penalty", _number(0.001, 1000)),
    "presence-penalty": ("presence_penalty", _number(-1000, 1000)),
    "frequency-penalty": ("frequency_penalty", _number(-1000, 1000)),
    "mirostat": ("mirostat", _whole(0, 2)),
    "mirostat-eta": ("mirostat_eta", _number(0, 1000)),
    "ignore-eos": ("ignore_eos", _FLAG),
    "seed": ("seed", _whole(-1, RANDOM_SEED)),
    "reverse-prompt": ("stop", _TEXT),
    "grammar": ("grammar", _TEXT),
    "json-schema": ("json_schema", _SCHEMA),
}

# Options of an embedding: whether the prompt is a list of texts, and how vectors are normalized.
EMBEDDING = {"batch": _FLAG, "embd-normalize": _whole(-1, 6)}

# Whether a text appears on the guest's standard output while it is written.
SHOWING = {"stream-stdout": _FLAG}

# Options that name files or places to download them from: a graph opens none for a guest. A session reads the file of
# `image` for the graph; the others aren't supported.
FILES = _names(
    """image model-url hf-repo hf-file model-vocoder tts-output-file tts-speaker-file hf-repo-vocoder
    hf-file-vocoder model-url-vocoder prompt-file path-prompt-cache lookup-cache-static lookup-cache-dynamic logits-file
    public-path ssl-file-key ssl-file-cert slot-save-path context-files out-file cvector-positive-file
    cvector-negative-file"""
)

_NO_EFFECT = _names(
    """cpu-moe n-cpu-moe tensor-split split-mode numa warmup model-alias hf-token
    lora-init-without-apply always-regenerate-image-embd tts n-keep n-chunks n-sequences grp-attn-n
    grp-attn-w n-print rope-scaling-type yarn-ext-factor yarn-attn-factor yarn-beta-fast yarn-beta-slow yarn-orig-ctx
    attention-type cache-type-k cache-type-v ctx-shift cont-batching no-perf mask-valid mask-valid-batch
    priority priority-batch strict-cpu strict-cpu-batch poll poll-batch dry-multipier dry-base dry-allowed-length
    dry-last-n-penalty n-prev n-probs min-keep no-perf-sampling timing-per-token n-ctx-speculative n-max-speculative
    n-min-speculative n-gpu-layers-speculative p-split-speculative p-min-speculative embd-out embd-sep
    prompt-cache-all prompt-cache-ro input-prefix input-suffix input-prefix-bos chat-template
    enable-chat-template special escape multiline-input interactive interactive-first simple-io use-color
    display-prompt verbose-prompt usage verbosity"""
)

_KNOWN = LOADING | OPERATOR_ONLY | EMBEDDING | SHOWING | {name: accepts for name, (_, accepts) in COMPLETING.items()}
_OPERATOR_CHECKS = {
    name: taking(known.what)(known.fits) for name, known in (dict.fromkeys(_NO_EFFECT, _ANYTHING) | _KNOWN).items()
}

_OPERATORS_IN_WASMEDGE = {"mmproj", "n-parallel"}  # guests may have them there
GUESTS_OPTIONS = tuple(sorted((_KNOWN.keys() - OPERATOR_ONLY.keys()) | FILES | _NO_EFFECT | _OPERATORS_IN_WASMEDGE))
"""The names of all options that a guest's JSON may have, with or without an effect. Others are ignored there, and the
log says so."""
_GUESTS_NAMES = frozenset(GUESTS_OPTIONS)


def check_operator_options(options: Options) -> None:
    """Raise `NNError` for options that the operator can't give."""
    for name in options:
        if name in FILES:
            message = f"option {name!r} of ggml names a file or a download, which isn't supported"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    check_options(GraphEncoding.GGML, options, _OPERATOR_CHECKS)
    if options.get("reproducible") and options.get("n-parallel", 1) > 1:
        message = "with the option 'reproducible', texts are written one at a time: n-parallel can only be 1"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if options.get("grammar"):
        check_grammar(options["grammar"])
    if options.get("json-schema"):
        check_schema(_parsed_schema(options["json-schema"]))


def _parsed_schema(schema: str | dict[str, Any]) -> dict[str, Any]:
    return parse_object(
        schema.encode(errors="surrogatepass") if isinstance(schema, str) else as_json("json-schema", schema)
    )


def _names_file(name: str, policy: GuestPolicy) -> bool:
    # WasmEdge's guests name the projector too: it has no effect where the operator names one.
    return name in FILES or (name == "mmproj" and not policy.operator_options.get("mmproj"))


def from_guest(data: memoryview | bytes, policy: GuestPolicy, *, has_deadlines: bool = True) -> dict[str, Any]:
    """The options in a guest's JSON that guests may set.

    Raises `NNError`: `invalid-encoding` if it isn't a JSON object, `invalid-argument` for a value that doesn't fit,
    `security` for a file, or for a grammar that isn't allowed with deadlines for computes, or without; and as
    `image_option.check_given` does for the image behind the JSON.
    """
    text, image = without_image(data)
    values = parse_object(text)
    options = {name: value for name, value in values.items() if name in _KNOWN and name not in OPERATOR_ONLY}
    for name, value in values.items():
        if _names_file(name, policy) and value not in ("", None):
            if name == IMAGE and policy.operator_options.get("mmproj"):
                raise refuse_path()
            message = f"option {name!r} of ggml names a file or a download"
            raise NNError(ErrorCode.SECURITY, f"{message}, which guests may not give")
        if name in _KNOWN and not _KNOWN[name].fits(value):
            shown = printable(json.dumps(value)[:60])
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"option {name!r} of ggml can't be {shown}: it takes {_KNOWN[name].what}"
            )
    policy.unknown_options.log(values, _GUESTS_NAMES, OPERATOR_ONLY)
    if image is not None:
        check_given(image, policy)
        options[IMAGE] = image
    elif IMAGE in values:
        options[IMAGE] = b""  # none, whatever the options of the graph say
    if options.get("grammar"):
        policy.require_grammar_allowed(options, has_deadlines=has_deadlines)
        check_grammar(options["grammar"])
    if options.get("json-schema"):
        check_schema(_parsed_schema(options["json-schema"]))
    return options


def parse_object(data: memoryview | bytes) -> dict[str, Any]:
    """The JSON object of options. Raises `NNError`: `too-large`, or `invalid-encoding` for what isn't one."""
    if len(data) > MAX_OPTIONS:
        raise NNError(ErrorCode.TOO_LARGE, f"the options have {len(data)} bytes: at most {MAX_OPTIONS} are allowed")
    try:
        value = json.loads(bytes(data), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise NNError(ErrorCode.INVALID_ENCODING, f"the options aren't JSON: {printable(str(reason)[:200])}") from error
    if not isinstance(value, dict):
        raise NNError(ErrorCode.INVALID_ENCODING, f"the options must be a JSON object, not a {type(value).__name__}")
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} isn't JSON")


def request(options: Options) -> dict[str, Any]:
    """The request to llama.cpp's server for a completion with these options, without the prompt."""
    fields: dict[str, Any] = {"seed": DEFAULT_SEED, "n_predict": -1}
    fields |= {field: options[name] for name, (field, _) in COMPLETING.items() if options.get(name, "") != ""}
    most = options.get("max-predict", 0)
    if most and not 0 <= fields["n_predict"] <= most:
        fields["n_predict"] = most
    if fields["seed"] == -1:
        fields["seed"] = RANDOM_SEED
    if "stop" in fields:
        fields["stop"] = [fields["stop"]]
    if isinstance(fields.get("json_schema"), str):
        fields["json_schema"] = json.loads(fields["json_schema"])
    return fields
