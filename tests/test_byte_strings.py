"""Byte strings: guests with the interface byte-strings pass and receive them unchanged, in every runtime with
strings."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import need

for _module, _extra in (("onnx", "onnx"), ("tensorflow", "tensorflow"), ("ai_edge_litert", "tflite")):
    need(_module, f"'wasi-nn[{_extra}]'")
need("openvino", "'wasi-nn[openvino]'")

import onnx_models  # noqa: E402
import openvino_models  # noqa: E402
import tensorflow_models  # noqa: E402
import tflite_models  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import ErrorCode, Graph, Limits, LoadRules, Registry, Session, TensorType  # noqa: E402
from wasi_nn.session.tensor import Tensor  # noqa: E402

tf = tensorflow_models.tf
STRING, I64 = TensorProto.STRING, TensorProto.INT64
TEXTS = [b"a\0b", b"ends in\0", b"", "\u00e9t\u00e9".encode(), b"\0"]
BYTES = [*TEXTS, b"\xff\xfe", b"\x80\0\xff"]
ISOLATED = LoadRules(isolate=True)


def content(strings: Sequence[bytes]) -> bytes:
    """Strings as a guest gives them."""
    ends = np.cumsum([len(string) for string in strings], dtype=np.int64)
    return struct.pack(f"<{len(strings)}I", *ends) + b"".join(strings)


class Guest:
    """A guest's calls on a graph."""

    def __init__(self, graph: Graph, limits: Limits | None = None) -> None:
        self.session = Session(Registry({"g": graph}), limits=limits)
        self.session.takes_byte_strings = True
        self.context = self.session.init_execution_context(self.session.load_by_name("g"))

    def set(self, strings: Sequence[bytes], dims: tuple[int, ...] | None = None) -> None:
        dims = (len(strings),) if dims is None else dims
        self.session.set_byte_strings(self.context, 0, dims, memoryview(content(strings)))

    def outputs(self, index: int = 0) -> bytes:
        return self.session.byte_strings(self.context, index).tobytes()

    def by_index(self, strings: Sequence[bytes], dims: tuple[int, ...] | None = None) -> bytes:
        """The strings of output 0 for these of input 0, as a core module gets them."""
        self.set(strings, dims)
        self.session.compute(self.context)
        return self.outputs()

    def by_name(self, strings: Sequence[bytes], dims: tuple[int, ...]) -> tuple[tuple[int, ...], bytes, bool]:
        """The same for a component: the dimensions, the data and whether they are strings."""
        array = np.empty(len(strings), object)
        array[:] = strings
        given = self.session.add_tensor(Tensor.of_strings(array.reshape(dims)))
        name = self.session.context(self.context).graph.inputs[0].name
        ((_, handle),) = self.session.compute_named_tensors(self.context, [(name, given)])
        tensor = self.session.tensor(handle)
        assert tensor.type is TensorType.U8
        return tensor.dims, tensor.data.tobytes(), tensor.holds_strings


def onnx_identity(dims: onnx_models.Dims = None) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    return onnx_models.build([node], {"x": (STRING, dims)}, {"y": (STRING, dims)})


def tensorflow_identity(folder: Path) -> Graph:
    path = tensorflow_models.of_function(folder / "model", lambda x: {"y": tf.identity(x)}, None, "string")
    return wasi_nn.load(path, "tensorflow", runtime="tensorflow")


def tflite_identity(dims: tuple[int, ...] = (-1,), signature: bool = False) -> bytes:
    names = {"run": ({"x": 0}, {"x": 0})} if signature else {}
    return tflite_models.build([tflite_models.tensor("x", tflite_models.STRING, dims)], [], [0], [0], names)


def shouting(dims: tuple[int, ...] = (-1,), **how: Any) -> Graph:
    return wasi_nn.load(openvino_models.shouting(dims), "openvino", **how)


RUNTIMES = ["onnxruntime", "onnxruntime, isolated", "tensorflow", "ai_edge_litert", "openvino", "openvino, isolated"]


@pytest.fixture(scope="module", params=RUNTIMES)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    rules = ISOLATED if "isolated" in request.param else None
    match request.param.partition(",")[0]:
        case "onnxruntime":
            return wasi_nn.load(onnx_identity(), rules=rules)
        case "tensorflow":
            return tensorflow_identity(tmp_path_factory.mktemp("identity"))
        case "ai_edge_litert":
            return wasi_nn.load(tflite_identity())
    return shouting(rules=rules)


def expected(graph: Graph, strings: Sequence[bytes]) -> list[bytes]:
    return [string.upper() if graph.runtime == "openvino" else string for string in strings]


def test_strings_pass_with_their_zeros(graph: Graph, isolation: None) -> None:
    guest = Guest(graph)
    for strings in (TEXTS, [b""], TEXTS[::-1], [b"x" * 100_000, b""]):
        wanted = content(expected(graph, strings))
        assert guest.by_index(strings) == wanted
        assert guest.by_name(strings, (len(strings),)) == ((len(strings),), wanted, True)


def test_any_bytes_pass_where_the_runtime_takes_them(graph: Graph, isolation: None) -> None:
    guest = Guest(graph)
    if graph.runtime == "onnxruntime":
        refused(ErrorCode.UNSUPPORTED_OPERATION, "isn't UTF-8, which onnxruntime can't give", guest.by_index, [b"\xff"])
        message = "'x' has a string that isn't UTF-8, and one with a zero byte"
        refused(ErrorCode.INVALID_ARGUMENT, message, guest.by_index, BYTES)
        assert guest.by_index(TEXTS) == content(TEXTS), "the context goes on"
    else:
        assert guest.by_index(BYTES) == content(expected(graph, BYTES))


def test_a_million_empty_strings(graph: Graph, isolation: None) -> None:
    guest = Guest(graph)
    strings = [b""] * 2**20
    assert guest.by_index(strings) == content(strings)
    message = "1048577 strings: at most 1048576 are allowed"
    refused(ErrorCode.TOO_LARGE, message, guest.by_index, [*strings, b""])


def test_a_tensor_without_strings(graph: Graph, isolation: None) -> None:
    guest = Guest(graph)
    guest.by_index([b"before"])
    if graph.runtime == "openvino":
        refused(ErrorCode.UNSUPPORTED_OPERATION, "a tensor without any string", guest.by_index, [])
    else:
        assert guest.by_index([]) == b""
        assert guest.by_name([], (0,)) == ((0,), b"", True)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow", "ai_edge_litert", "by signature", "openvino"])
@pytest.mark.parametrize("string", [b"", b"word", b"\0", b"a\0"])
def test_a_single_string(runtime: str, string: bytes, tmp_path: Path) -> None:
    graph = {
        "onnxruntime": lambda: wasi_nn.load(onnx_identity(())),
        "tensorflow": lambda: tensorflow_identity(tmp_path),
        "ai_edge_litert": lambda: wasi_nn.load(tflite_identity(())),
        "by signature": lambda: wasi_nn.load(tflite_identity((), signature=True)),
        "openvino": lambda: shouting(()),
    }[runtime]()
    guest = Guest(graph)
    wanted = content(expected(graph, [string]))
    assert guest.by_index([string], ()) == wanted
    if graph.inputs[0].dims == ():
        assert guest.by_index([string], (1,)) == wanted
        assert guest.by_name([string], (1,)) == ((1,), wanted, True)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow", "ai_edge_litert", "openvino"])
def test_strings_in_rows(runtime: str, tmp_path: Path) -> None:
    graph = {
        "onnxruntime": lambda: wasi_nn.load(onnx_identity()),
        "tensorflow": lambda: tensorflow_identity(tmp_path),
        "ai_edge_litert": lambda: wasi_nn.load(tflite_identity((2, 3))),
        "openvino": lambda: shouting((2, -1)),
    }[runtime]()
    strings = [bytes([letter]) * letter for letter in range(65, 71)]
    assert Guest(graph).by_name(strings, (2, 3)) == ((2, 3), content(strings), True)


def test_strings_count_as_bytes_of_tensors() -> None:
    strings = [b"", b"x" * 1000]
    graph = wasi_nn.load(onnx_identity())
    guest = Guest(graph)
    guest.set(strings)
    given = guest.session.used("tensor_bytes")
    assert given > 1000
    guest.session.compute(guest.context)
    assert guest.session.used("tensor_bytes") > given + 1000
    guest.set([b""])
    assert guest.session.used("tensor_bytes") < given + 1500
    del guest
    guest = Guest(graph, Limits(tensor_bytes=given - 1))
    refused(ErrorCode.TOO_LARGE, "bytes of tensors", guest.set, strings)
    guest = Guest(graph, Limits(tensor_bytes=given + 500))
    refused(ErrorCode.TOO_LARGE, "bytes of tensors", guest.by_index, strings)


def test_an_output_that_isnt_strings_isnt_given_as_strings() -> None:
    maps = Guest(wasi_nn.load(onnx_models.labelled([1, 2])))
    maps.session.set_input(maps.context, 0, np.ones((1, 2), np.float32))
    maps.session.compute(maps.context)
    refused(ErrorCode.UNSUPPORTED_OPERATION, "output 'p' is seq", maps.outputs)
    numbers = Guest(wasi_nn.load(onnx_models.relu()))
    refused(ErrorCode.INVALID_ARGUMENT, "input 'x' is f32, not byte strings: call set_input", numbers.set, [b"a"] * 4)
    numbers.session.set_input(numbers.context, 0, np.ones(4, np.float32))
    numbers.session.compute(numbers.context)
    refused(ErrorCode.INVALID_ARGUMENT, "output 'y' has numbers", numbers.outputs)


# Models that work on strings


def test_onnx_normalizes_words() -> None:
    node = helper.make_node(
        "StringNormalizer", ["x"], ["y"], case_change_action="UPPER", locale="C", stopwords=["the", "a"]
    )
    graph = wasi_nn.load(onnx_models.build([node], {"x": (STRING, ["n"])}, {"y": (STRING, ["m"])}))
    assert Guest(graph).by_index([b"the", b"quick", b"a", b"fox"]) == content([b"QUICK", b"FOX"])


def test_onnx_counts_words() -> None:
    node = helper.make_node(
        "TfIdfVectorizer",
        ["x"],
        ["y"],
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=[0, 1, 2],
        pool_strings=["good", "bad", "ugly"],
    )
    guest = Guest(wasi_nn.load(onnx_models.build([node], {"x": (STRING, ["n"])}, {"y": (1, [3])})))
    guest.set([b"good", b"or", b"bad", b"good"])
    guest.session.compute(guest.context)
    assert guest.session.get_output(guest.context, 0).tolist() == [2, 1, 0]


def test_onnx_gives_the_labels_of_a_classifier() -> None:
    node = helper.make_node(
        "LabelEncoder",
        ["best"],
        ["label"],
        domain="ai.onnx.ml",
        keys_int64s=[0, 1, 2],
        values_strings=["setosa", "versicolor", ""],
    )
    nodes = [helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0), node]
    guest = Guest(wasi_nn.load(onnx_models.build(nodes, {"x": (1, ["n", 3])}, {"label": (STRING, ["n"])})))
    guest.session.set_input(guest.context, 0, np.eye(3, dtype=np.float32)[[1, 0, 2]])
    guest.session.compute(guest.context)
    assert guest.outputs() == content([b"versicolor", b"setosa", b""])


@pytest.mark.parametrize("isolate", [False, True])
def test_onnx_looks_up_words_that_are_no_text(isolate: bool, isolation: None) -> None:
    keys = [b"\xff\xfe", b"abc", b"\xe4", b"a"]
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=keys, values_int64s=[1, 2, 3, 4]
    )
    model = onnx_models.build([node], {"x": (STRING, None)}, {"y": (I64, None)})
    guest = Guest(wasi_nn.load(model, rules=LoadRules(isolate=isolate)))
    for strings, numbers in (
        ([b"abc", b"\xff\xfe", b"", b"abcd"], [2, 1, -1, -1]),
        ([b"\xe4"], [3]),
        ([b"a"], [4]),
        ([b"a\0", "\u00e4".encode()], [-1, -1]),
    ):
        guest.set(strings)
        guest.session.compute(guest.context)
        assert guest.session.get_output(guest.context, 0).tolist() == numbers
    if isolate:  # which bounds the bytes of strings itself
        return
    long = [b"\xff", *[b"x" * 2**20] * 64]
    guest.set(long)
    refused(ErrorCode.INVALID_ARGUMENT, "have at most 67108864 bytes", guest.session.compute, guest.context)


def test_bytes_of_python_are_no_names_of_objects() -> None:
    graph = wasi_nn.load(onnx_identity())
    assert graph.compute({"x": [b"abc", "d\u00e9f".encode()]})["y"].tolist() == ["abc", "d\u00e9f"]
    refused(ErrorCode.UNSUPPORTED_OPERATION, "isn't UTF-8", graph.compute, {"x": ["\udcff"]})


def test_tensorflow_works_on_words(tmp_path: Path) -> None:
    path = tensorflow_models.affine(tmp_path / "model")
    guest = Guest(wasi_nn.load(path, "tensorflow", runtime="tensorflow", options={"signature": "number"}))
    guest.set([b"two", b"\xffone\0", b"one"])
    guest.session.compute(guest.context)
    names = [info.name for info in guest.session.context(guest.context).graph.outputs]
    assert guest.outputs(names.index("loud")) == content([b"TWO", b"\xffONE\0", b"ONE"])
    assert guest.session.get_output(guest.context, "numbers").tolist() == [2, -1, 1]


def test_openvino_gets_no_strings_where_it_isnt_safe_with_them() -> None:
    graph = wasi_nn.load(onnx_identity(["n"]), runtime="openvino")
    refused(ErrorCode.UNSUPPORTED_OPERATION, "strings in the operator Identity", Guest, graph)


def test_openvino_computes_on_the_strings_that_are_set() -> None:
    guest = Guest(shouting())
    for strings in ([b"one"], [b"two", b"three"], [b"four"]):
        for _ in range(2):
            assert guest.by_index(strings) == content([string.upper() for string in strings])
    guest.set([b"set"])
    guest.by_name([b"apart", b""], (2,))
    guest.session.compute(guest.context)
    assert guest.outputs() == content([b"SET"])
