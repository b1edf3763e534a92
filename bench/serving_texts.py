"""The cost of serving language models: four chats at once over HTTP, compared with four texts of the graph itself.

The model is SmolLM2 (135 million parameters, weights of four bits) in four slots, on as many threads in both cases. The
server is the command in a process of its own. The client is `http.client`, which reads the events of a stream. The
prompts are those that the model's chat template makes, and both write the same number of tokens.
"""

from __future__ import annotations

import http.client
import json
import tempfile
from pathlib import Path

import models
import serving

import wasi_nn
from bench.ratios import best, ratio, side_by_side
from bench.texts import Write, at_once

CHATS = 4
TOKENS = 96
ROUNDS = 9
QUESTIONS = ("Tell me of a castle.", "What is the sea?", "How do plants grow?", "Why do people sleep?")
OPTIONS = {"ctx-size": 1024, "ignore-eos": True, "temp": 0, "n-parallel": CHATS}
TEMPLATE = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def chatting(address: tuple[str, int], question: str) -> Write:
    """A chat whose answer is streamed."""
    request = {"model": "smollm2", "messages": [{"role": "user", "content": question}], "max_tokens": TOKENS}
    body = json.dumps(request | {"stream": True, "stream_options": {"include_usage": True}})

    def chat() -> None:
        connection = http.client.HTTPConnection(*address)
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        last = b""
        for line in response:
            if line.startswith(b"data: {"):
                last = line
        connection.close()
        if json.loads(last[6:]).get("usage", {}).get("completion_tokens") != TOKENS:
            raise SystemExit(f"{response.status}: {last!r}")

    return chat


def writing(graph: wasi_nn.Graph, question: str) -> Write:
    """A text of the graph, piece by piece, each time in a context of its own, as the server writes it."""
    prompt = TEMPLATE.format(question).encode()

    def write() -> None:
        context = graph.init_execution_context()
        context.set_input("prompt", prompt)
        context.set_input("options", json.dumps({"n-predict": TOKENS}).encode())
        if sum(1 for _ in context.pieces()) != TOKENS:
            raise SystemExit("the text has another number of tokens")

    return write


def main() -> None:
    """Print the table."""
    model = models.smollm2()
    with tempfile.TemporaryDirectory() as folder, wasi_nn.load(model, options=OPTIONS) as graph:
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in OPTIONS.items())
        file = Path(folder) / "graphs.toml"
        file.write_text(f"[graphs.smollm2]\npath = {json.dumps(str(model.absolute()))}\noptions = {{ {options} }}\n")
        with serving.command("--graphs", str(file)) as server:
            server.wait_until_ready()
            calls: dict[str, Write] = {
                "the graph": at_once([writing(graph, question) for question in QUESTIONS]),
                "chats over HTTP": at_once([chatting(server.http, question) for question in QUESTIONS]),
            }
            times = side_by_side(calls, ROUNDS)
    print(f"| {CHATS} texts at once, of {TOKENS} tokens | tokens a second | of the graph's |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {CHATS * TOKENS / best(taken):.0f} | {ratio(times['the graph'], taken)} |")


if __name__ == "__main__":
    main()
