"""wasi-nn for guests in Python: components that componentize-py builds.

    from array import array
    from wasi_nn_guest import Graph, Tensor, command

    def main() -> None:
        with Graph.load_by_name("net") as graph, graph.context() as context:
            context.set_input_at(0, "x", Tensor([1, 4], array("f", [0.5, -1.0, 2.0, 3.0])))
            context.compute()
            print(context.output(0))  # array('f', ...)

    Run = command(main)

A call that fails raises an `NNError` with a `code` and a `message`. Graphs and contexts are given back by `with`, by
`close()`, or when Python frees them. Elements pass as whole buffers, without a loop.
"""

from .command import command
from .context import Context
from .description import ANY, BYTE_STRING, Description, Dimension, ElementType, TensorDescription
from .error import NNError
from .graph import Graph
from .numbers import Code, Encoding, Target, Type
from .tensor import Tensor

__all__ = [
    "ANY",
    "BYTE_STRING",
    "Code",
    "Context",
    "Description",
    "Dimension",
    "ElementType",
    "Encoding",
    "Graph",
    "NNError",
    "Target",
    "Tensor",
    "TensorDescription",
    "Type",
    "command",
]
