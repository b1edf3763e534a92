"""Several texts of a language model at once, and a long conversation, compared with xllamacpp called directly.

The model is SmolLM2 (135 million parameters, weights of four bits). First table: one, two and four texts at once, in
four slots. They are written by the slots of xllamacpp's server, which Python threads ask directly; by execution
contexts without WebAssembly, in this process and isolated; and by guests in WasmEdge's dialect, one for each text.
Second table: the first token of the fifth turn of a conversation, of which the guest sends all with each turn. It is
compared with the first token of a prompt that is as long as the turn alone. A slot of xllamacpp's server is measured in
the same way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models

import wasi_nn
from bench.guest_loop import pieces_through_a_guest
from bench.ratios import best, ratio, seconds, side_by_side
from wasi_nn.errors import EndOfSequence

DIRECTLY = "xllamacpp's slots"
SLOTS = 4
TOKENS = 96
CONTEXT = 1024
ROUNDS = 9
PROMPTS = ("Once upon a time", "The capital of France is", "Water is made of", "A good night's sleep")
OPTIONS = {"ctx-size": CONTEXT, "n-predict": TOKENS, "ignore-eos": True, "temp": 0, "n-parallel": SLOTS}

QUESTIONS = (
    "I would like to grow some vegetables on my balcony this summer. Which kinds are easy for a beginner?",
    "My balcony gets sun only in the morning. Which of these vegetables would still grow well there?",
    "How often should I water them when it's hot, and how can I tell that a plant has too much water?",
    "I will be away for a week in July. What can I do so that the plants don't dry out in the meantime?",
    "Thank you. Please tell me in one sentence what I should buy this week so that I can begin on Saturday.",
)
ANSWER_TOKENS = 48

Write = Callable[[], object]


def at_once(writes: list[Write]) -> Callable[[], None]:
    """A function that writes all texts at once, each on a thread of its own."""

    def run() -> None:
        threads = [threading.Thread(target=write) for write in writes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def served(model: Path) -> Any:
    """xllamacpp's server with slots."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = SLOTS * CONTEXT
    params.n_parallel = SLOTS
    params.verbosity = -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    return xllamacpp.Server(params)


def directly(model: Path) -> list[Write]:
    """The slots of xllamacpp's server, each asked for a text with the answer streamed."""
    server = served(model)

    def writing(slot: int) -> Write:
        request = {"prompt": PROMPTS[slot], "stream": True, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
        request |= {"id_slot": slot, "cache_prompt": False}

        def write() -> None:
            pieces: list[str] = []

            def take(chunk: dict[str, Any]) -> None:
                pieces.append(chunk["choices"][0]["text"])

            server.handle_completions(request, take)

        return write

    return [writing(slot) for slot in range(SLOTS)]


def by_contexts(graph: wasi_nn.Graph) -> list[Write]:
    """Execution contexts without WebAssembly, which read each piece. Each text begins in a new context."""

    def writing(prompt: str) -> Write:
        def write() -> None:
            context = graph.init_execution_context()
            context.set_input(0, prompt.encode())
            for _ in context.pieces():
                pass

        return write

    return [writing(prompt) for prompt in PROMPTS]


def by_guests(graph: wasi_nn.Graph) -> list[Write]:
    """Guests that read each piece, one for each text."""
    return [pieces_through_a_guest(graph, prompt.encode())[0] for prompt in PROMPTS]


def measure_texts(model: Path) -> None:
    """Print the table of texts at once."""
    graph = wasi_nn.load(model, options=OPTIONS)
    isolated = wasi_nn.load(model, options=OPTIONS, rules=wasi_nn.LoadRules(isolate=True))
    writers = {
        DIRECTLY: directly(model),
        "execution contexts": by_contexts(graph),
        "guests": by_guests(graph),
        "isolated contexts": by_contexts(isolated),
    }
    print(f"| SmolLM2, {TOKENS} tokens each | texts at once | tokens/s in all | time, as a ratio |")
    print("|---|---|---|---|")
    for count in (1, 2, SLOTS):
        times = side_by_side({name: at_once(writes[:count]) for name, writes in writers.items()}, ROUNDS)
        for name, taken in times.items():
            speed = f"{count * TOKENS / best(taken):.1f}"
            print(f"| {name} | {count} | {speed} | {ratio(taken, times[DIRECTLY])} |")


def asked(question: str) -> str:
    """A question in the model's template, and the beginning of the answer."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def first_token(context: wasi_nn.ExecutionContext, prompt: str) -> float:
    """The seconds from the prompt to the first piece. The sequence goes on."""
    context.set_input(0, prompt.encode())
    return seconds(context.compute_single)


def conversation(first: Callable[[str], float], whole: Callable[[], str]) -> float:
    """The seconds to the first token of the fifth turn. `first` begins the answer to a prompt, `whole` gives it."""
    prompt, taken = "", 0.0
    for question in QUESTIONS:
        prompt += asked(question)
        taken = first(prompt)
        prompt += f"{whole()}<|im_end|>\n"
    return taken


def with_a_context(graph: wasi_nn.Graph) -> float:
    """A conversation in a new context."""
    context = graph.init_execution_context()

    def first(prompt: str) -> float:
        return first_token(context, prompt)

    def whole() -> str:
        answer = bytes(context.single_output_bytes(0))
        try:
            while True:
                context.compute_single()
                answer += bytes(context.single_output_bytes(0))
        except EndOfSequence:
            return answer.decode()

    return conversation(first, whole)


def with_a_slot(server: Any) -> float:
    """A conversation in a slot of xllamacpp's server, which keeps its tokens."""
    answer: list[str] = []

    def first(prompt: str) -> float:
        answer.clear()
        begun = time.perf_counter()
        times: list[float] = []

        def take(chunk: dict[str, Any]) -> None:
            times.append(time.perf_counter())
            answer.append(chunk["choices"][0]["text"])

        request = {"prompt": prompt, "stream": True, "temperature": 0, "max_tokens": ANSWER_TOKENS}
        server.handle_completions(
            {**request, "id_slot": 0, "cache_prompt": len(prompt) > len(asked(QUESTIONS[0]))}, take
        )
        return times[0] - begun

    return conversation(first, lambda: "".join(answer))


def measure_conversation(model: Path) -> None:
    """Print the table of the fifth turn."""
    options = {"ctx-size": CONTEXT, "n-predict": ANSWER_TOKENS, "temp": 0}
    graph = wasi_nn.load(model, options=options)
    plain = wasi_nn.load(model, options={**options, "reproducible": True})
    server = served(model)
    calls: dict[str, Callable[[], float]] = {
        "of one turn": lambda: first_token(graph.init_execution_context(), f"<|im_end|>\n{asked(QUESTIONS[-1])}"),
        "of the fifth turn": lambda: with_a_context(graph),
        "of the fifth turn, a slot of xllamacpp": lambda: with_a_slot(server),
        "of the fifth turn, `reproducible`": lambda: with_a_context(plain),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(call())
    print("\n| first token | time | as a ratio |")
    print("|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {1e3 * best(taken):.0f} ms | {ratio(taken, times['of one turn'])} |")


def main() -> None:
    """Print both tables."""
    model = models.smollm2()
    measure_texts(model)
    measure_conversation(model)


if __name__ == "__main__":
    main()
