"""wasi-nn:ext in components: every function of every interface, the mistakes of guests, large data, and what a host
allows."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_models
import pytest
import wasmtime
from driven_component import ENGINE, Driven, GuestFailed, driver
from driven_extensions import Extended
from extension_graphs import Echo, Learner, Speller
from safetensors.numpy import load, save
from wasmtime import Store
from wasmtime.component import Linker

import wasi_nn
from wasi_nn import Graph, Limits, Session, TensorInfo
from wasi_nn.abi.component import host_functions
from wasi_nn.abi.component.bridge import VERSIONS
from wasi_nn.graph.byte_strings import MAX_STRINGS

if TYPE_CHECKING:
    from wasi_nn.abi.component.linking import Define
    from wasi_nn.types import Array

TRAP = (wasmtime.Trap, wasmtime.WasmtimeError)
PART = 256 << 10  # bytes: the bridge splits data into parts of this size


@pytest.fixture(params=["raw", "public"])
def define(request: pytest.FixtureRequest) -> Define:
    """Run the test with both ways of defining host functions."""
    return host_functions.define_raw if request.param == "raw" else host_functions.define_public


@pytest.fixture
def speller() -> Speller:
    return Speller()


@pytest.fixture
def session(speller: Speller) -> Iterator[Session]:
    """A session with some graphs."""
    graphs: dict[str, Graph | bytes] = {
        "relu": onnx_models.relu(["batch", 3, "?"]),
        "scalar": onnx_models.identity(dims=()),
        "strings": onnx_models.strings(),
        "speller": speller,
        "learner": Learner(),
        "odd": Odd(),
        "echo": Echo(),
    }
    with Session(graphs) as session:
        yield session


@pytest.fixture(params=[True, False], ids=["with the shim", "through the bridge"])
def guest(request: pytest.FixtureRequest, session: Session, define: Define) -> Extended:
    return Extended(session, define, direct=request.param)


@pytest.fixture
def extended(session: Session) -> Extended:
    return Extended(session)


def word(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def fails(code: str, match: str, call: Callable[..., object], *arguments: Any) -> None:
    """Check that a call returns an error to the guest, with this code and a text that matches."""
    with pytest.raises(GuestFailed, match=match) as failure:
        call(*arguments)
    assert failure.value.code == code


class Odd(Graph):
    """A graph whose description has everything."""

    runtime, device, signature, signatures = "r\u00fcntime", "", "s", ("s", "", "t" * 1000)
    outputs_vary = True

    def __init__(self) -> None:
        inputs = [
            TensorInfo("", np.dtype(np.int8), (0, 2**32 - 1, 2**40, "n", "?")),
            TensorInfo("any", None, None, optional=True),
            TensorInfo("strings", np.dtype(object), (), "tensor(string)"),
        ]
        super().__init__(inputs, [], {f"key {number}": "text" * number for number in range(50)})

    def runner(self) -> Any:
        raise NotImplementedError


# describe


def test_a_description(guest: Extended) -> None:
    graph = guest.load_by_name("relu")
    description = guest.describe(graph)
    shape = ["batch", 3, None]
    assert description == {
        "encoding": "onnx",
        "runtime": "onnxruntime",
        "device": "cpu",
        "signature": "",
        "signatures": [],
        "inputs": [("x", ("number", "float32"), shape, False)],
        "outputs": [("y", ("number", "float32"), shape, False)],
        "metadata": guest.session.describe(graph).metadata,
    }
    guest("drop-graph", graph)
    assert guest.session.used("handles") == 0


def test_a_scalar_has_no_dimensions_and_a_text_is_bytes(extended: Extended) -> None:
    assert extended.describe(extended.load_by_name("scalar"))["inputs"] == [("x", ("number", "float32"), [], False)]
    described = extended.describe(extended.load_by_name("speller"))
    assert [name for name, *_ in described["outputs"]] == ["letter", "count"]


def test_a_description_of_everything(guest: Extended) -> None:
    description = guest.describe(guest.load_by_name("odd"))
    assert description["inputs"] == [
        ("", ("native", "int8"), [0, 2**32 - 1, None, "n", None], False),
        ("any", "any", None, True),
        ("strings", "byte-string", [], False),
    ]
    assert description["outputs"] is None
    assert (description["runtime"], description["device"]) == ("r\u00fcntime", "")
    assert (description["signature"], description["signatures"]) == ("s", ["s", "", "t" * 1000])
    assert description["metadata"] == {f"key {number}": "text" * number for number in range(50)}


def test_metadata_that_the_operator_keeps(speller: Speller) -> None:
    with Session({"learner": Learner()}, show_metadata=False) as session:
        guest = Extended(session)
        assert guest.describe(guest.load_by_name("learner"))["metadata"] == {}


def test_descriptions_again_and_again_leave_nothing(extended: Extended) -> None:
    graph = extended.load_by_name("odd")
    before = extended.session.used("handles")
    extended("describe-often", graph, 1000)
    assert extended.session.used("handles") == before


# signatures and state


def test_signatures_share_variables(guest: Extended) -> None:
    graph = guest.load_by_name("learner")
    train = guest.use_signature(graph, "train")
    assert guest.describe(train)["signature"] == "train"
    learning, inferring = guest.init_execution_context(train), guest.init_execution_context(graph)
    guest.infer(learning, {"x": f32(2, 3)}, ["y"])
    assert guest.infer(inferring, {"x": f32(1, 1)}, ["y"])["y"].tolist() == [3, 4]
    fails(
        "not-found",
        "no signature is named 'nope'; the graph's signatures: 'infer', 'train'",
        guest.use_signature,
        graph,
        "nope",
    )
    fails("not-found", "the name of the signature has 70000 characters", guest.use_signature, graph, "n" * 70_000)
    for context in (learning, inferring):
        guest("drop-context", context)
    for item in (graph, train):
        guest("drop-graph", item)
    assert guest.session.used("handles") == 0


def test_state_is_kept_and_set_again(guest: Extended) -> None:
    graph = guest.load_by_name("learner")
    saved = guest.state_get(graph)
    assert {name: value.tolist() for name, value in load(saved).items()} == {"factor": [1, 1]}
    context = guest.init_execution_context(graph)
    guest.state_set(graph, save({"factor": f32(5, 7)}))
    assert guest.infer(context, {"x": f32(1, 2)}, ["y"])["y"].tolist() == [5, 14]
    guest.state_set(graph, saved)
    assert guest.infer(context, {"x": f32(1, 2)}, ["y"])["y"].tolist() == [1, 2]
    guest("drop-context", context)
    guest("drop-graph", graph)
    assert guest.session.used("handles") == guest.session.used("tensor_bytes") == 0


def test_a_state_that_does_not_fit_changes_nothing(guest: Extended) -> None:
    graph = guest.load_by_name("learner")
    for state, message in (
        (b"", "isn't a safetensors file"),
        (b"\xff" * 100, "isn't a safetensors file"),
        (save({"other": f32(1, 1)}), "no variable is named 'other'"),
        (save({"factor": f32(1, 1, 1)}), "is f32"),
    ):
        fails("invalid-argument", message, guest.state_set, graph, state)
    assert load(guest.state_get(graph))["factor"].tolist() == [1, 1]
    guest("drop-graph", graph)
    assert guest.session.used("handles") == guest.session.used("tensor_bytes") == 0


def test_a_graph_without_variables(extended: Extended) -> None:
    graph = extended.load_by_name("relu")
    fails("unsupported-operation", "no variables", extended.state_get, graph)
    fails("unsupported-operation", "no variables", extended.state_set, graph, save({"factor": f32(1)}))
    fails("unsupported-operation", "no variables", extended.use_signature, graph, "")


@pytest.mark.parametrize("values", [0, 1, PART // 4 - 40, PART // 4, 5 * PART // 4 + 1, 3_000_000])
def test_a_state_of_any_size(values: int) -> None:
    with Session({"learner": Learner(values)}) as session:
        guest = Extended(session)
        graph = guest.load_by_name("learner")
        factor = np.random.default_rng(1).random(values, np.float32)
        guest.state_set(graph, save({"factor": factor}))
        assert load(guest.state_get(graph))["factor"].tobytes() == factor.tobytes()
        assert session.used("tensor_bytes") == 0


def test_a_state_above_the_limit_is_an_error() -> None:
    with Session({"learner": Learner(1000)}, limits=Limits(tensor_bytes=3000)) as session:
        guest = Extended(session)
        graph = guest.load_by_name("learner")
        fails("too-large", "tensor", guest.state_get, graph)
        fails("too-large", "tensor", guest.state_set, graph, save({"factor": np.ones(1000, np.float32)}))
        assert session.used("handles") == 1


# sequences


def test_a_sequence_gives_its_pieces(guest: Extended, speller: Speller) -> None:
    context = guest.context("speller")
    sequence = guest.begin(context, {"prompt": word("abc")})
    outputs = guest.next(sequence)
    assert outputs is not None
    assert [(name, guest.data(tensor)) for name, tensor in outputs] == [("letter", b"a"), ("count", b"1")]
    for _, tensor in outputs:
        guest("drop-tensor", tensor)
    assert guest.pieces(sequence) == [b"b", b"c"]
    assert guest.next(sequence) is None
    guest("drop-sequence", sequence)
    guest("drop-context", context)
    assert speller.closed == ["abc"]
    assert guest.session.used("handles") == 0


def test_a_dropped_sequence_ends(extended: Extended, speller: Speller) -> None:
    context = extended.context("speller")
    sequence = extended.begin(context, {"prompt": word("abc")})
    extended.next(sequence)
    assert not speller.closed
    extended("drop-sequence", sequence)
    assert speller.closed == ["abc"]


@pytest.mark.parametrize("by", ["begin", "compute"])
def test_another_use_of_the_context_ends_a_sequence(extended: Extended, speller: Speller, by: str) -> None:
    context = extended.context("speller")
    first = extended.begin(context, {"prompt": word("abc")})
    extended.next(first)
    if by == "begin":
        second = extended.begin(context, {"prompt": word("xy")})
        fails("invalid-argument", "the sequence was ended by another sequence", extended.next, first)
        extended("drop-sequence", first)
        assert extended.pieces(second) == [b"x", b"y"], "the first one is gone, and the second one goes on"
    else:
        extended.compute_named(context, [("prompt", extended.tensor(word("xy")))])
        fails("invalid-argument", "the sequence was ended by another sequence, a compute", extended.next, first)
    assert speller.closed[0] == "abc"


def test_a_sequence_outlives_its_context_and_graph(extended: Extended, speller: Speller) -> None:
    graph = extended.load_by_name("speller")
    context = extended.init_execution_context(graph)
    sequence = extended.begin(context, {"prompt": word("abc")})
    extended("drop-graph", graph)
    extended("drop-context", context)
    assert extended.session.used("contexts") == 1
    assert extended.pieces(sequence) == [b"a", b"b", b"c"]
    extended("drop-sequence", sequence)
    assert extended.session.used("contexts") == extended.session.used("handles") == 0


def test_contexts_that_sequences_keep_are_limited(speller: Speller) -> None:
    with Session({"speller": speller}, limits=Limits(contexts=3)) as session:
        guest = Extended(session)
        sequences = []
        for _ in range(3):
            context = guest.context("speller")
            sequences += [guest.begin(context, {"prompt": word("ab")}) for _ in range(2)]
            guest("drop-context", context)
        fails("too-large", "contexts", guest.context, "speller")
        guest("drop-sequence", sequences[0])
        fails("too-large", "contexts", guest.context, "speller")
        guest("drop-sequence", sequences[1])
        guest("drop-context", guest.context("speller"))


def test_a_sequence_that_fails(extended: Extended, speller: Speller) -> None:
    context = extended.context("speller")
    sequence = extended.begin(context, {"prompt": word("a?b")})
    extended.next(sequence)
    fails("runtime-error", "what", extended.next, sequence)
    fails("invalid-argument", "the sequence was ended", extended.next, sequence)


def test_wrong_inputs_of_a_sequence_are_gone(guest: Extended) -> None:
    context = guest.context("speller")
    before = guest.session.used("handles")
    for name, message in (("nope", "nope"), ("n" * 70_000, "the name of the input has 70000 characters")):
        tensor = guest.tensor(word("abc"))
        fails("invalid-argument", message, guest.begin_with, context, [(name, tensor)])
    fails("invalid-argument", "prompt", guest.begin_with, context, [])
    assert guest.session.used("handles") == before
    relu = guest.context("relu")
    inputs = {"x": np.zeros((1, 3, 1), np.float32)}
    fails("unsupported-operation", "all at once, not piece by piece", guest.begin, relu, inputs)


def test_a_tensor_is_passed_once(extended: Extended) -> None:
    context, tensor = extended.context("speller"), extended.tensor(word("abc"))
    extended.begin_with(context, [("prompt", tensor)])
    with pytest.raises(TRAP):
        extended.begin_with(context, [("prompt", tensor)])


def test_too_many_handles(speller: Speller) -> None:
    with Session({"speller": speller}, limits=Limits(handles=4)) as session:
        guest = Extended(session)
        context = guest.context("speller")
        sequence = guest.begin(context, {"prompt": word("abc")})
        tensor = guest.tensor(word("x"))
        fails("too-large", "handles", guest.next, sequence)  # two outputs, and one handle
        guest("drop-tensor", tensor)
        assert session.used("handles") == 2


# byte strings


STRINGS = [b"", b"a", b"\xff\x00", "\u00e9".encode() * 1000, b""]


def test_strings_become_a_tensor_and_back(guest: Extended) -> None:
    tensor = guest.strings_tensor(STRINGS)
    assert guest("tensor-dimensions", tensor) == [5]
    assert guest("tensor-type", tensor) == 4
    assert guest.strings(tensor) == guest.array_of_strings(tensor) == STRINGS
    guest("drop-tensor", tensor)
    assert guest.session.used("handles") == guest.session.used("tensor_bytes") == 0


@pytest.mark.parametrize(("dims", "count"), [([], 1), ([0], 0), ([2, 3], 6), ([5, 0, 7], 0), ([1] * 64, 1)])
def test_dimensions_of_strings(extended: Extended, dims: list[int], count: int) -> None:
    strings = [b"%d" % number for number in range(count)]
    tensor = extended.strings_tensor(strings, dims)
    assert extended("tensor-dimensions", tensor) == dims
    assert extended.strings(tensor) == strings


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([2], r"byte strings\[2\] are 2 strings, got 3"),
        ([3, 2**32 - 1, 2**32 - 1], "got 3"),
        ([1] * 65, "rank 65, above 64"),
    ],
)
def test_strings_that_do_not_fit_their_dimensions(extended: Extended, dims: list[int], message: str) -> None:
    fails("invalid-argument", message, extended.strings_tensor, [b"a", b"b", b"c"], dims)
    assert extended.session.used("handles") == extended.session.used("tensor_bytes") == 0


def test_a_tensor_of_numbers_has_no_strings(extended: Extended) -> None:
    tensor = extended.tensor(np.zeros(4, np.uint8))
    fails("invalid-argument", "the tensor has numbers of u8, not byte strings", extended.strings, tensor)
    absurd = extended.raw_tensor([7] * 100_000, 4, b"")
    with pytest.raises(GuestFailed) as failure:
        extended.strings(absurd)
    assert len(failure.value.data) < 100


@pytest.mark.parametrize("graph", ["echo", "strings"])
def test_a_model_of_strings(guest: Extended, graph: str) -> None:
    context = guest.context(graph)
    texts = [b"", b"one", "zw\u00f6lf".encode(), b"x" * 100_000]
    [(name, output)] = guest.compute_named(context, [("x", guest.strings_tensor(texts))])
    assert (name, guest.strings(output)) == ("y", texts)


def test_small_tensors_after_many_others(extended: Extended) -> None:
    """Small tensors may take a shorter way once a guest has made many: numbers stay numbers, and strings strings."""
    echo, speller = extended.context("echo"), extended.context("speller")
    for round_ in range(100):
        texts = [b"%d" % round_, b"", b"\xff"]
        [(_, output)] = extended.compute_named(echo, [("x", extended.strings_tensor(texts))])
        assert extended.strings(output) == extended.array_of_strings(output) == texts
        numbers = extended.tensor(np.zeros(4, np.uint8))
        fails("invalid-argument", "numbers of u8", extended.strings, numbers)
        assert extended.data(numbers) == bytes(4)
        sequence = extended.begin(speller, {"prompt": word("ab")})
        assert extended.pieces(sequence) == [b"a", b"b"]
        extended("drop-sequence", sequence)
        for tensor in (output, numbers):
            extended("drop-tensor", tensor)
    assert extended.session.used("handles") == 2


def test_a_guest_without_byte_strings_gets_an_error_as_ever(session: Session) -> None:
    guest = Driven(VERSIONS[-1], session)
    graph = guest.load_by_name("strings")
    fails(
        "unsupported-operation",
        "x",
        guest.compute_named,
        guest.init_execution_context(graph),
        [("x", guest.raw_tensor([1], 4, b"a"))],
    )
    assert not session.takes_byte_strings


def test_many_strings(extended: Extended) -> None:
    strings = [b"%d" % number for number in range(100_000)]
    tensor = extended.strings_tensor(strings, [100, 1000])
    assert extended.array_of_strings(tensor) == strings
    fails("too-large", f"at most {MAX_STRINGS}", extended.strings_tensor, [b""] * (MAX_STRINGS + 1))


def test_strings_above_the_limit_are_an_error() -> None:
    with Session(limits=Limits(tensor_bytes=1000)) as session:
        guest = Extended(session)
        fails("too-large", "tensor", guest.strings_tensor, [b"x" * 900, b"y" * 100])
        guest.strings_tensor([b"x" * 900])


# What a guest leaves behind


def test_what_a_guest_leaves_behind_ends_with_the_session(speller: Speller) -> None:
    learner = Learner()
    session = Session({"speller": speller, "learner": learner})
    guest = Extended(session)
    guest.next(guest.begin(guest.context("speller"), {"prompt": word("abc")}))
    graph = guest.load_by_name("learner")
    shared = weakref.ref(session._shared_variables.of(graph, learner))
    guest.init_execution_context(guest.use_signature(graph, "train"))
    guest.strings_tensor(STRINGS)
    assert shared() is not None
    session.close()
    del guest
    gc.collect()
    assert speller.closed == ["abc"]
    assert shared() is None
    assert all(session.used(limit) == 0 for limit in ("handles", "contexts", "tensor_bytes", "model_bytes"))


# Any order of calls


@pytest.mark.parametrize("seed", range(40))
def test_calls_in_any_order_leave_nothing(seed: int, speller: Speller) -> None:
    """A guest makes calls in a random order, drops what others still use, and gives wrong names, states and strings.
    Each call succeeds or is an error with a code, and in the end nothing is left."""
    random = Random(seed)
    limits = Limits(handles=random.choice((8, 100)), contexts=random.choice((2, 50)), tensor_bytes=1 << 20)
    graphs = {"speller": speller, "learner": Learner(), "echo": Echo(), "odd": Odd()}
    with Session(graphs, limits=limits) as session:
        guest = Extended(session, direct=random.random() < 0.5)
        held: dict[str, list[int]] = {"graph": [], "context": [], "sequence": [], "tensor": []}

        def one(kind: str) -> int:
            return random.choice(held[kind])

        def begin() -> None:
            context, name = one("context"), random.choice(("prompt", "prompt", "x", "\0"))
            if session.used("handles") == limits.handles:
                return  # the constructor of a tensor would trap
            tensor = guest.raw_tensor([3], 4, random.choice((b"abc", b"a?c", b"")))
            held["sequence"].append(guest.begin_with(context, [(name, tensor)]))

        def piece() -> None:
            outputs = guest.next(one("sequence"))
            held["tensor"] += [tensor for _, tensor in outputs or []]

        def compute() -> None:
            context = one("context")
            inputs = [("x", held["tensor"].pop())] if held["tensor"] else []
            held["tensor"] += [tensor for _, tensor in guest.compute_named(context, inputs)]

        def strings() -> None:
            texts = [random.randbytes(random.choice((0, 1, 70_000))) for _ in range(random.randrange(4))]
            dims = random.choice(([len(texts)], [], [2, 2], [0], [2**32 - 1] * 3))
            held["tensor"].append(guest.strings_tensor(texts, dims))

        def drop() -> None:
            kind = random.choice([*held])
            held[kind].remove(item := one(kind))
            guest(f"drop-{kind}", item)

        def state() -> None:
            saved = guest.state_get(one("graph"))
            guest.state_set(one("graph"), random.choice((saved, saved[:-1], b"", saved + b"x")))

        calls: tuple[Callable[[], object], ...] = (
            lambda: held["graph"].append(guest.load_by_name(random.choice([*graphs, "nope"]))),
            lambda: held["graph"].append(guest.use_signature(one("graph"), random.choice(("train", "infer", "s", "")))),
            lambda: held["context"].append(guest.init_execution_context(one("graph"))),
            lambda: guest.describe(one("graph")),
            lambda: guest.strings(one("tensor")),
            *(begin, piece, piece, compute, strings, drop, drop, state),
        )
        for _ in range(60):
            try:
                with suppress(GuestFailed, IndexError):  # IndexError: there is nothing to call it with
                    random.choice(calls)()
            except TRAP as trap:
                assert "Limits.handles" in str(trap), "where no handle is left for an error"
                return
        for kind, items in held.items():
            for item in items:
                guest(f"drop-{kind}", item)
        assert session.used("handles") == session.used("contexts") == session.used("tensor_bytes") == 0


# What the host allows


def test_an_interface_that_is_turned_off_is_missing() -> None:
    component = driver("ext")
    with Session(extensions=["describe", "sequences"]) as session:
        linker = Linker(ENGINE)
        wasi_nn.add_to_component_linker(linker, session, component)
        with pytest.raises(wasmtime.WasmtimeError, match="wasi-nn:bridge/uses-signatures"):
            linker.instantiate(Store(ENGINE), component)


@pytest.mark.parametrize(("name", "arguments"), [("describe", ()), ("use-signature", ("infer",)), ("state-get", ())])
def test_an_interface_that_is_turned_off_traps_if_it_is_defined_all_the_same(
    name: str, arguments: tuple[str, ...], extended: Extended
) -> None:
    with Session(extended.session.registry, extensions=["sequences"]) as session:
        linker, component = Linker(ENGINE), driver("ext")
        wasi_nn.add_to_component_linker(linker, session, component)
        linker.define_unknown_imports_as_traps(component)
        extended.store = Store(ENGINE)
        extended.instance = linker.instantiate(extended.store, component)
        assert not session.takes_byte_strings
        graph = extended.load_by_name("learner")
        with pytest.raises(TRAP, match=f"{name}: this session doesn't allow "):
            extended(name, graph, *arguments)


def test_a_linker_without_the_component_has_no_extensions(session: Session) -> None:
    linker = Linker(ENGINE)
    wasi_nn.add_to_component_linker(linker, session)
    with pytest.raises(wasmtime.WasmtimeError, match="wasi-nn:bridge/extensions"):
        linker.instantiate(Store(ENGINE), driver("ext"))


def test_a_linker_with_the_component(session: Session) -> None:
    linker, component = Linker(ENGINE), driver("ext")
    wasi_nn.add_to_component_linker(linker, session, component)
    linker.instantiate(Store(ENGINE), component)
    assert session.takes_byte_strings


def test_the_base_is_there_beside_the_extensions(guest: Extended) -> None:
    graph = guest.load([onnx_models.relu()])
    context = guest.init_execution_context(graph)
    assert guest.infer(context, {"x": f32(-1, 2, -3, 4)}, ["y"])["y"].tolist() == [0, 2, 0, 4]
    fails("not-found", "no graph is named", guest.load_by_name, "nope")
