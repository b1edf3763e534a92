"""infer: a component guest in Python. Feeds numbers to a graph's inputs and prints its outputs.

    infer (--graph NAME | --model FILE) [INPUT=TYPE:DIMS:VALUES]...

for example `x=FP32:1,4:0.5,1,-2,3`. DIMS and VALUES are separated by commas; one value alone fills the tensor.
"""

import array
import math
import sys

from componentize_py_types import Err
from wit_world.imports import errors, graph
from wit_world.imports.graph import ExecutionTarget, GraphEncoding
from wit_world.imports.tensor import Tensor, TensorType

CODES = {"FP32": "f", "FP64": "d", "U8": "B", "I32": "i", "I64": "q"}


def tensor_of(text):
    kind, dims, values = text.split(":")
    dims = [int(dim) for dim in dims.split(",")]
    convert = float if CODES[kind] in "fd" else int
    values = [convert(value) for value in values.split(",")]
    if len(values) == 1:
        values *= math.prod(dims)
    return Tensor(dims, TensorType[kind], array.array(CODES[kind], values).tobytes())


def open_graph(option, value):
    if option == "--graph":
        return graph.load_by_name(value)
    with open(value, "rb") as file:
        return graph.load([file.read()], GraphEncoding.AUTODETECT, ExecutionTarget.CPU)


def infer(arguments):
    if len(arguments) < 2 or arguments[0] not in ("--graph", "--model"):
        sys.exit("usage: infer (--graph NAME | --model FILE) [INPUT=TYPE:DIMS:VALUES]...")
    with open_graph(*arguments[:2]) as model, model.init_execution_context() as context:
        inputs = [argument.split("=", 1) for argument in arguments[2:]]
        outputs = context.compute([(name, tensor_of(text)) for name, text in inputs])
        for name, output in outputs:
            with output:
                values = array.array(CODES[output.ty().name], output.data())
                shown = ", ".join(f"{value:g}" for value in values[:10])
                more = f", ... ({len(values)} values)" if len(values) > 10 else ""
                print(f"{name}: {output.ty().name} {output.dimensions()}: {shown}{more}")


class Run:
    """What `wasi:cli/run` calls."""

    def run(self) -> None:
        try:
            infer(sys.argv[1:])
        except Err as failure:
            error = failure.value
            if isinstance(error, errors.Error):
                print(f"infer: {error.data()} [{error.code().name}]", file=sys.stderr)
            raise Err(None) from None
