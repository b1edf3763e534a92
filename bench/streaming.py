"""The speed of a language model that writes piece by piece, compared with xllamacpp called directly from Python.

The model is SmolLM2 (135 million parameters, weights of four bits). Three writers make the same text with the same
options: a guest in WasmEdge's dialect, an execution context without WebAssembly, and xllamacpp.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models

import wasi_nn
from bench.guest_loop import pieces_through_a_guest
from bench.ratios import best, ratio, side_by_side
from wasi_nn.errors import EndOfSequence

PROMPT = "Once upon a time"
TOKENS = 128
CONTEXT = 1024
ROUNDS = 15

Writer = tuple[Callable[[], str], Callable[[], object]]
"""Two functions: one writes the whole text and returns it, the other makes only the first piece."""


def directly(model: Path) -> Writer:
    """xllamacpp, called as its documentation shows."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    request = {"prompt": PROMPT, "stream": True, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
    request["cache_prompt"] = False

    def write() -> str:
        pieces: list[str] = []

        def take(chunk: dict[str, Any]) -> None:
            pieces.append(chunk["choices"][0]["text"])

        server.handle_completions(request, take)
        return "".join(pieces)

    return write, lambda: server.handle_completions(request, lambda chunk: True)


def by_context(graph: wasi_nn.Graph) -> Writer:
    """An execution context, without WebAssembly."""
    context = graph.init_execution_context()

    def begin() -> None:
        context.set_input(0, PROMPT.encode())
        context.compute_single()

    def write() -> str:
        begin()
        pieces = []
        try:
            while True:
                pieces.append(bytes(context.single_output_bytes(0)))
                context.compute_single()
        except EndOfSequence:
            return b"".join(pieces).decode()

    def first_piece() -> None:
        begin()
        context.fini_single()

    return write, first_piece


def main() -> None:
    """Print the table."""
    model = models.smollm2()
    options = {"ctx-size": CONTEXT, "n-predict": TOKENS, "ignore-eos": True, "temp": 0, "reproducible": True}
    graph = wasi_nn.load(model, options=options)
    writers = {
        "xllamacpp": directly(model),
        "an execution context": by_context(graph),
        "a guest": pieces_through_a_guest(graph, PROMPT.encode()),
    }
    texts = {name: write() for name, (write, _) in writers.items()}
    if len(set(texts.values())) != 1:
        raise SystemExit(f"the writers make different texts: {texts}")
    whole = side_by_side({name: write for name, (write, _) in writers.items()}, ROUNDS)
    # A text that is ended after its first piece goes on until its next token: the pause lets it end.
    first = side_by_side({name: begin for name, (_, begin) in writers.items()}, ROUNDS, pause=0.2)
    print(f"| SmolLM2, {TOKENS} tokens | tokens/s | time, as a ratio | first token | as a ratio |")
    print("|---|---|---|---|---|")
    for name in writers:
        speed = f"{TOKENS / best(whole[name]):.1f} (median {TOKENS / statistics.median(whole[name]):.1f})"
        begun = f"{1e3 * best(first[name]):.1f} ms | {ratio(first[name], first['xllamacpp'])}"
        print(f"| {name} | {speed} | {ratio(whole[name], whole['xllamacpp'])} | {begun} |")


if __name__ == "__main__":
    main()
