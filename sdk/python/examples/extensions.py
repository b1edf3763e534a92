"""The extensions: descriptions, signatures, variables, byte strings and sequences.

The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back,
and `speller`, which spells a word letter by letter and fails at `?`.
"""

from array import array
from collections.abc import Callable, Sequence

from wasi_nn_guest import Context, Description, Graph, NNError, Tensor, TensorDescription, Type, command


def main() -> None:
    named()
    learner()
    strings()
    spelling()


def named() -> None:
    inputs = {
        "i64": Tensor([2], array("q", [7, -8])),
        "f16": Tensor([2], bytes(4), Type.F16),
        "u8": Tensor([2], bytes([5, 6])),
        "f32": Tensor([2], array("f", [1, 2])),
        "f64": Tensor([2], array("d", [3, 4])),
        "i32": Tensor([2], array("i", [3, 4])),
    }
    with Graph.load_by_name("types") as graph, graph.context() as context:
        for name, tensor in context.compute_named(inputs).items():
            print(f"{name}: {tensor.type} {list(tensor.dims)}, {len(tensor.data)} bytes")
        print("unknown input:", code(lambda: context.compute_named({"none": Tensor([1], b"\1")})))
        for name, tensor in inputs.items():
            context.set_input_named(name, tensor)
        context.compute()
        name, output = context.output_tensor(5)
        print("by name:", name, output.array().tolist())
        print("of another type:", code(lambda: output.array(Type.F64)))


def learner() -> None:
    with Graph.load_by_name("learner") as graph:
        show(graph.describe())
        print("unknown signature:", code(lambda: graph.use_signature("none")))
        with graph.use_signature("train") as trained, trained.context() as training:
            print("train:", learn(training, [1, 2]))
            state = graph.state()
            print("state:", len(state), "bytes")
            print("train:", learn(training, [1, 2]))
        print("infer:", infer(graph))
        graph.set_state(state)
        print("restored:", infer(graph))
        print("bad state:", code(lambda: graph.set_state(b"no state")))
    with Graph.load_by_name("echo") as echo:
        print("no state:", code(echo.state))


def infer(graph: Graph) -> list[int]:
    with graph.context() as context:
        return learn(context, [1, 1])


def learn(context: Context, x: Sequence[float]) -> list[int]:
    context.set_input_at(0, "x", Tensor([2], array("f", x)))
    context.compute()
    return [int(number) for number in context.output(0, Type.F32)]


def show(description: Description) -> None:
    print(f"{description.encoding} on {description.runtime} ({description.device})")
    print(f"signature {description.signature} of {', '.join(description.signatures)}")
    for tensor in description.inputs:
        show_tensor("input", tensor)
    for tensor in description.outputs or ():
        show_tensor("output", tensor)
    for key, text in description.metadata.items():
        print(f"{key}: {text}")


def show_tensor(what: str, tensor: TensorDescription) -> None:
    dims = "..." if tensor.dims is None else ", ".join("?" if dim is None else str(dim) for dim in tensor.dims)
    print(f"{what} {tensor.name}: {tensor.element_type} [{dims}]")


def strings() -> None:
    with Graph.load_by_name("echo") as graph, graph.context() as context:
        show_tensor("input", graph.describe().inputs[0])
        context.set_strings_at(0, "x", [3], [b"ab", b"", "\u00e9".encode()])
        context.compute()
        print("strings:", *(f"'{text.decode()}'" for text in context.strings(0)))
        context.set_strings_at(0, "x", [2], [b"a", b"b", b"c"])  # three, where the dims say two
        print("wrong number:", code(context.compute))


def spelling() -> None:
    with Graph.load_by_name("speller") as graph, graph.context() as context:
        print("sequence:", spell(context, b"abc"))
        print("failing:", spell(context, b"d?"))
        context.set_input_at(0, "prompt", Tensor([3], b"xyz"))
        context.begin_sequence()
        context.next_of_sequence()
        context.end_sequence()
        print("after its end:", code(lambda: context.output(0)))


def spell(context: Context, word: bytes) -> str:
    context.set_input_at(0, "prompt", Tensor([len(word)], word))
    letters: list[str] = []
    try:
        letters += (piece[0].data.decode() for piece in context.pieces())
    except NNError as error:
        return " ".join([*letters, error.code])
    return " ".join([*letters, "end"])


def code(action: Callable[[], object]) -> str:
    """The code of a call that may fail."""
    try:
        action()
    except NNError as error:
        return error.code
    return "success"


Run = command(main)
