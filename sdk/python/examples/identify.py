"""What is in these files? By the model of Magika, from their bytes alone.

    identify GRAPH LABELS FILE...

The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.
"""

import sys
from array import array
from pathlib import Path

from wasi_nn_guest import Graph, Tensor, Type, command

SEEN = 1024
BLOCK = 4096
NO_BYTE = array("i", [256])
FEWEST_BYTES = 8


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit("usage: identify GRAPH LABELS FILE...")
    graph_name, labels_path, *files = sys.argv[1:]
    labels = Path(labels_path).read_text(encoding="utf-8").split()
    with Graph.load_by_name(graph_name) as graph, graph.context() as context:
        for file in files:
            features = features_of(Path(file).read_bytes())
            if features[FEWEST_BYTES - 1] == NO_BYTE[0]:
                print(f"{file}: too short to tell")
                continue
            context.set_input_at(0, "bytes", Tensor([1, 2 * SEEN], features))
            context.compute()
            scores = context.output(0, Type.F32)
            best = max(scores)
            print(f"{file}: {labels[scores.index(best)]}, {int(100 * best + 0.5)} %")


def features_of(content: bytes) -> array[int]:
    first = array("i", list(content[:BLOCK].lstrip()[:SEEN]))
    last = array("i", list(content[-BLOCK:].rstrip()[-SEEN:]))
    return first + NO_BYTE * (SEEN - len(first)) + NO_BYTE * (SEEN - len(last)) + last


Run = command(main)
