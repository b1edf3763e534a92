"""Inferences of one input: loop GRAPH INPUT ROUNDS [COUNT]. COUNT is the number of elements, 4 if it isn't given."""

import sys
from array import array

from wasi_nn_guest import Graph, Tensor, command


def main() -> None:
    name, input_name, rounds, *count = sys.argv[1:]
    x = array("f", [1, -1, 2, -2]) * (int(count[0]) // 4 if count else 1)
    y = array("f", bytes(4 * len(x)))
    with Graph.load_by_name(name) as graph, graph.context() as context:
        for _ in range(int(rounds)):
            context.set_input_at(0, input_name, Tensor([len(x)], x))
            context.compute()
            context.output_into(0, y)
    assert y[0] == 1


Run = command(main)
