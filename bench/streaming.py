"""The speed of a language model that writes piece by piece, compared with xllamacpp called directly from Python.

The model is SmolLM2 (135 million parameters, weights of four bits). Three writers make the same text with the same
options: a guest in WasmEdge's dialect, an execution context without WebAssembly, and xllamacpp.

A second table has guests that print the text by the sequences of wasi-nn:ext: components in C, Python and JavaScript,
compared with a core module. Their start doesn't count: the time is that from the first piece to the last.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
from build_components import build_js, build_python

import wasi_nn
from bench.guest_loop import pieces_through_a_guest
from bench.ratios import best, ratio, side_by_side
from wasi_nn.errors import EndOfSequence

GUESTS = Path(__file__).parent.parent / "guests"
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


def by_command(host: wasi_nn.Host, guest: Path, *arguments: str) -> Callable[[], str]:
    """A guest that prints a text."""
    compiled = host.compile(guest)

    def write() -> str:
        result = host.run(compiled, [*arguments, "net", PROMPT], capture_output=True)
        assert result.exit_code == 0, result.stderr
        return result.stdout.decode().removesuffix("\n")

    return write


class PieceTimes:
    """The times at which execution contexts gave pieces, whoever asked for them: guests of both ABIs come this way."""

    def __init__(self) -> None:
        self.times: list[float] = []
        ask = wasi_nn.ExecutionContext.compute_single

        def compute_single(context: wasi_nn.ExecutionContext) -> None:
            ask(context)
            self.times.append(time.perf_counter())

        wasi_nn.ExecutionContext.compute_single = compute_single  # type: ignore[method-assign,assignment]

    def span(self, write: Callable[[], str]) -> float:
        """The seconds from a text's first piece to its last."""
        self.times.clear()
        write()
        assert len(self.times) == TOKENS
        return self.times[-1] - self.times[0]


def components(graph: wasi_nn.Graph) -> None:
    """Print the table of components."""
    host = wasi_nn.Host({"net": graph})
    base = "a core module in C"
    writers = {
        base: by_command(host, GUESTS / "c" / "stream.wasm", "--graph"),
        "a component in C": by_command(host, GUESTS / "component" / "stream.wasm"),
        "a component in Python": by_command(host, _built("ext-python.wasm", build_python, "ext"), "stream"),
    }
    if shutil.which("npm"):
        writers["a component in JavaScript"] = by_command(host, _built("stream-js.wasm", build_js, "stream"))
    if len({write() for write in writers.values()}) != 1:
        raise SystemExit("the guests make different texts")
    pieces = PieceTimes()
    spans: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(ROUNDS):
        for name, write in writers.items():
            spans[name].append(pieces.span(write))
    print(
        "\n| SmolLM2, from the first token to the last | tokens/s (median) | as a ratio (of medians) |\n|---|---|---|"
    )
    for name, taken in spans.items():
        speed, median = (TOKENS - 1) / best(taken), (TOKENS - 1) / statistics.median(taken)
        medians = statistics.median(spans[base]) / statistics.median(taken)
        print(f"| {name} | {speed:.1f} ({median:.1f}) | {best(spans[base]) / best(taken):.3f} ({medians:.3f}) |")


def _built(name: str, build: Callable[[Path, str], Path], app: str) -> Path:
    path = Path("build", "guests", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path if path.exists() else build(path, app)


def main() -> None:
    """Print the tables."""
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
    components(graph)


if __name__ == "__main__":
    main()
