"""The options of GGML graphs: which there are, what they may be, and what they mean to llama.cpp.

The keys are WasmEdge's, in JSON from a guest (beside the model, or on input 1) and as a mapping from the operator. Of
all of WasmEdge's keys, those in `LOADING` and `COMPLETING` take effect, those in `FILES` are refused, and those in
`_NO_EFFECT` are known and ignored. What the operator gives is checked for typos; of a guest's, unknown keys are
ignored, as WasmEdge does.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.ggml.gguf import Header
from wasi_nn.backends.options import check_options
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from xllamacpp import CommonParams

MAX_OPTIONS = 1 << 20
"""The bytes of JSON that a guest may send."""

DEFAULT_CONTEXT = 4096
DEFAULT_SEED = 0
RANDOM_SEED = 0xFFFFFFFF  # llama.cpp's own word for it

_MAX_CONTEXT = 1 << 24
_RANKS = 4  # the `pooling_type` of such a model
_LEAST_CONTEXT = 8  # below which llama.cpp ends the process
_BATCH = (32, 8192)  # the same
_MAX_GRAMMAR = 1 << 16
_MAX_NESTING = 100  # llama.cpp's parser calls itself, and 200,000 parentheses end the process
_FLASH_ATTENTION = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}
_QUIET, _LOG, _DEBUG_LOG = -1, 3, 5  # llama.cpp's verbosity

# Of a JSON schema, what memory is taken for one by one.
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_MAX_COUNT = 1000

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Accepts:
    """What an option may be: `fits` decides, `what` says so."""

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
_ON_OFF = Accepts("'on', 'off' or 'auto'", lambda value: isinstance(value, str) and value in ("on", "off", "auto"))
_ANYTHING = Accepts("anything", lambda value: True)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Those that decide how the model is loaded.
LOADING = {
    "ctx-size": _whole(0, _MAX_CONTEXT),
    "batch-size": _whole(*_BATCH),
    "ubatch-size": _whole(*_BATCH),
    "threads": _whole(0, 4096),
    "threads-batch": _whole(0, 4096),
    "n-gpu-layers": _whole(-1, 1 << 20),
    "main-gpu": _whole(0, 255),
    "embedding": _FLAG,
    "flash-attn": _ON_OFF,
    "rope-freq-base": _number(0, 1e12),
    "rope-freq-scale": _number(0, 1e6),
}

# Those that only the operator decides: they are about the machine, or about what guests may do.
OPERATORS = {
    "use-mmap": _FLAG,
    "use-mlock": _FLAG,
    "check-tensors": _FLAG,
    "no-kv-offload": _FLAG,
    "enable-log": _FLAG,
    "enable-debug-log": _FLAG,
    "allow-grammar": _FLAG,
}

# Those that decide a completion, with the name that llama.cpp's server has for each.
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
    "json-schema": ("json_schema", _TEXT),
}

# Whether a text is shown on the guest's standard output as it is written.
SHOWING = {"stream-stdout": _FLAG}

# Those that name files, or places to fetch them from: the host opens none for a guest, and has no use for them yet.
FILES = _names(
    """mmproj image model-url hf-repo hf-file model-vocoder tts-output-file tts-speaker-file hf-repo-vocoder
    hf-file-vocoder model-url-vocoder prompt-file path-prompt-cache lookup-cache-static lookup-cache-dynamic logits-file
    public-path ssl-file-key ssl-file-cert slot-save-path context-files out-file cvector-positive-file
    cvector-negative-file"""
)

_NO_EFFECT = _names(
    """cpu-moe n-cpu-moe tensor-split split-mode numa warmup model-alias hf-token
    lora-init-without-apply always-regenerate-image-embd tts n-keep n-chunks n-parallel n-sequences grp-attn-n
    grp-attn-w n-print rope-scaling-type yarn-ext-factor yarn-attn-factor yarn-beta-fast yarn-beta-slow yarn-orig-ctx
    pooling-type attention-type cache-type-k cache-type-v ctx-shift cont-batching no-perf mask-valid mask-valid-batch
    priority priority-batch strict-cpu strict-cpu-batch poll poll-batch dry-multipier dry-base dry-allowed-length
    dry-last-n-penalty n-prev n-probs min-keep no-perf-sampling timing-per-token n-ctx-speculative n-max-speculative
    n-min-speculative n-gpu-layers-speculative p-split-speculative p-min-speculative embd-normalize embd-out embd-sep
    reranking prompt-cache-all prompt-cache-ro input-prefix input-suffix input-prefix-bos chat-template
    enable-chat-template special escape multiline-input interactive interactive-first simple-io use-color
    display-prompt verbose-prompt usage verbosity"""
)

_KNOWN = LOADING | OPERATORS | SHOWING | {name: accepts for name, (_, accepts) in COMPLETING.items()}


def check_operators(options: Options) -> None:
    """Raise `NNError` unless these are options that an operator can give."""
    for name in options:
        if name in FILES:
            message = f"option {name!r} of ggml names a file or a place to fetch one from, which isn't supported"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    accepts = {name: known.fits for name, known in (dict.fromkeys(_NO_EFFECT, _ANYTHING) | _KNOWN).items()}
    check_options(GraphEncoding.GGML, options, accepts)
    if options.get("grammar"):
        _check_grammar(options["grammar"])
    if options.get("json-schema"):
        _check_schema(options["json-schema"])


def from_guest(data: memoryview | bytes, operators: Options) -> dict[str, Any]:
    """The options in a guest's JSON that it may set.

    Raises `NNError`: `invalid-encoding` where it isn't a JSON object, `invalid-argument` for a value that doesn't fit,
    `security` for what a guest may not ask of the host.
    """
    found = _object(data)
    options = {name: value for name, value in found.items() if name in _KNOWN and name not in OPERATORS}
    for name in found:
        if name in FILES and found[name] not in ("", None):
            message = (
                f"option {name!r} of ggml names a file or a place to fetch one from: the host opens none for a guest"
            )
            raise NNError(ErrorCode.SECURITY, message)
        if name in _KNOWN and not _KNOWN[name].fits(found[name]):
            shown = printable(json.dumps(found[name])[:60])
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"option {name!r} of ggml can't be {shown}: {_KNOWN[name].what}")
    if options.get("grammar"):
        if not operators.get("allow-grammar", False):
            message = "this host takes no grammar from guests, since one can stop llama.cpp; 'allow-grammar' allows it"
            raise NNError(ErrorCode.SECURITY, message)
        _check_grammar(options["grammar"])
    if options.get("json-schema"):
        _check_schema(options["json-schema"])
    return options


def _object(data: memoryview | bytes) -> dict[str, Any]:
    if len(data) > MAX_OPTIONS:
        raise NNError(ErrorCode.TOO_LARGE, f"options of {len(data)} bytes are above {MAX_OPTIONS}")
    try:
        found = json.loads(bytes(data), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise NNError(ErrorCode.INVALID_ENCODING, f"the options aren't JSON: {printable(str(reason)[:200])}") from error
    if not isinstance(found, dict):
        raise NNError(ErrorCode.INVALID_ENCODING, f"the options aren't a JSON object, but {type(found).__name__}")
    return found


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} isn't JSON")


def _check_grammar(grammar: str) -> None:
    if len(grammar) > _MAX_GRAMMAR:
        raise NNError(ErrorCode.TOO_LARGE, f"a grammar of {len(grammar)} characters is above {_MAX_GRAMMAR}")
    if grammar.lstrip().startswith("%llguidance"):
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "grammars are in GBNF here, not in llguidance's own language")
    depth = deepest = 0
    for character in grammar:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
        if not (character.isprintable() or character in "\t\r\n"):
            # The parser prints what it can't read to the terminal.
            message = f"a grammar has no {character!r}, but an escape for it"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if deepest > _MAX_NESTING:
        message = f"a grammar with {deepest} parentheses open at once is above {_MAX_NESTING}"
        raise NNError(ErrorCode.TOO_LARGE, message)


def _check_schema(text: str) -> None:
    waiting: list[Any] = [_object(text.encode(errors="surrogatepass"))]
    while waiting:
        part = waiting.pop()
        for name, value in part.items() if isinstance(part, dict) else enumerate(part):
            if name in _COUNTS and type(value) in (int, float) and value > _MAX_COUNT:
                raise NNError(ErrorCode.TOO_LARGE, f"{name} {value} of a JSON schema is above {_MAX_COUNT}")
            if isinstance(value, dict | list):
                waiting.append(value)


@dataclass(frozen=True)
class Loading:
    """How a model is loaded: what differs from one to the next makes it another in memory."""

    context: int
    batch: int
    ubatch: int
    threads: int
    threads_batch: int
    gpu_layers: int
    main_gpu: int
    embedding: bool
    flash_attention: str
    rope_base: float
    rope_scale: float


def loading(operators: Options, guests: Options, header: Header, gpu: bool) -> Loading:
    """How to load a model for these options. Raises `NNError` with `too-large` for a context that it can't have."""
    options = {**operators, **guests}
    context = _context(operators, guests, header)
    embedding = options.get("embedding", False)
    if embedding and header.number("pooling_type") == _RANKS:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "the model ranks texts, and has no embedding of one")
    batch = min(options.get("batch-size", 2048), max(context, _BATCH[0]))
    # All of a text that is embedded has to be in one batch.
    ubatch = batch if embedding else min(options.get("ubatch-size", 512), batch)
    cores = len(os.sched_getaffinity(0))
    threads = min(options.get("threads", 0) or cores, cores)
    layers = options.get("n-gpu-layers", -1)
    return Loading(
        context,
        batch,
        ubatch,
        threads,
        min(options.get("threads-batch", 0) or threads, cores),
        0 if not gpu else layers if layers >= 0 else 1 << 20,
        options.get("main-gpu", 0),
        embedding,
        options.get("flash-attn", "auto"),
        float(options.get("rope-freq-base", 0)),
        float(options.get("rope-freq-scale", 0)),
    )


def _context(operators: Options, guests: Options, header: Header) -> int:
    """The tokens of context: as many as the guest wants up to the limit, which is what the operator gave, or else what
    the model was trained for; llama.cpp gives no more than that."""
    trained = header.number("context_length")
    given = operators.get("ctx-size", 0)
    limit = given or trained or DEFAULT_CONTEXT
    wanted = guests.get("ctx-size", given or min(limit, DEFAULT_CONTEXT)) or limit
    if wanted > limit:
        whose = "that this host gives" if given else "that the model was trained for"
        raise NNError(ErrorCode.TOO_LARGE, f"ctx-size {wanted} is above {limit}, the context {whose}")
    if trained and given > trained:
        raise NNError(ErrorCode.TOO_LARGE, f"ctx-size {given} is above {trained}, for which the model was trained")
    needed = wanted * cache_bytes(header)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise NNError(
            ErrorCode.TOO_LARGE, f"ctx-size {wanted} needs {needed >> 20} MiB, and this machine has {there >> 20}"
        )
    return max(wanted, _LEAST_CONTEXT)


def cache_bytes(header: Header) -> int:
    """The bytes that llama.cpp's cache takes for a token of context: a key and a value of f16 for each layer."""
    heads = header.number("attention.head_count", 1)
    embedding = header.number("embedding_length")
    key = header.number("attention.key_length", embedding // heads)
    value = header.number("attention.value_length", embedding // heads)
    return 2 * header.number("block_count") * header.number("attention.head_count_kv", heads) * (key + value)


def parameters(path: str, wanted: Loading, operators: Options, header: Header) -> CommonParams:
    """What llama.cpp's server is to be started with."""
    import xllamacpp as llama

    started = llama.CommonParams()
    started.model.path = path
    started.model_alias = {"model"}
    started.n_ctx = wanted.context
    started.n_batch = wanted.batch
    started.n_ubatch = wanted.ubatch
    started.cpuparams.n_threads = wanted.threads
    started.cpuparams_batch.n_threads = wanted.threads_batch
    started.n_gpu_layers = wanted.gpu_layers
    started.no_op_offload = wanted.gpu_layers == 0
    started.main_gpu = wanted.main_gpu
    started.rope_freq_base = wanted.rope_base
    started.rope_freq_scale = wanted.rope_scale
    attention = f"LLAMA_FLASH_ATTN_TYPE_{_FLASH_ATTENTION[wanted.flash_attention]}"
    started.flash_attn_type = getattr(llama.llama_flash_attn_type, attention)
    started.embedding = wanted.embedding
    if wanted.embedding and not header.number("pooling_type"):
        # A model that doesn't say how is embedded by its last token, as WasmEdge does.
        started.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    mapped, locked = operators.get("use-mmap", True), operators.get("use-mlock", False)
    mode = "_".join(word for word, wants in (("MMAP", mapped), ("MLOCK", locked)) if wants) or "NONE"
    started.load_mode = getattr(llama.llama_load_mode, f"LLAMA_LOAD_MODE_{mode}")
    started.check_tensors = operators.get("check-tensors", False)
    started.no_kv_offload = operators.get("no-kv-offload", False)
    logs = _DEBUG_LOG if operators.get("enable-debug-log") else _LOG if operators.get("enable-log") else _QUIET
    started.verbosity = logs
    # One completion at a time: two in a batch would change the last digits of each other's numbers.
    started.n_parallel = 1
    # No memory is kept of what others asked, and what doesn't fit a device is refused, not moved.
    started.cache_ram_mib = 0
    started.fit_params = False
    started.warmup = False
    started.chat_template = "chatml"  # else the model's own is run
    started.use_jinja = False
    # The HTTP server that comes with it: nobody knows its key, and its port is closed at once.
    started.api_keys = [secrets.token_hex(32)]
    started.n_threads_http = 1
    started.endpoint_slots = False
    started.endpoint_metrics = True
    started.ui = False
    return started


def request(options: Options) -> dict[str, Any]:
    """What to ask of llama.cpp's server for a completion with these options."""
    wanted: dict[str, Any] = {"seed": DEFAULT_SEED, "n_predict": -1}
    wanted |= {to: options[name] for name, (to, _) in COMPLETING.items() if options.get(name, "") != ""}
    if wanted["seed"] == -1:
        wanted["seed"] = RANDOM_SEED
    if "stop" in wanted:
        wanted["stop"] = [wanted["stop"]]
    if "json_schema" in wanted:
        wanted["json_schema"] = json.loads(wanted["json_schema"])
    return wanted
