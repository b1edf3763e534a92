"""How fast a language model's text comes piece by piece, beside xllamacpp called from Python directly.

The model is SmolLM2 (135 million parameters, weights of four bits). Both write the same text with the same options.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import models
from ratios import best, ratio, side_by_side

import wasi_nn
from wasi_nn.types import EndOfSequence

PROMPT = "Once upon a time"
TOKENS = 128
CONTEXT = 1024
ROUNDS = 15

Writer = Callable[[], Iterator[str]]
"""Writes the text once; gives its pieces as they come."""


def directly(model: Path) -> Writer:
    """xllamacpp, as its own documentation has it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    request = {"prompt": PROMPT, "stream": True, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}

    def write() -> Iterator[str]:
        pieces: list[tuple[float, str]] = []

        def take(chunk: dict[str, Any]) -> None:
            pieces.append((time.perf_counter(), chunk["choices"][0]["text"]))

        begun = time.perf_counter()
        server.handle_completions({**request, "cache_prompt": False}, take)
        first_pieces["directly"].append(pieces[0][0] - begun)
        return (piece for _, piece in pieces)

    return write


def by_graph(model: Path) -> Writer:
    """An execution context, piece by piece."""
    options = {"ctx-size": CONTEXT, "n-predict": TOKENS, "ignore-eos": True, "temp": 0}
    context = wasi_nn.load(model, options=options).init_execution_context()
    context.set_input(0, PROMPT.encode())

    def write() -> Iterator[str]:
        begun = time.perf_counter()
        context.compute_single()
        first_pieces["compute_single"].append(time.perf_counter() - begun)
        try:
            while True:
                yield bytes(context.single_output_bytes(0)).decode()
                context.compute_single()
        except EndOfSequence:
            return

    return write


def _read(write: Writer) -> list[str]:
    return list(write())


first_pieces: dict[str, list[float]] = {"directly": [], "compute_single": []}


def main() -> None:
    """Print the table."""
    model = models.smollm2()
    writers = {"directly": directly(model), "compute_single": by_graph(model)}
    texts = {name: "".join(write()) for name, write in writers.items()}
    if len(set(texts.values())) != 1:
        raise SystemExit(f"they write different texts: {texts}")
    times = side_by_side({name: partial(_read, write) for name, write in writers.items()}, ROUNDS)
    base = times["directly"]
    print(f"| SmolLM2, {TOKENS} tokens | tokens/s | ratio of times | first token | ratio of times |")
    print("|---|---|---|---|---|")
    for name, took in times.items():
        first = first_pieces[name]
        speed = f"{TOKENS / best(took):.1f} (median {TOKENS / statistics.median(took):.1f})"
        begun = f"{1e3 * best(first):.1f} ms | {ratio(first, first_pieces['directly'])}"
        print(f"| {name} | {speed} | {ratio(took, base)} | {begun} |")


if __name__ == "__main__":
    main()
