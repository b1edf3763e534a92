"""ext: a component guest in Python that uses the extensions of wasi-nn.

    ext stream GRAPH PROMPT [OPTIONS]          prints the text of a language model piece by piece; OPTIONS is JSON
    ext learn GRAPH STEPS X Y [--state FILE]   trains a classifier, and prints its loss and how many rows it tells

X and Y are files with the inputs x (f32, a row for each label) and y (labels, i64) of the model's signature `train`,
which is run STEPS times. The first output of the signature `infer` is a label for each row of x, or a score for each
label. The model's variables are those of FILE at first, if that exists, and are written there at the end.
"""

import array
import os
import sys

from componentize_py_types import Err
from wit_world.imports import errors, graph, sequences, signatures, state
from wit_world.imports.tensor import Tensor, TensorType

CODES = {TensorType.FP32: "f", TensorType.FP64: "d", TensorType.I32: "i", TensorType.I64: "q"}


def text_tensor(text):
    content = text.encode()
    return Tensor([len(content)], TensorType.U8, content)


def stream(name, prompt, options=None):
    inputs = [("prompt", text_tensor(prompt))]
    if options is not None:
        inputs.append(("options", text_tensor(options)))
    with graph.load_by_name(name) as model, model.init_execution_context() as context:
        with sequences.begin(context, inputs) as sequence:
            while (outputs := sequence.next()) is not None:
                (_, piece), *others = outputs
                sys.stdout.buffer.write(piece.data())
                sys.stdout.buffer.flush()
                for tensor in (piece, *(other for _, other in others)):
                    tensor.__exit__(None, None, None)
    print()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def numbers_of(outputs):
    """The numbers of the first output."""
    with outputs[0][1] as tensor:
        return array.array(CODES[tensor.ty()], tensor.data())


def learn(name, steps, x_path, y_path, option=None, state_path=None):
    x, y = read(x_path), read(y_path)
    labels = array.array("q", y).tolist()
    rows, columns = len(labels), len(x) // 4 // len(labels)
    with graph.load_by_name(name) as model:
        with signatures.use_signature(model, "train") as trained, signatures.use_signature(model, "infer") as used:
            if option == "--state" and os.path.exists(state_path):
                state.state_set(model, read(state_path))
            with trained.init_execution_context() as training, used.init_execution_context() as inferring:
                for _ in range(int(steps)):
                    inputs = [
                        ("x", Tensor([rows, columns], TensorType.FP32, x)),
                        ("y", Tensor([rows], TensorType.I64, y)),
                    ]
                    (loss,) = numbers_of(training.compute(inputs))
                    print(f"loss {loss:.4f}")
                told = numbers_of(inferring.compute([("x", Tensor([rows, columns], TensorType.FP32, x))])).tolist()
        count = len(told) // rows
        if count > 1:  # a score for each label
            scores = (told[at : at + count] for at in range(0, len(told), count))
            told = [row.index(max(row)) for row in scores]
        print(f"{sum(map(int.__eq__, told, labels))} of {rows} rows")
        if option == "--state":
            with open(state_path, "wb") as file:
                file.write(state.state_get(model))


def main():
    commands = {"stream": stream, "learn": learn}
    try:
        if len(sys.argv) < 4 or sys.argv[1] not in commands:
            sys.exit("usage: ext stream GRAPH PROMPT [OPTIONS] | ext learn GRAPH STEPS X Y [--state FILE]")
        commands[sys.argv[1]](*sys.argv[2:])
    except Err as failure:
        error = failure.value
        if isinstance(error, errors.Error):
            print(f"ext: {error.data()} [{error.code().name}]", file=sys.stderr)
        raise Err(None) from None


class Run:
    """What `wasi:cli/run` calls."""

    def run(self) -> None:
        main()
