"""A guest in Python: it tells the colour of a red square. Your own begins here."""

import sys
from array import array
from pathlib import Path

from wasi_nn_guest import Code, Encoding, Graph, NNError, Tensor, Type, command

SIZE = 8
LABELS = ["black", "white", "red", "green", "blue", "yellow"]


def colours() -> Graph:
    """The model that the operator named, or else the one in the guest's own directory."""
    try:
        return Graph.load_by_name("colours")
    except NNError as error:
        if error.code is not Code.NOT_FOUND:
            raise
    print("no graph is named colours here: loading colours.onnx")
    try:
        model = Path("colours.onnx").read_bytes()
    except OSError as error:
        sys.exit(f"colours.onnx: {error.strerror}: give the guest this directory, --dir .")
    return Graph.load([model], Encoding.ONNX)


def main() -> None:
    red, others = array("f", [0.9]), array("f", [-0.9])
    picture = red * SIZE**2 + others * 2 * SIZE**2  # the red channel comes first
    with colours() as graph, graph.context() as context:
        context.set_input_at(0, "picture", Tensor([1, 3, SIZE, SIZE], picture))
        context.compute()
        scores = context.output(0, Type.F32)
    print(LABELS[scores.index(max(scores))])


Run = command(main)
