"""The module `wasi_nn_ext`, byte for byte: a core guest's calls of the extensions, their results, and the errno of each
mistake."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack, unpack
from typing import Any

import numpy as np
import onnx_models
import pytest
from core_guest import (
    DATA,
    DIMS,
    F32,
    I32,
    INVALID_ARGUMENT,
    NAME,
    NOT_FOUND,
    OUT,
    RUNTIME_ERROR,
    SUCCESS,
    TOO_LARGE,
    TRAP,
    UNSUPPORTED_OPERATION,
    CoreGuest,
    wat,
)
from description_records import Description, RecordReader, Tensor
from footprint import Footprint
from numpy_graphs import CLASSES, FEATURES, Counting, Described, Shouting, Trainable, Weights

import wasi_nn
from wasi_nn import Graph, Limits, TensorInfo
from wasi_nn.abi.core.dialects import ABIS
from wasi_nn.abi.core.extensions import FUNCTIONS, ExtensionFunctions
from wasi_nn.abi.description_record import MAX_RECORD
from wasi_nn.graph.outputs import Outputs
from wasi_nn.limits.usage import HeldBytes
from wasi_nn.session.policy import EXTENSIONS

pytestmark = pytest.mark.usefixtures("either_call")

MEMORY_SIZE = 16 * 65536
FEW = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32)
LABELS = np.array([0, 1, 2], np.int32)


def every_type() -> Graph:
    """A graph whose inputs have each kind of element type and dimension."""
    f32 = np.dtype(np.float32)
    numbers = [np.dtype(kind) for kind in ("f2", "f4", "f8", "u1", "i4", "i8")]
    inputs = [TensorInfo(f"number {n}", dtype, (2,)) for n, dtype in enumerate(numbers)]
    inputs += [
        TensorInfo("scalar", f32, ()),
        TensorInfo("any rank", f32, None),
        TensorInfo("any type", None, None, optional=True),
        TensorInfo("open", f32, ("batch", "?", 3, "", "\u00e4", 2**32 - 1, 2**32)),
        TensorInfo("text", np.dtype(object), ("n",), "string"),
        TensorInfo("map", np.dtype(object), None, "seq(map(int64,tensor(float)))"),
        TensorInfo("int8", np.dtype(np.int8), (1,)),
        TensorInfo("bf16", wasi_nn.TensorType.BF16.dtype, (1,)),
        TensorInfo.of_bytes("\u65e5\u672c", optional=True),
    ]
    return Described(inputs, [TensorInfo("y", f32, (1,))], {"author": "somebody", "": "\u00e9"})


def varying() -> Graph:
    """A graph that declares no outputs."""
    graph = Described([TensorInfo("x", None, None)], [])
    graph.outputs_vary = True
    graph.runner = lambda: lambda inputs, reuse: Outputs.named([("copy of x", inputs[0].copy())])  # type: ignore[method-assign]
    return graph


GRAPHS: dict[str, bytes | Graph] = {
    "relu": onnx_models.relu(),
    "maps": onnx_models.labelled(["cat", "dog"]),
    "open": onnx_models.relu(["batch", 2]),
    "types": every_type(),
    "varying": varying(),
    "train": Trainable(),
    "shout": Shouting(),
    "count": Counting(),
    "fails": Counting(fails_at=2),
}
REGISTRY = wasi_nn.Registry(GRAPHS)


class ExtGuest(CoreGuest):
    """A guest that imports extensions."""

    def __init__(self, session: wasi_nn.Session, dialect: str = "spec", extensions: Sequence[str] = EXTENSIONS) -> None:
        abi = ABIS[wasi_nn.Dialect(dialect)]
        super().__init__(session, wat(abi=abi, extensions=extensions), dialect=dialect)

    def graph(self, name: str) -> int:
        assert self.load_by_name(name) == SUCCESS
        return self.u32()

    def context_on(self, graph: int) -> int:
        assert self.call("init_execution_context", graph, OUT) == SUCCESS
        return self.u32()

    def answer(self, name: str, *arguments: int, at: int = DATA) -> bytes:
        """The answer of a function with a buffer: the guest first asks for the size."""
        self.write(OUT, bytes(4))
        assert self.call(name, *arguments, at, 0, OUT) in (SUCCESS, TOO_LARGE)
        size = self.u32()
        self.write(at, b"\xee" * (size + 4))
        assert self.call(name, *arguments, at, size, OUT) == SUCCESS
        assert self.u32() == size
        assert self.read(at + size, 4) == b"\xee" * 4
        return self.read(at, size)

    def describe(self, graph: int, at: int = DATA) -> Description:
        size = len(self.answer("describe", graph, at=at))
        return RecordReader(self.read(0, MEMORY_SIZE), at, size).graph()

    def describe_output(self, context: int, index: int = 0) -> Tensor:
        size = len(self.answer("describe_output", context, index))
        return RecordReader(self.read(0, MEMORY_SIZE), DATA, size).tensor()

    def use_signature(self, graph: int, name: str | bytes) -> int:
        encoded = name.encode() if isinstance(name, str) else name
        self.write(NAME, encoded)
        return self.call("use_signature", graph, NAME, len(encoded), OUT)

    def signature(self, graph: int, name: str) -> int:
        assert self.use_signature(graph, name) == SUCCESS
        return self.u32()

    def state_set(self, graph: int, state: bytes) -> int:
        self.write(DATA, state)
        return self.call("state_set", graph, DATA, len(state))

    def train(self, graph: int, times: int = 1) -> None:
        """Train a graph of the signature `train`, in a context of its own."""
        context = self.context_on(graph)
        for _ in range(times):
            assert self.set_input(context, 0, FEW.shape, F32, FEW.tobytes()) == SUCCESS
            assert self.set_input(context, 1, LABELS.shape, I32, LABELS.tobytes()) == SUCCESS
            assert self.call("compute", context) == SUCCESS

    def scores(self, graph: int) -> Any:
        context = self.context_on(graph)
        assert self.set_input(context, 0, FEW.shape, F32, FEW.tobytes()) == SUCCESS
        assert self.call("compute", context) == SUCCESS
        return np.frombuffer(self.get_output(context), np.float32).reshape(3, CLASSES)

    def set_byte_strings(self, context: int, dims: Sequence[int], content: bytes, index: int = 0) -> int:
        self.write(DIMS, pack(f"<{len(dims)}I", *dims))
        self.write(DATA, content)
        return self.call("set_byte_strings", context, index, DIMS, len(dims), DATA, len(content))


@pytest.fixture
def guest(either_call: str) -> Iterator[ExtGuest]:
    """A guest that may load the graphs above by name, and imports every extension."""
    with wasi_nn.Session(REGISTRY) as session:
        yield ExtGuest(session)


def strings(*texts: bytes) -> bytes:
    """Byte strings as a guest passes them."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.uint32)
    return ends.astype("<u4").tobytes() + b"".join(texts)


def refused(guest: CoreGuest, caplog: pytest.LogCaptureFixture, errno: int, text: str, *call: Any) -> None:
    """Check that a call gives this errno, and that the log explains it by a text."""
    caplog.clear()
    assert guest.call(*call) == errno
    assert text in caplog.text


# describe


def test_a_description_has_all_that_the_graph_declares(guest: ExtGuest) -> None:
    read = guest.describe(guest.graph("types"))
    assert (read.encoding, read.runtime, read.device, read.signature, read.signatures) == (3, "numpy", "cpu", "", [])
    assert [tensor.type for tensor in read.inputs[:6]] == [("number", n) for n in range(6)]
    assert read.inputs[6:] == [
        Tensor("scalar", ("number", F32), ()),
        Tensor("any rank", ("number", F32), None),
        Tensor("any type", ("any", None), None, optional=True),
        Tensor("open", ("number", F32), ("batch", None, 3, None, "\u00e4", 2**32 - 1, None)),
        Tensor("text", ("byte string", None), ("n",)),
        Tensor("map", ("native", "seq(map(int64,tensor(float)))"), None),
        Tensor("int8", ("native", "int8"), (1,)),
        Tensor("bf16", ("native", "bf16"), (1,)),
        Tensor("\u65e5\u672c", ("number", 3), (None,), optional=True),
    ]
    assert read.outputs == [Tensor("y", ("number", F32), (1,))]
    assert read.metadata == [("author", "somebody"), ("", "\u00e9")]


def test_a_description_has_signatures(guest: ExtGuest) -> None:
    read = guest.describe(guest.graph("train"))
    assert (read.encoding, read.signature, read.signatures) == (4, "infer", ["infer", "train"])
    assert read.outputs == [Tensor("scores", ("number", F32), ("rows", CLASSES))]


def test_undeclared_outputs_are_none(guest: ExtGuest) -> None:
    assert guest.describe(guest.graph("varying")).outputs is None


def test_a_description_of_a_real_runtimes_graph(guest: ExtGuest) -> None:
    read = guest.describe(guest.graph("open"))
    assert (read.encoding, read.runtime) == (1, "onnxruntime")
    assert read.inputs == [Tensor("x", ("number", F32), ("batch", 2))]


@pytest.mark.parametrize("at", [DATA, DATA + 1, DATA + 3, MEMORY_SIZE - 1024])
def test_the_addresses_in_a_record_are_those_of_the_buffer(guest: ExtGuest, at: int) -> None:
    graph = guest.graph("open")
    guest.write(DATA, b"\xee" * 600)
    assert guest.call("describe", graph, at, 600, OUT) == SUCCESS
    read = RecordReader(guest.read(0, MEMORY_SIZE), at, guest.u32()).graph()
    assert read == guest.describe(graph, DATA + 4096)


def test_a_record_may_end_at_the_end_of_memory(guest: ExtGuest) -> None:
    graph = guest.graph("relu")
    size = len(guest.answer("describe", graph))
    at = MEMORY_SIZE - size
    assert guest.call("describe", graph, at, size, OUT) == SUCCESS
    assert RecordReader(guest.read(0, MEMORY_SIZE), at, size).graph().runtime == "onnxruntime"
    assert guest.call("describe", graph, MEMORY_SIZE - 1, 1, OUT) == TOO_LARGE
    with pytest.raises(TRAP, match=r"describe: the output buffer .* is outside the memory"):
        guest.call("describe", graph, at + 1, size, OUT)


def test_a_query_of_the_size_may_have_any_address(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    graph = guest.graph("relu")
    for at in (0, 1, MEMORY_SIZE, 2**31, 2**32 - 1):
        assert guest.call("describe", graph, at, 0, OUT) == TOO_LARGE
        assert guest.u32() == len(guest.answer("describe", graph))
    assert not caplog.records, "to ask for the size is no failure"


def test_a_description_has_no_path(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with wasi_nn.Session({"secret": tmp_path / "net.onnx"}) as session:
        guest = ExtGuest(session)
        record = guest.answer("describe", guest.graph("secret"))
    assert b"onnxruntime" in record
    assert not any(word in record for word in (b"net.onnx", bytes(tmp_path), b"secret"))


def test_metadata_may_be_hidden() -> None:
    with wasi_nn.Session(REGISTRY, show_metadata=False) as session:
        guest = ExtGuest(session)
        read = guest.describe(guest.graph("types"))
    assert (read.metadata, len(read.inputs)) == ([], 15)


@pytest.mark.parametrize(
    ("graph", "advice"),
    [
        (lambda: Described([], [], {"notes": "x" * MAX_RECORD}), "show_metadata=False, --no-metadata"),
        (lambda: Described([], [], {str(n): "" for n in range(300_000)}), "show_metadata=False, --no-metadata"),
        (lambda: Described([TensorInfo("x", None, None)] * 1_000_000, []), "the most that a guest gets [too-large"),
        (lambda: Described([TensorInfo("x" * MAX_RECORD, None, None)], []), "the most that a guest gets [too-large"),
        (lambda: Described([], [TensorInfo("x", None, ("d" * 100_000,) * 64)]), "the most that a guest gets"),
    ],
    ids=["text", "many texts", "a million inputs", "a long name", "long dimensions"],
)
def test_a_description_too_large_for_any_guest_is_refused(
    graph: Any, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    with wasi_nn.Session({"net": graph()}) as session:
        guest = ExtGuest(session)
        handle = guest.graph("net")
        guest.write(OUT, pack("<I", 77))
        refused(guest, caplog, TOO_LARGE, advice, "describe", handle, DATA, 0, OUT)
        assert guest.u32() == 77, "no buffer is large enough"


def test_outputs_are_described_as_they_are(guest: ExtGuest) -> None:
    context = guest.context("open")
    for rows in (1, 3, 0):
        assert guest.set_input(context, 0, [rows, 2], F32, bytes(8 * rows)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert guest.describe_output(context) == Tensor("y", ("number", F32), (rows, 2))


def test_an_output_that_no_compute_gave(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("relu")
    refused(guest, caplog, RUNTIME_ERROR, "no compute has succeeded", "describe_output", context, 0, DATA, 99, OUT)
    caplog.clear()
    assert guest.call("describe_output", context, 7, DATA, 99, OUT) == INVALID_ARGUMENT
    assert not caplog.records, "to look for the last output is no failure"


# use_signature


def test_another_signature_is_another_graph(guest: ExtGuest) -> None:
    infer = guest.graph("train")
    train = guest.signature(infer, "train")
    assert train != infer
    assert [tensor.name for tensor in guest.describe(train).inputs] == ["features", "labels"]
    assert guest.describe(train).signature == "train"
    assert guest.describe(guest.signature(train, "infer")).signature == "infer"


def test_graphs_of_one_model_share_their_variables(guest: ExtGuest) -> None:
    infer = guest.graph("train")
    assert not guest.scores(infer).any(), "before, a context has variables of its own"
    train = guest.signature(infer, "train")
    guest.train(train, 20)
    assert (guest.scores(infer).argmax(1) == LABELS).all()
    assert (guest.scores(guest.signature(train, "infer")).argmax(1) == LABELS).all()


def test_another_handle_of_the_model_has_variables_of_its_own(guest: ExtGuest) -> None:
    guest.train(guest.signature(guest.graph("train"), "train"), 20)
    assert not guest.scores(guest.graph("train")).any()
    with wasi_nn.Session(REGISTRY) as session:
        other = ExtGuest(session)
        infer = other.graph("train")
        other.signature(infer, "train")
        assert not other.scores(infer).any()


@pytest.mark.parametrize(
    ("name", "errno", "text"),
    [
        ("serve", NOT_FOUND, "no signature is named 'serve'; the graph's signatures: 'infer', 'train'"),
        ("", NOT_FOUND, "no signature is named ''"),
        ("train\0", NOT_FOUND, "no signature is named"),
        ("n" * 70000, NOT_FOUND, "the name has 70000 bytes"),
        (b"\xff", INVALID_ARGUMENT, "is not UTF-8"),
    ],
)
def test_a_name_that_no_signature_has(
    guest: ExtGuest, name: str | bytes, errno: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph = guest.graph("train")
    assert guest.use_signature(graph, name) == errno
    assert text in caplog.text


def test_a_model_without_signatures(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    graph = guest.graph("relu")
    assert guest.use_signature(graph, "") == UNSUPPORTED_OPERATION
    refused(guest, caplog, UNSUPPORTED_OPERATION, "has no variables", "state_get", graph, DATA, 0, OUT)
    assert guest.use_signature(graph, "main") == NOT_FOUND


def test_graphs_of_signatures_count(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY, limits=Limits(graphs=3)) as session:
        guest = ExtGuest(session)
        graph = guest.graph("train")
        assert [guest.use_signature(graph, "train") for _ in range(4)] == [SUCCESS, SUCCESS, TOO_LARGE, TOO_LARGE]
    assert "4 graphs at once" in caplog.text


# state_get and state_set


def test_a_state_is_a_safetensors_file(guest: ExtGuest) -> None:
    from safetensors.numpy import load

    graph = guest.graph("train")
    guest.train(guest.signature(graph, "train"), 3)
    state = load(guest.answer("state_get", graph))
    assert {name: array.shape for name, array in state.items()} == {"weight": (FEATURES, CLASSES), "bias": (CLASSES,)}
    np.testing.assert_allclose(FEW @ state["weight"] + state["bias"], guest.scores(graph), rtol=1e-6)


def test_a_state_goes_on_elsewhere(guest: ExtGuest) -> None:
    graph = guest.graph("train")
    guest.train(guest.signature(graph, "train"), 20)
    state, expected = guest.answer("state_get", graph), guest.scores(graph)
    with wasi_nn.Session(REGISTRY) as session:
        other = ExtGuest(session)
        fresh = other.graph("train")
        assert other.state_set(fresh, state) == SUCCESS
        assert (other.scores(fresh) == expected).all()


def test_variables_that_a_file_lacks_keep_their_values(guest: ExtGuest) -> None:
    from safetensors.numpy import load, save

    graph = guest.graph("train")
    guest.train(guest.signature(graph, "train"), 2)
    before = load(guest.answer("state_get", graph))
    assert guest.state_set(graph, save({"bias": np.full(CLASSES, 7, np.float32)})) == SUCCESS
    after = load(guest.answer("state_get", graph))
    assert (after["weight"] == before["weight"]).all()
    assert after["bias"].tolist() == [7] * CLASSES


def test_a_state_that_does_not_fit_changes_nothing(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.numpy import save

    graph = guest.graph("train")
    before = guest.answer("state_get", graph)
    bias = np.ones(CLASSES, np.float32)
    for state, text in (
        (b"", "isn't a safetensors file"),
        (b"\xff" * 100, "isn't a safetensors file"),
        (before[:-1], "isn't a safetensors file"),
        (before + b"\0", "isn't a safetensors file"),
        (save({"bias": bias, "other": bias}), "no variable is named 'other'"),
        (save({"bias": bias, "weight": bias}), "variable 'weight' is f32[4, 3], got f32[3]"),
        (save({"bias": bias.astype(np.float64)}), "variable 'bias' is f32[3], got f64[3]"),
    ):
        caplog.clear()
        assert guest.state_set(graph, state) == INVALID_ARGUMENT
        assert text in caplog.text
        assert guest.answer("state_get", graph) == before


def counted_weights(guest: ExtGuest, graph: int) -> Weights:
    """The set of variables that the guest's graph has."""
    context = guest.session.context(guest.context_on(graph))
    weights = context.graph._weights  # type: ignore[attr-defined]
    assert isinstance(weights, Weights)
    return weights


def test_a_query_of_the_size_and_the_state_copy_it_once(guest: ExtGuest) -> None:
    graph = guest.graph("train")
    guest.answer("state_get", graph)
    weights = counted_weights(guest, graph)
    before = weights.reads
    guest.answer("state_get", graph)
    assert weights.reads == before + 1


def test_a_state_that_was_asked_for_is_not_given_after_another_call(guest: ExtGuest) -> None:
    graph = guest.graph("train")
    train = guest.signature(graph, "train")
    old = guest.answer("state_get", graph)
    assert guest.call("state_get", graph, 0, 0, OUT) == TOO_LARGE
    guest.train(train)
    assert guest.call("state_get", graph, DATA, 4096, OUT) == SUCCESS
    assert guest.read(DATA, guest.u32()) != old


def test_a_state_that_was_asked_for_is_of_its_graph_alone(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    graph, other = guest.graph("train"), guest.graph("train")
    guest.train(guest.signature(graph, "train"))
    fresh = guest.answer("state_get", other)
    assert guest.call("state_get", graph, 0, 0, OUT) == TOO_LARGE
    assert guest.call("state_get", other, DATA, 4096, OUT) == SUCCESS
    assert guest.read(DATA, guest.u32()) == fresh
    assert guest.call("state_get", graph, 0, 0, OUT) == TOO_LARGE
    refused(guest, caplog, INVALID_ARGUMENT, "isn't a graph", "state_get", 999, DATA, 4096, OUT)


def test_a_state_that_was_asked_for_counts_until_it_is_fetched(guest: ExtGuest) -> None:
    graph = guest.graph("train")
    size = len(guest.answer("state_get", graph))
    assert guest.session.used("tensor_bytes") == 0
    for _ in range(3):
        assert guest.call("state_get", graph, 0, 0, OUT) == TOO_LARGE
        assert guest.session.used("tensor_bytes") == size
    assert guest.call("state_get", graph, DATA, size - 1, OUT) == TOO_LARGE
    assert guest.call("state_get", graph, DATA, size, OUT) == SUCCESS
    assert guest.session.used("tensor_bytes") == 0


def test_states_keep_to_the_limits(caplog: pytest.LogCaptureFixture) -> None:
    size = Weights().nbytes
    with wasi_nn.Session(REGISTRY, limits=Limits(tensor_bytes=size - 1)) as session:
        guest = ExtGuest(session)
        graph = guest.graph("train")
        refused(guest, caplog, TOO_LARGE, "bytes of tensors at once", "state_get", graph, DATA, 0, OUT)
        refused(guest, caplog, TOO_LARGE, "bytes of tensors at once", "state_set", graph, DATA, size)
    with wasi_nn.Session(REGISTRY, limits=Limits(tensor_bytes=size)) as session:
        guest = ExtGuest(session)
        state = guest.answer("state_get", guest.graph("train"))
        assert len(state) > size, "there is no room to keep it, and yet the guest gets it"
    with wasi_nn.Session(REGISTRY, limits=Limits(model_bytes=size - 1)) as session:
        guest = ExtGuest(session)
        refused(guest, caplog, TOO_LARGE, "bytes of models", "state_get", guest.graph("train"), DATA, 0, OUT)


# Sequences


def test_the_pieces_of_a_sequence(guest: ExtGuest) -> None:
    context = guest.context("count")
    assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
    for _ in range(2):
        assert guest.call("begin_sequence", context) == SUCCESS
        pieces: list[int] = []
        while True:
            assert guest.call("next_of_sequence", context, OUT) == SUCCESS
            if not guest.u32():
                break
            assert guest.describe_output(context) == Tensor("numbers", ("number", I32), (1,))
            pieces.append(*unpack("<i", guest.get_output(context)))
        assert pieces == [3, 2, 1]
        assert unpack("<3i", guest.get_output(context)) == (3, 2, 1), "at last, the outputs of the whole sequence"
        assert guest.call("next_of_sequence", context, OUT) == SUCCESS
        assert guest.u32() == 0


def test_a_sequence_may_be_ended_early(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("count")
    assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
    assert guest.call("end_sequence", context) == SUCCESS, "of no effect"
    for _ in range(2):
        assert guest.call("begin_sequence", context) == SUCCESS
        assert guest.call("next_of_sequence", context, OUT) == SUCCESS
        assert guest.call("end_sequence", context) == SUCCESS
        refused(guest, caplog, INVALID_ARGUMENT, "no sequence is under way", "next_of_sequence", context, OUT)
        refused(guest, caplog, RUNTIME_ERROR, "no compute has succeeded", "get_output", context, 0, DATA, 64, OUT)
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("end_sequence", context) == SUCCESS
    assert unpack("<3i", guest.get_output(context)) == (3, 2, 1)


def test_what_ends_a_sequence(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("count")
    assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
    guest.put_tensor([1], I32, pack("<i", 3))
    for name, *arguments in (("compute", context), ("set_input", context, 0, 64)):
        assert guest.call("begin_sequence", context) == SUCCESS
        assert guest.call("next_of_sequence", context, OUT) == SUCCESS
        assert guest.call(name, *arguments) == SUCCESS
        refused(guest, caplog, INVALID_ARGUMENT, "no sequence is under way", "next_of_sequence", context, OUT)
    assert guest.call("begin_sequence", context) == SUCCESS
    assert guest.call("begin_sequence", context) == SUCCESS
    assert guest.call("next_of_sequence", context, OUT) == SUCCESS
    assert unpack("<i", guest.get_output(context)) == (3,), "another sequence begins anew"


def test_a_sequence_that_fails(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("fails")
    assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
    assert guest.call("begin_sequence", context) == SUCCESS
    assert guest.call("next_of_sequence", context, OUT) == SUCCESS
    guest.write(OUT, pack("<I", 77))
    refused(guest, caplog, RUNTIME_ERROR, "no 2 here", "next_of_sequence", context, OUT)
    assert guest.u32() == 77
    refused(guest, caplog, INVALID_ARGUMENT, "no sequence is under way", "next_of_sequence", context, OUT)


def test_sequences_that_cannot_begin(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("count")
    refused(guest, caplog, INVALID_ARGUMENT, "needs a value for each input", "begin_sequence", context)
    context = guest.context("relu")
    assert guest.set_input(context, 0, [4], F32, bytes(16)) == SUCCESS
    refused(guest, caplog, UNSUPPORTED_OPERATION, "all at once", "begin_sequence", context)
    refused(guest, caplog, INVALID_ARGUMENT, "no sequence is under way", "next_of_sequence", context, OUT)
    assert guest.call("compute", context) == SUCCESS


def test_wasmedges_own_pieces_stay_as_they_are() -> None:
    with wasi_nn.Session(REGISTRY) as session:
        guest = ExtGuest(session, "wasmedge")
        context = guest.context("count")
        assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
        assert guest.call("compute_single", context) == SUCCESS
        assert guest.call("get_output", context, 0, DATA, 64, OUT) == RUNTIME_ERROR
        assert guest.call("get_output_single", context, 0, DATA, 64, OUT) == SUCCESS
        assert guest.read(DATA, guest.u32()) == pack("<i", 3)


# Byte strings


def test_byte_strings_go_in_and_out(guest: ExtGuest) -> None:
    context = guest.context("shout")
    for dims, texts in (([2, 1], (b"ab", b"")), ([1, 3], (b"", b"x\0y", b"\xff")), ([0, 5], ())):
        assert guest.set_byte_strings(context, dims, strings(*texts)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert guest.answer("get_byte_strings", context, 0) == strings(*(text.upper() for text in texts))
        assert guest.describe_output(context) == Tensor("shouts", ("byte string", None), tuple(dims))


@pytest.mark.parametrize(
    ("dims", "content", "errno", "text"),
    [
        ([2, 1], strings(b"a"), INVALID_ARGUMENT, "the ends of 2 strings take 8 bytes, got 5 bytes in all"),
        ([2, 1], pack("<II", 2, 1) + b"a", INVALID_ARGUMENT, "must rise"),
        ([2, 1], pack("<II", 1, 2) + b"a", INVALID_ARGUMENT, "must rise"),
        ([1, 1], pack("<I", 2**32 - 1) + b"a", INVALID_ARGUMENT, "must rise"),
        ([1, 1], b"", INVALID_ARGUMENT, "got 0 bytes"),
        ([0, 1], b"a", INVALID_ARGUMENT, "must rise"),
        ([1], strings(b"a"), INVALID_ARGUMENT, "has dims [n, ?], got [1]"),
        ([], strings(b"a"), INVALID_ARGUMENT, "has dims [n, ?], got []"),
        ([1] * 65, strings(b"a"), INVALID_ARGUMENT, "65 dimensions"),
        ([2**20, 2], b"", TOO_LARGE, "2097152 strings: at most 1048576"),
        ([2**32 - 1] * 64, b"", TOO_LARGE, "strings: at most 1048576"),
        ([0, 2**32 - 1], b"", SUCCESS, ""),
        ([0, 2**32 - 1, 2**32 - 1], b"", INVALID_ARGUMENT, "input 'texts'"),
    ],
)
def test_byte_strings_that_do_not_fit(
    guest: ExtGuest, dims: list[int], content: bytes, errno: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = guest.context("shout")
    assert guest.set_byte_strings(context, [1, 1], strings(b"before")) == SUCCESS
    assert guest.set_byte_strings(context, dims, content) == errno
    assert text in caplog.text
    assert guest.call("compute", context) == SUCCESS
    assert guest.answer("get_byte_strings", context, 0) == (strings(b"BEFORE") if errno else b"")


def test_byte_strings_and_numbers_are_told_apart(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("relu")
    assert guest.set_byte_strings(context, [1], strings(b"a")) == INVALID_ARGUMENT
    assert "input 'x' is f32, not byte strings: call set_input" in caplog.text
    assert guest.set_byte_strings(context, [1], strings(b"a"), index=9) == INVALID_ARGUMENT
    assert guest.set_input(context, 0, [4], F32, bytes(16)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    refused(guest, caplog, INVALID_ARGUMENT, "call get_output", "get_byte_strings", context, 0, DATA, 0, OUT)
    context = guest.context("shout")
    assert guest.set_byte_strings(context, [1, 1], strings(b"a")) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("get_output", context, 0, DATA, 64, OUT) == UNSUPPORTED_OPERATION
    assert guest.set_input(context, 0, [1, 1], 3, b"a") == UNSUPPORTED_OPERATION
    assert caplog.text.count("byte-strings of wasi-nn:ext has them") == 2


def test_maps_are_no_byte_strings(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("maps")
    assert guest.set_input(context, 0, [1, 2], F32, pack("<2f", 0.25, 0.75)) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.describe_output(context).type == ("native", "seq(map(string,tensor(float)))")
    refused(guest, caplog, UNSUPPORTED_OPERATION, "can convert", "get_byte_strings", context, 0, DATA, 0, OUT)


def test_undeclared_outputs_may_be_byte_strings(guest: ExtGuest) -> None:
    context = guest.context("varying")
    assert guest.set_byte_strings(context, [2], strings(b"a", b"bc")) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.describe_output(context) == Tensor("copy of x", ("byte string", None), (2,))
    assert guest.answer("get_byte_strings", context, 0) == strings(b"a", b"bc")
    assert guest.call("describe_output", context, 1, DATA, 0, OUT) == INVALID_ARGUMENT


def test_byte_strings_count(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    context = guest.context("shout")
    assert guest.set_byte_strings(context, [1, 2], strings(b"x" * 5000, b"y" * 7000)) == SUCCESS
    one = guest.session.used("tensor_bytes")
    assert 12_000 < one < 12_200
    assert guest.call("compute", context) == SUCCESS
    assert guest.session.used("tensor_bytes") == 2 * one
    with wasi_nn.Session(REGISTRY, limits=Limits(tensor_bytes=10_000)) as session:
        small = ExtGuest(session)
        context = small.context("shout")
        assert small.set_byte_strings(context, [1, 1], strings(b"x" * 10_000)) == TOO_LARGE
        assert small.set_byte_strings(context, [250, 1], strings(*[b""] * 250)) == TOO_LARGE, "each takes memory"
        assert small.set_byte_strings(context, [1, 1], strings(b"x" * 6000)) == SUCCESS
        assert small.call("compute", context) == TOO_LARGE
        assert small.session.used("tensor_bytes") < 10_000


# Pointers, handles and memories


CALLS: dict[str, tuple[Any, ...]] = {
    # The arguments of a valid call on the handle of a graph or a context
    "describe": (DATA, 4096, OUT),
    "describe_output": (0, DATA, 4096, OUT),
    "use_signature": (NAME, 5, OUT),
    "state_get": (DATA, 4096, OUT),
    "state_set": (DATA, 4),
    "begin_sequence": (),
    "next_of_sequence": (OUT,),
    "end_sequence": (),
    "set_byte_strings": (0, DIMS, 1, DATA, 4),
    "get_byte_strings": (0, DATA, 4096, OUT),
}
POINTERS: dict[str, list[tuple[int, int | None, str]]] = {
    # The places of pointers and of their sizes among these arguments; the size of a pointer without one is 4
    "describe": [(0, 1, "output buffer"), (2, None, "out-pointer")],
    "describe_output": [(1, 2, "output buffer"), (3, None, "out-pointer")],
    "use_signature": [(0, 1, "name"), (2, None, "out-pointer")],
    "state_get": [(0, 1, "output buffer"), (2, None, "out-pointer")],
    "state_set": [(0, 1, "state")],
    "next_of_sequence": [(0, None, "out-pointer")],
    "set_byte_strings": [(1, None, "dimensions"), (3, 4, "strings")],
    "get_byte_strings": [(1, 2, "output buffer"), (3, None, "out-pointer")],
}


def test_the_tables_here_have_every_function() -> None:
    assert list(CALLS) == list(FUNCTIONS)
    assert all(len(arguments) + 1 == FUNCTIONS[name].parameters for name, arguments in CALLS.items())


@pytest.mark.parametrize("name", POINTERS)
@pytest.mark.parametrize("dialect", ["spec", "wasmedge", "wamr"])
def test_pointers_out_of_bounds(name: str, dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY) as session:
        guest = ExtGuest(session, dialect)
        before = guest.read(0, MEMORY_SIZE)
        for place, size_place, what in POINTERS[name]:
            for pointer, size in ((MEMORY_SIZE - 3, 4), (MEMORY_SIZE, 4), (2**32 - 1, 4), (2**32 - 4, 2**32 - 1)):
                arguments = list(CALLS[name])
                arguments[place] = pointer
                if size_place is not None:
                    arguments[size_place] = size
                if dialect == "wasmedge":
                    refused(guest, caplog, INVALID_ARGUMENT, f"the {what} ", name, 999, *arguments)
                    continue
                with pytest.raises(TRAP, match=f"{name}: the {what} .*memory of {MEMORY_SIZE} bytes"):
                    guest.call(name, 999, *arguments)
        assert guest.read(0, MEMORY_SIZE) == before


@pytest.mark.parametrize("handle", [0, 999, 2**31, 2**32 - 1])
@pytest.mark.parametrize("name", CALLS)
def test_handles_that_do_not_exist(guest: ExtGuest, name: str, handle: int, caplog: pytest.LogCaptureFixture) -> None:
    guest.write(DATA, pack("<I", 0))
    before = guest.read(0, MEMORY_SIZE)
    refused(guest, caplog, INVALID_ARGUMENT, f"handle {handle} isn't a", name, handle, *CALLS[name])
    assert guest.read(0, MEMORY_SIZE) == before


@pytest.mark.parametrize("name", CALLS)
def test_handles_of_the_wrong_kind(guest: ExtGuest, name: str, caplog: pytest.LogCaptureFixture) -> None:
    graph = guest.graph("train")
    context = guest.context_on(graph)
    of_graphs = name in ("describe", "use_signature", "state_get", "state_set")
    handle, text = (context, "isn't a graph: it is an execution") if of_graphs else (graph, "it is a graph")
    refused(guest, caplog, INVALID_ARGUMENT, text, name, handle, *CALLS[name])


def test_graphs_that_were_unloaded(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY) as session:
        guest = ExtGuest(session, "wasmedge")
        context = guest.context("count")
        assert guest.set_input(context, 0, [1], I32, pack("<i", 3)) == SUCCESS
        assert guest.call("begin_sequence", context) == SUCCESS
        assert guest.call("next_of_sequence", context, OUT) == SUCCESS
        assert guest.call("unload", context - 1) == SUCCESS
        for name in ("begin_sequence", "next_of_sequence"):
            refused(guest, caplog, INVALID_ARGUMENT, "was unloaded", name, context, *CALLS[name])
        assert guest.call("describe", context - 1, *CALLS["describe"]) == INVALID_ARGUMENT
        assert guest.describe_output(context).dims == (1,), "outputs are still there"
        assert guest.call("end_sequence", context) == SUCCESS
        assert guest.call("finalize_execution_context", context) == SUCCESS
        assert guest.call("describe_output", context, *CALLS["describe_output"]) == INVALID_ARGUMENT


def test_the_size_of_an_answer_in_every_dialect() -> None:
    for dialect in ("spec", "wasmedge", "wamr"):
        with wasi_nn.Session(REGISTRY) as session:
            guest = ExtGuest(session, dialect)
            types = [tensor.type for tensor in guest.describe(guest.graph("types")).inputs[:6]]
        if dialect == "wamr":
            natives = [("number", 0), ("number", 1), ("native", "f64"), ("number", 2), ("number", 3), ("native", "i64")]
            assert types == natives, "the numbers that WAMR has"
        else:
            assert types == [("number", n) for n in range(6)]


def test_a_buffer_too_small_stays_as_it_was(guest: ExtGuest, caplog: pytest.LogCaptureFixture) -> None:
    graph = guest.graph("train")
    context = guest.context("shout")
    assert guest.set_byte_strings(context, [1, 1], strings(b"text")) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    calls = {"describe": (graph,), "describe_output": (context, 0), "state_get": (graph,)}
    for name, arguments in {**calls, "get_byte_strings": (context, 0)}.items():
        size = len(guest.answer(name, *arguments))
        for room in (1, size - 1):
            guest.write(DATA, b"\xee" * (size + 4))
            text = f"{size} bytes, the guest's buffer only {room}"
            refused(guest, caplog, TOO_LARGE, text, name, *arguments, DATA, room, OUT)
            assert guest.u32() == size
            assert guest.read(DATA, size + 4) == b"\xee" * (size + 4)
        assert guest.call(name, *arguments, DATA, size + 4, OUT) == SUCCESS
        assert guest.u32() == size
        assert guest.read(DATA + size, 4) == b"\xee" * 4


def test_a_guest_without_a_memory(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.Session(REGISTRY) as session:
        guest = CoreGuest(session, wat("", extensions=["describe"]))
        assert guest.call("describe", 1, 0, 0, 0) == 3
    assert "describe failed: the module exports no memory" in caplog.text


# Leaks


def count_of_extensions() -> int:
    """The number of objects in this process that only extensions have."""
    kinds = {ExtensionFunctions, Weights, HeldBytes}
    return sum(not kinds.isdisjoint(type(one).__mro__) for one in gc.get_objects())


def test_calls_leave_nothing_behind() -> None:
    def one_guest() -> None:
        with wasi_nn.Session(REGISTRY) as session:
            guest = ExtGuest(session)
            graph = guest.graph("train")
            train = guest.signature(graph, "train")
            guest.train(train)
            guest.describe(train)
            guest.state_set(graph, guest.answer("state_get", graph))
            context = guest.context("count")
            guest.set_input(context, 0, [1], I32, pack("<i", 3))
            guest.call("begin_sequence", context)
            guest.call("next_of_sequence", context, OUT)
            context = guest.context("shout")
            guest.set_byte_strings(context, [1, 1], strings(b"text"))
            guest.call("compute", context)
            guest.call("get_byte_strings", context, 0, DATA, 0, OUT)
            guest.call("state_get", graph, DATA, 0, OUT)
        assert session.used("tensor_bytes") == session.used("model_bytes") == session.used("handles") == 0

    for _ in range(3):
        one_guest()
    before, extensions = Footprint.now(), count_of_extensions()
    for _ in range(10):
        one_guest()
    after = Footprint.now()
    assert count_of_extensions() <= extensions
    for measure in ("stores", "sessions", "contexts", "graphs", "host_functions", "descriptors", "threads"):
        assert getattr(after, measure) <= getattr(before, measure), measure


def test_a_set_of_variables_lives_as_long_as_its_graphs_and_contexts() -> None:
    with wasi_nn.Session(REGISTRY) as session:
        guest = ExtGuest(session, "wasmedge")
        graph = guest.graph("train")
        train = guest.signature(graph, "train")
        assert session.used("model_bytes") == Weights().nbytes
        context = guest.context_on(train)
        for handle in (graph, train):
            assert guest.call("unload", handle) == SUCCESS
        assert session.used("model_bytes") == Weights().nbytes
        assert guest.call("finalize_execution_context", context) == SUCCESS
        Footprint.now()
        assert session.used("model_bytes") == 0
