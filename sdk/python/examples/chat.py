"""A talk with a language model, whose answers are printed as they are written, by sequences (an extension).

    chat GRAPH OPTIONS [MESSAGE]...

OPTIONS are the runtime's, in JSON. The messages are said one after the other; without any, each line of the standard
input is one. The model must be one that understands ChatML, as many small ones do. Contexts remember nothing: the whole
talk is the prompt each time.
"""

import sys
from collections.abc import Iterator

from wasi_nn_guest import Context, Graph, Tensor, command


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: chat GRAPH OPTIONS [MESSAGE]...")
    graph_name, options, *given = sys.argv[1:]
    with Graph.load_by_name(graph_name) as graph, graph.context() as context:
        context.set_input_at(1, "options", text(options.encode()))
        talk = bytearray()
        for message in spoken(given) if given else typed():
            say(context, talk, message)


def spoken(messages: list[str]) -> Iterator[str]:
    for message in messages:
        print(f"> {message}")
        yield message


def typed() -> Iterator[str]:
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.removesuffix("\n")


def say(context: Context, talk: bytearray, message: str) -> None:
    """Say a message, and print the model's answer."""
    talk += f"<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n".encode()
    context.set_input_at(0, "prompt", text(talk))
    for piece in context.pieces():
        sys.stdout.buffer.write(piece[0].data)
        sys.stdout.flush()
        talk += piece[0].data
    print()
    talk += b"<|im_end|>\n"


def text(content: bytes | bytearray) -> Tensor:
    return Tensor([len(content)], content)


Run = command(main)
