"""What is in these pictures? The five best labels of each.

    classify GRAPH INPUT LABELS PICTURE...

A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
[1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.
"""

import math
import re
import sys
from array import array

from wasi_nn_guest import Graph, Tensor, Type, command

HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")
NUMBERS = [(byte - 127) / 128 for byte in range(256)]


def main() -> None:
    if len(sys.argv) < 5:
        sys.exit("usage: classify GRAPH INPUT LABELS PICTURE...")
    graph_name, input_name, labels_path, *pictures = sys.argv[1:]
    with open(labels_path, encoding="utf-8") as file:
        labels = file.read().splitlines()
    with Graph.load_by_name(graph_name) as graph, graph.context() as context:
        for picture in pictures:
            context.set_input_at(0, input_name, image_of(picture))
            context.compute()
            print(picture)
            show_best(context.output(0, Type.F32), labels)


def show_best(scores: array[float], labels: list[str]) -> None:
    """Print the five best labels with their share of all."""
    greatest = max(scores)
    shares = [math.exp(score - greatest) for score in scores]
    total = sum(shares)
    for place in sorted(range(len(shares)), key=shares.__getitem__, reverse=True)[:5]:
        print(f"  {int(100 * shares[place] / total + 0.5):3} %  {labels[place] if place < len(labels) else '?'}")


def image_of(path: str) -> Tensor:
    """A picture as the model takes it."""
    with open(path, "rb") as file:
        content = file.read()
    header = HEADER.match(content)
    if header is None:
        sys.exit(f"{path} is no binary PPM of one byte a colour")
    width, height = map(int, header.groups())
    pixels = content[header.end() : header.end() + 3 * width * height]
    image = array("f")
    for colour in range(3):  # the model takes all reds first, then all greens
        image.extend(map(NUMBERS.__getitem__, pixels[colour::3]))
    return Tensor([1, 3, height, width], image)


Run = command(main)
