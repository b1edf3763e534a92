"""How llama.cpp loads a model: the settings that follow from the options of the operator and of a guest, and from the
model."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from resource import RLIM_INFINITY, RLIMIT_DATA, getrlimit
from typing import TYPE_CHECKING

from wasi_nn.backends.ggml.files import ExtraFiles
from wasi_nn.backends.ggml.gguf import Header
from wasi_nn.backends.ggml.options import BATCH, FLASH_ATTENTION, Options
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.process.processors import processors
from wasi_nn.settings import how_to_set_option

if TYPE_CHECKING:
    from xllamacpp import CommonParams

DEFAULT_CONTEXT = 4096

_RANKING = 4  # the `pooling_type` of a model that ranks texts
_LEAST_CONTEXT = 8  # tokens; llama.cpp ends the process for fewer
_USUAL_SLOTS = 4
_SHARE_FOR_SLOTS = 4  # the caches of the usual slots may take this part of the memory
# Tokens of a prompt between which other texts get their next token, and between which a text can be stopped.
_SHORT_BATCH, _WHOLE_BATCH = 512, 2048
_CHECKPOINTS = 4  # of a slot, for models that look back only so far: they can't continue a text without one
_AS_IT_IS = "{% for part in messages[0]['content'] %}{{ part['text'] }}{% endfor %}"
_QUIET, _LOG, _DEBUG_LOG = -1, 3, 5  # llama.cpp's verbosity


@dataclass(frozen=True)
class LoadSettings:
    """How llama.cpp loads a model. Contexts with equal settings share one copy of it in memory."""

    context: int
    """The tokens of each slot."""
    slots: int
    reproducible: bool
    batch: int
    ubatch: int
    threads: int
    threads_batch: int
    gpu_layers: int
    main_gpu: int
    embedding: bool
    """Whether it gives embeddings or scores, not texts."""
    pooling: str
    """How an embedding is made of those of the tokens; empty for the model's own way."""
    flash_attention: str
    rope_base: float
    rope_scale: float

    @property
    def reranking(self) -> bool:
        """Whether it gives scores."""
        return self.pooling == "rank"


def load_settings(operator_options: Options, guest_options: Options, header: Header, gpu: bool) -> LoadSettings:
    """How to load a model for these options. Raises `NNError` with `too-large` for a context that is too large."""
    options = {**operator_options, **guest_options}
    context = _context(operator_options, guest_options, header)
    reranking = options.get("reranking", False)
    embedding = reranking or options.get("embedding", False)
    _require_right_kind(header, embedding=embedding, reranking=reranking)
    reproducible = operator_options.get("reproducible", False)
    usual = _WHOLE_BATCH if embedding or reproducible else _SHORT_BATCH
    batch = min(options.get("batch-size", usual), max(context, BATCH[0]))
    # llama.cpp embeds only a text that fits into one batch.
    ubatch = batch if embedding else min(options.get("ubatch-size", 512), batch)
    if operator_options.get("mmproj"):  # llama.cpp ends the process for an image that doesn't fit into one batch
        batch = ubatch = max(ubatch, min(_WHOLE_BATCH, context))
    cores = processors()
    threads = min(options.get("threads", 0) or cores, cores)
    layers = options.get("n-gpu-layers", -1)
    return LoadSettings(
        context=context,
        slots=_slots(operator_options, context * cache_bytes(header)),
        reproducible=reproducible,
        batch=batch,
        ubatch=ubatch,
        threads=threads,
        threads_batch=min(options.get("threads-batch", 0) or threads, cores),
        gpu_layers=0 if not gpu else layers if layers >= 0 else 1 << 20,
        main_gpu=options.get("main-gpu", 0),
        embedding=embedding,
        pooling=_pooling(options, header, reranking=reranking) if embedding else "",
        flash_attention=options.get("flash-attn", "auto"),
        rope_base=float(options.get("rope-freq-base", 0)),
        rope_scale=float(options.get("rope-freq-scale", 0)),
    )


def _require_right_kind(header: Header, *, embedding: bool, reranking: bool) -> None:
    ranks = header.number("pooling_type") == _RANKING
    if embedding and not reranking and ranks:
        message = "the model is a reranker, which has no embeddings: set reranking, not embedding"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    if reranking and not ranks:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "the model isn't a reranker: set embedding, not reranking")


def _pooling(options: Options, header: Header, *, reranking: bool) -> str:
    # For a model that doesn't state its pooling, the embedding of its last token is taken, as in WasmEdge.
    usual = "" if header.number("pooling_type") else "last"
    return "rank" if reranking else str(options.get("pooling-type", usual))


def _context(operator_options: Options, guest_options: Options, header: Header) -> int:
    """The size of the context, in tokens: the guest's `ctx-size`, up to the operator's.

    Without one of the operator's, the limit is the size that the model was trained for; llama.cpp allows no more.
    """
    trained = header.number("context_length")
    allowed = operator_options.get("ctx-size", 0)
    limit = allowed or trained or DEFAULT_CONTEXT
    size = guest_options.get("ctx-size", allowed or min(limit, DEFAULT_CONTEXT)) or limit
    if size > limit:
        whose = "that this host gives" if allowed else "that the model was trained for"
        how = f" ({how_to_set_option('ctx-size', size)})" if allowed else ""
        raise NNError(ErrorCode.TOO_LARGE, f"ctx-size {size} is above {limit}, the context {whose}{how}")
    if trained and allowed > trained:
        raise NNError(ErrorCode.TOO_LARGE, f"ctx-size {allowed} is above {trained}, for which the model was trained")
    return max(size, _LEAST_CONTEXT)


def _slots(operator_options: Options, cache: int) -> int:
    """The number of slots, each with a cache of so many bytes. Raises `NNError` with `too-large` if there is no memory
    for them."""
    slots = 1 if operator_options.get("reproducible") else operator_options.get("n-parallel", 0)
    memory, whose = _memory()
    if not slots:
        slots = max(1, min(_USUAL_SLOTS, memory // _SHARE_FOR_SLOTS // max(cache, 1)))
    if slots * cache > memory:
        contexts = f"the contexts of {slots} texts need" if slots > 1 else "the context needs"
        cures = f"set n-parallel ({how_to_set_option('n-parallel', 1)}) or ctx-size" if slots > 1 else "set ctx-size"
        message = f"{contexts} {slots * cache >> 20} MiB of memory, and {whose} has {memory >> 20} MiB: {cures} lower"
        raise NNError(ErrorCode.TOO_LARGE, message)
    return slots


def _memory() -> tuple[int, str]:
    """The bytes of memory for all of this process, and the machine's or the worker's name."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed, _ = getrlimit(RLIMIT_DATA)
    return (allowed, "this process") if allowed != RLIM_INFINITY and allowed < machine else (machine, "this machine")


def cache_bytes(header: Header) -> int:
    """The bytes of llama.cpp's cache for one token of context: a key and a value of f16 for each layer."""
    heads = header.number("attention.head_count", 1)
    embedding = header.number("embedding_length")
    key = header.number("attention.key_length", embedding // heads)
    value = header.number("attention.value_length", embedding // heads)
    return 2 * header.number("block_count") * header.number("attention.head_count_kv", heads) * (key + value)


def server_parameters(path: str, settings: LoadSettings, options: Options, extra: ExtraFiles) -> CommonParams:
    """The parameters of llama.cpp's server. `options` are the operator's."""
    import xllamacpp as llama

    parameters = llama.CommonParams()
    parameters.model.path = path
    parameters.lora_adapters = [llama.CommonAdapterLoraInfo(*adapter) for adapter in extra.adapters]
    parameters.model_alias = {"model"}
    parameters.n_ctx = settings.slots * settings.context
    parameters.n_batch = settings.batch
    parameters.n_ubatch = settings.ubatch
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads_batch
    parameters.n_gpu_layers = settings.gpu_layers
    parameters.no_op_offload = settings.gpu_layers == 0
    parameters.main_gpu = settings.main_gpu
    parameters.rope_freq_base = settings.rope_base
    parameters.rope_freq_scale = settings.rope_scale
    attention = f"LLAMA_FLASH_ATTN_TYPE_{FLASH_ATTENTION[settings.flash_attention]}"
    parameters.flash_attn_type = getattr(llama.llama_flash_attn_type, attention)
    parameters.embedding = settings.embedding
    if settings.pooling:
        parameters.pooling_type = getattr(llama.llama_pooling_type, f"LLAMA_POOLING_TYPE_{settings.pooling.upper()}")
    modes = {"MMAP": options.get("use-mmap", True), "MLOCK": options.get("use-mlock", False)}
    mode = "_".join(mode for mode, is_on in modes.items() if is_on) or "NONE"
    parameters.load_mode = getattr(llama.llama_load_mode, f"LLAMA_LOAD_MODE_{mode}")
    parameters.check_tensors = options.get("check-tensors", False)
    parameters.no_kv_offload = options.get("no-kv-offload", False)
    is_logged, is_debugged = options.get("enable-log"), options.get("enable-debug-log")
    parameters.verbosity = _DEBUG_LOG if is_debugged else _LOG if is_logged else _QUIET
    parameters.n_parallel = settings.slots
    parameters.kv_unified = False  # each slot has its own cache, so that no text takes room from another
    if not settings.reproducible:
        parameters.n_ctx_checkpoints = _CHECKPOINTS
    # No tokens are kept but those in the slots, and a slot is chosen by its owner, not by what its tokens are. A model
    # that doesn't fit a device is refused, not moved.
    parameters.cache_ram_mib = 0
    parameters.slot_prompt_similarity = 0.0
    parameters.fit_params = False
    parameters.warmup = False
    parameters.chat_template = "chatml"  # else the server would parse the model's own template, which may be hostile
    parameters.use_jinja = False
    if extra.projector:
        parameters.mmproj.path = extra.projector
        parameters.mmproj_use_gpu = settings.gpu_layers > 0
        # Prompts with images pass through the server's chats, by a template that leaves them as they are.
        parameters.use_jinja = True
        parameters.chat_template = _AS_IT_IS
        parameters.force_pure_content_parser = True
    # The server's HTTP interface can't be turned off: its key is random, and `Engine` closes its port at once.
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.n_threads_http = 1
    parameters.endpoint_slots = False
    parameters.endpoint_metrics = True
    parameters.ui = False
    return parameters
