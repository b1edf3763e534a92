"""Messages between the host and a worker: too long, too deep or malformed ones are refused on either side."""

from __future__ import annotations

import re
import socket
import threading
import tracemalloc
from typing import Any

import ggml_models
import numpy as np
import onnx_models
import pytest
from isolated_programs import X, program, value, worker_of

import wasi_nn
from wasi_nn import ErrorCode, Graph, GraphEncoding, LoadRules, NNError, Runner, TensorInfo
from wasi_nn.isolation.wire import descriptions, protocol
from wasi_nn.isolation.wire.channel import Channel, encoded
from wasi_nn.isolation.wire.descriptions import (
    Description,
    InvalidWorkerMessage,
    described_graph,
    encoded_metadata,
    encoded_texts,
)
from wasi_nn.isolation.wire.protocol import Request, kind_of, request
from wasi_nn.limits.limits import Limits
from wasi_nn.limits.usage import HeldBytes, Usage

ISOLATED = LoadRules(isolate=True)
MIB = 2**20


def received(*parts: bytes) -> Any:
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            for part in parts:
                try:
                    theirs.sendall(part)
                except OSError:
                    return

    with ours:
        sender = threading.Thread(target=send)
        sender.start()
        try:
            return Channel(ours).receive()[0]
        finally:
            ours.close()
            sender.join()


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + bytes(8) + text


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' + b"[" * 9 + b"]" * 9 + b"}",
        b'{"a":' * 10 + b"1" + b"}" * 10,
        b"[" * (MIB // 2) + b"]" * (MIB // 2),
        b"[" * MIB,
        b'{"]]]]]]]]]":' + b"[" * 9 + b"]" * 9 + b"}",
        b'{"\\"]]]]]]]]]":' + b"[" * 9 + b"]" * 9 + b"}",
        b'{"\\\\":' + b"[" * 9 + b"]" * 9 + b"}",
    ],
)
def test_messages_that_are_nested_too_deep_are_refused_before_they_are_parsed(text: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        received(framed(text))


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b'"\\\n', b"\\\\", b'"\\"['])
def test_messages_of_quotes_take_as_long_as_others(unit: bytes) -> None:
    """Strings without an end too: otherwise one message would block the host for minutes."""
    with pytest.raises(ValueError, match=r"nested too deep|Expecting|Unterminated|Invalid|Extra"):
        received(framed(b'{"[[[[[[[[[":"' + unit * (MIB // len(unit) - 16)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1"])
def test_messages_in_another_encoding_are_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"utf-8|Expecting|nested"):
        received(framed(('{"\u00e4":' + "[" * 100 + "]" * 100 + "}").encode(encoding)))


@pytest.mark.parametrize(
    "description",
    [{"a": [[[[[[1]]]]]]}, {"a": "[[[[[[[[[[[[[[[["}, {"a": '"\\[[[[[[[[[["\\'}, {"a": [[], {}, []] * 1000}],
)
def test_messages_that_are_flat_are_taken(description: dict[str, Any]) -> None:
    assert received(encoded(description)) == description


@pytest.mark.parametrize("sizes", [(MIB + 1, 0), (2**32 - 1, 0), (2, 64 * MIB + 1), (64 * MIB, 0)])
def test_longer_messages_are_refused_unread(sizes: tuple[int, int]) -> None:
    header = b"".join(size.to_bytes(4, "little") for size in (*sizes, 0))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="at most 1048576 and 67108864 are taken"):
            received(header, b"[" * (16 * MIB))
        assert tracemalloc.get_traced_memory()[1] < 18 * MIB
    finally:
        tracemalloc.stop()


def test_requests_have_the_fields_of_the_table() -> None:
    assert protocol.__doc__ is not None
    table = protocol.__doc__.split("\n\n")[2]
    assert set(protocol.FIELDS) == set(Request)
    for what, fields in protocol.FIELDS.items():
        assert re.search(rf"(control|runner|set) +{what.value} ", f"{table} ".replace("\n", " \n")), what
        assert all(field in table for field in fields)
        message = request(what, **dict.fromkeys(fields))
        assert kind_of(message) is what
        for wrong in (message | {"more": 1}, {"do": what.value} if fields else {"do": "nothing"}):
            with pytest.raises(ValueError, match="request"):
                kind_of(wrong) if wrong["do"] != "nothing" else request(what, more=1)


def test_what_would_be_too_long_isnt_sent() -> None:
    for message, data in (({"do": "x" * MIB}, b""), ({}, bytes(64 * MIB + 1))):
        with pytest.raises(NNError, match="takes at most") as raised:
            encoded(message, data)
        assert raised.value.code is ErrorCode.TOO_LARGE


@pytest.mark.usefixtures("isolation")
class TestWhatGuestsGive:
    """A guest that gives a worker too much harms no other guest that shares the worker."""

    def test_a_configuration(self) -> None:
        graph = wasi_nn.load(onnx_models.relu(), rules=ISOLATED)
        worker = worker_of(graph)
        with pytest.raises(NNError, match="takes at most 67108864 bytes at once, not 67108865") as raised:
            graph.configured(memoryview(bytes(64 * MIB + 1)))
        assert raised.value.code is ErrorCode.TOO_LARGE
        assert graph.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]
        assert worker_of(graph) == worker

    def test_a_prompt(self) -> None:
        pytest.importorskip("xllamacpp")
        graph = wasi_nn.load(ggml_models.tiny(), rules=ISOLATED)
        worker = worker_of(graph)
        context = graph.init_execution_context()
        with pytest.raises(NNError, match="takes at most 67108864 bytes at once") as raised:
            context.set_input(0, b"a" * (64 * MIB + 1))
        assert raised.value.code is ErrorCode.TOO_LARGE
        context.set_input(0, b"a")
        assert worker_of(graph) == worker

    def test_strings(self) -> None:
        graph = wasi_nn.load(onnx_models.strings(), rules=ISOLATED)
        worker = worker_of(graph)
        context = graph.init_execution_context()
        dims = [dim if isinstance(dim, int) else 1 for dim in graph.inputs[0].dims or ()]
        context.set_input(0, np.full(dims, "x" * (64 * MIB), object))
        with pytest.raises(NNError, match="at most 67108864 in an input") as raised:
            context.compute()
        assert raised.value.code is ErrorCode.TOO_LARGE
        context.set_input(0, np.full(dims, "short", object))
        context.compute()
        assert context.get_output(0).reshape(-1)[0] == "short"
        assert worker_of(graph) == worker


class _Described(Graph):
    encoding = GraphEncoding.AUTODETECT

    def __init__(self, *dims: Any) -> None:
        super().__init__([], [TensorInfo("y", np.dtype(np.float32), dims)])

    def runner(self) -> Runner:
        raise NotImplementedError


@pytest.mark.parametrize("dim", [-1, -(2**40), 2**63, 2**70, True, None, 1.5])
def test_dims_that_cant_be_are_no_description(dim: Any) -> None:
    description = described_graph(_Described("n", 3))
    assert Description(description, b"").outputs[0].dims == ("n", 3)
    description["outputs"][0][2] = ["n", dim]
    with pytest.raises(InvalidWorkerMessage, match="an invalid description of a graph"):
        Description(description, b"")


def test_the_keys_of_an_input_are_few_short_and_printable() -> None:
    graph = _Described()
    graph.inputs = (TensorInfo.of_bytes("options", keys=("n-predict", "temp")),)
    description = described_graph(graph)
    assert Description(description, b"").inputs == graph.inputs
    keys = description["inputs"][0].index(["n-predict", "temp"])
    description["inputs"][0][keys] = ["\x1b[2J" + "a" * 10_000]
    [key] = Description(description, b"").inputs[0].keys or ()
    assert str(key).isprintable()
    assert len(str(key)) < 300
    for wrong in (["a"] * 1025, "text", 3):
        description["inputs"][0][keys] = wrong
        with pytest.raises(InvalidWorkerMessage):
            Description(description, b"")


def test_metadata_may_be_long_but_not_odd() -> None:
    graph = _Described()
    graph.metadata = {f"key {number}": "\u00e4" * 100 for number in range(100_000)}
    assert Description(described_graph(graph), encoded_metadata(graph)).metadata == graph.metadata
    whole = encoded_metadata(graph)
    for wrong in (whole[:-1], whole[:-500], whole[9:], b"\xff" * 64, encoded_texts(np.array(["a"], object))):
        with pytest.raises(InvalidWorkerMessage):
            Description(described_graph(graph), wrong)


def test_metadata_of_too_many_strings_is_refused() -> None:
    graph = _Described()
    graph.metadata = dict.fromkeys(map(str, range(2**19 + 1)), "")
    with pytest.raises(NNError, match="1048578 strings: an isolated graph may have at most 1048576") as raised:
        encoded_metadata(graph)
    assert raised.value.code is ErrorCode.TOO_LARGE
    texts = encoded_texts(np.array(["a", ""], object)) * (2**19 + 1)
    with pytest.raises(InvalidWorkerMessage, match="1048576 strings"):
        Description(described_graph(graph), texts)


@pytest.mark.parametrize(
    ("strings", "refusal"), [(2**16 + 2, "more than 65536 strings"), (2**22, "metadata of 50331648 bytes")]
)
def test_metadata_takes_little_more_memory_than_the_strings_that_are_allowed(
    strings: int, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "MAX_TEXTS", 2**16)  # a sixteenth: memory that is traced takes ten times as long
    texts = encoded_texts(np.array(["12345678" if strings > 2**20 else "a", ""], object)) * (strings // 2)
    description = described_graph(_Described())
    tracemalloc.start()
    try:
        with pytest.raises(InvalidWorkerMessage, match=refusal):
            Description(description, texts)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_texts_of_a_worker_are_fit_to_be_shown() -> None:
    description = described_graph(_Described())
    description["device"] = "cpu\x1b[2J"
    description["outputs"][0][3] = "FP32\x1b]0;x\x07"
    described = Description(description, b"")
    assert (described.device, described.outputs[0].native) == ("cpu\\x1b[2J", "FP32\\x1b]0;x\\x07")


def test_a_count_never_goes_below_zero() -> None:
    usage = Usage(Limits())
    with pytest.raises(ValueError, match="-5"):
        usage.take("tensor_bytes", -5)
    held = HeldBytes(usage)
    with pytest.raises(ValueError, match="-5"):
        held.hold(0, -5)
    held.release()
    assert usage.used("tensor_bytes") == 0


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("hook", ["steps", "output_before_compute", "check_input"])
def test_strings_under_hooks_that_lie_are_an_error(hook: str) -> None:
    graph = program(f"""
        from wasi_nn.isolation.worker import runner_server as serving
        def made(self):
            self._runner = self._graph.runner()
            return {{"features": ["{hook}"]}}
        def done(self, message, data, files):
            return {{}} if message["do"] in ("steps", "check") else {{"outputs": [["object", [0], 0, 0]]}}
        serving.RunnerServer._made, serving.RunnerServer._done = made, done
        def run(x):
            return x
    """)
    context = graph.init_execution_context()
    context.set_input(0, X)
    if hook == "steps":
        context.compute_single()
        with pytest.raises(NNError) as raised:
            context.single_output_bytes(0)
        assert raised.value.code is ErrorCode.UNSUPPORTED_OPERATION
        context.fini_single()
    context.compute()
    with pytest.raises(NNError, match="output 'y' is object") as raised:
        context.output_bytes(0)
    assert raised.value.code is ErrorCode.UNSUPPORTED_OPERATION


@pytest.mark.usefixtures("isolation")
def test_a_worker_that_gives_another_type_than_it_declared_is_not_believed() -> None:
    lying = program("""
        import numpy as np
        from wasi_nn.isolation.wire import descriptions as described
        info = described._described_info
        described._described_info = lambda it: [*info(it)[:1], "float32", *info(it)[2:]]
        def run(x):
            return x.astype(np.float64)
    """)
    assert lying.outputs[0].dtype == np.float32
    with pytest.raises(NNError, match="it sent an invalid message"):
        value(lying)
