"""Variables and signatures of TensorFlow Lite models that are built by hand: types, names, and models out of the
ordinary."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import need
from onnx_models import f32

import wasi_nn
from wasi_nn import ErrorCode, Graph, NNError, Session, TensorType

need("ai_edge_litert", "'wasi-nn[tflite]'")

import ml_dtypes  # noqa: E402
import tflite_models  # noqa: E402
from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from hostile_tflite import OPERATION, Model  # noqa: E402
from safetensors.numpy import load as load_state, save as save_state  # noqa: E402
from tflite_variables import Variable, sign, swapping  # noqa: E402

from wasi_nn.backends.tflite.model import require_sound  # noqa: E402
from wasi_nn.backends.tflite.variable_access import with_variable_access  # noqa: E402
from wasi_nn.session import state_files  # noqa: E402

TYPES: Mapping[int, Any] = {
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.BFLOAT16: ml_dtypes.bfloat16,
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.UINT32: np.uint32,
    schema.TensorType.UINT64: np.uint64,
    schema.TensorType.BOOL: np.bool_,
}


def loaded(folder: Path, model: Model | bytes, **options: Any) -> Graph:
    """A model from a file: untrusted models may have no variables."""
    path = folder / "model.tflite"
    path.write_bytes(model if isinstance(model, bytes) else model.bytes())
    return wasi_nn.load(path, options=options)


def y(graph: Graph, x: Sequence[float]) -> list[float]:
    numbers: list[float] = graph.compute({"x": f32(x)})["y"].tolist()
    return numbers


def test_every_type_of_numbers_and_every_rank_can_be_read_and_set(tmp_path: Path) -> None:
    variables = [Variable("main", f32([1, 2]))]
    for place, (element, dtype) in enumerate(TYPES.items()):
        dims = [(), (3,), (2, 3), (1, 2, 2)][place % 4]
        values = (np.arange(np.prod(dims, dtype=int)) % 2).reshape(dims).astype(dtype)
        variables.append(Variable(f"of type {np.dtype(dtype).name}", values, element))
    graph = loaded(tmp_path, swapping(*variables))
    one, other = graph.variables(), graph.variables()
    old = one.get()
    assert {name: (it.dtype, it.tolist()) for name, it in old.items()} == {
        it.name: (it.values.dtype, it.values.tolist()) for it in variables if it.values is not None
    }
    new = {
        name: (np.ones(it.shape) + np.arange(it.size).reshape(it.shape)).astype(it.dtype) for name, it in old.items()
    }
    one.set(state_files.values_in(memoryview(state_files.written(new))))
    other.set(one.get())
    assert all(other.get()[name].tolist() == it.tolist() for name, it in new.items())
    assert y(other.graph("swap"), [5, 6]) == new["main"].tolist()
    assert [it.get()["main"].tolist() for it in (one, other)] == [new["main"].tolist(), [5, 6]]


def test_variables_that_cant_be_read_are_left_out(tmp_path: Path) -> None:
    variables = loaded(
        tmp_path,
        swapping(
            Variable("v", f32([1])),
            Variable("unset"),
            Variable("complex", np.zeros(1, np.complex64), schema.TensorType.COMPLEX64),
            Variable("disputed", f32([1]), read_as=schema.TensorType.INT32),
        ),
    ).variables()
    assert list(variables.get()) == ["v"]
    variables.set({"v": f32([3])})
    assert variables.get()["v"].tolist() == [3]


def test_variables_of_one_name_have_their_containers_names_too(tmp_path: Path) -> None:
    model = swapping(Variable("v", f32([1])), Variable("v", f32([2]), container="other"), Variable("é", f32([3])))
    values = {name: it.tolist() for name, it in loaded(tmp_path, model).variables().get().items()}
    assert values == {"v": [1], "other/v": [2], "é": [3]}


def test_a_variable_whose_reader_declares_other_dims_is_read_whole(tmp_path: Path) -> None:
    model = swapping(Variable("v", f32([1, 2, 3, 4])))
    for graph in model.it.subgraphs[:2]:
        graph.tensors[1].shape = np.array([1], np.int32)
    variables = loaded(tmp_path, model).variables()
    assert variables.get()["v"].tolist() == [1, 2, 3, 4]


def test_signatures_of_the_model_keep_their_names(tmp_path: Path) -> None:
    graph = loaded(tmp_path, swapping(Variable("v", f32([1, 2])), signatures=("assign", "read")))
    assert (graph.signature, graph.signatures) == ("assign", ("assign", "read"))
    variables = graph.variables()
    assert [y(variables.graph("read"), x) for x in ([3, 4], [5, 6])] == [[1, 2], [3, 4]]
    assert y(variables.graph("assign"), [0, 0]) == variables.get()["v"].tolist() == [5, 6]


def test_a_model_without_signatures_has_variables_too(tmp_path: Path) -> None:
    model = swapping(Variable("v", f32([1, 2])), signatures=())
    model.it.subgraphs[:2] = model.it.subgraphs[1::-1]
    graph = loaded(tmp_path, model)
    assert (graph.signature, graph.signatures, graph.inputs[0].name) == ("", (), "t")
    with Session({"net": graph}) as session:
        handle = session.load_by_name("net")
        own = session.init_execution_context(handle)
        session.state_set(handle, save_state({"v": f32([7, 8])}))
        shared = [session.init_execution_context(session.use_signature(handle, "")) for _ in range(2)]
        shared.append(session.init_execution_context(handle))
        outputs = []
        for number, context in enumerate((*shared, own)):
            session.set_input(context, 0, f32([number, number]))
            session.compute(context)
            outputs.append(session.get_output(context, 0).tolist())
        assert outputs == [[7, 8], [0, 0], [1, 1], [1, 2]]
        assert load_state(session.state_get(handle))["v"].tolist() == [2, 2]


@pytest.mark.parametrize("hidden", ["order", "weights behind"])
def test_a_model_that_cant_be_extended_shares_its_variables_all_the_same(tmp_path: Path, hidden: str) -> None:
    model = swapping(Variable("v", f32([1, 2])))
    if hidden == "order":
        model.it.metadata = [schema.MetadataT(b"model_control_dependencies", len(model.it.buffers))]
        model.it.buffers.append(schema.BufferT(np.frombuffer(bytes(4), np.uint8)))
        content = model.bytes()
    else:
        place = len(model.it.buffers) - 1  # of the initial values
        model.it.buffers[place] = schema.BufferT(offset=1, size=8)
        length = len(model.bytes())
        model.it.buffers[place] = schema.BufferT(offset=length + -length % 16, size=8)
        content = model.bytes() + bytes(-length % 16) + f32([1, 2]).tobytes()
    variables = loaded(tmp_path, content).variables()
    assert [y(variables.graph(name), [3, 4]) for name in ("read", "swap", "read")] == [[1, 2], [1, 2], [3, 4]]
    for call in (variables.get, lambda: variables.set({"v": f32([0, 0])})):
        refused(ErrorCode.UNSUPPORTED_OPERATION, "the variables of this model can't be read or set", call)


def test_a_model_keeps_its_parts_when_signatures_are_added() -> None:
    content = swapping(Variable("v", f32([1, 2]))).bytes()
    access = with_variable_access(content)
    assert access is not None
    require_sound(access.model, trusted=True)
    assert content in access.model
    model = schema.ModelT.InitFromPackedBuf(access.model, 0)
    assert [it.signatureKey for it in model.signatureDefs] == [b"read", b"swap", b"read_", b"assign"]
    assert (model.version, model.description, len(model.subgraphs)) == (3, b"test", 5)


def test_signatures_of_different_subgraphs_with_equal_tensors_arent_mixed_up() -> None:
    model = Model()
    for number, operation in enumerate((OPERATION.RELU, OPERATION.NEG)):
        if number:
            model.graph()
        model.run(operation, [model.tensor([4])], [model.tensor([4])])
        model.ports([0], [1])
        sign(model, ("a", "b")[number], number, {"x": 0}, {"y": 1})
    x = [1, -2, 3, -4]
    expected = {"a": [1, 0, 3, 0], "b": [-1, 2, -3, 4]}
    for name, numbers in expected.items():
        assert y(wasi_nn.load(model.bytes(), options={"signature": name}), x) == numbers
    with Session() as session:
        graph = session.load([memoryview(model.bytes())], wasi_nn.GraphEncoding.AUTODETECT, wasi_nn.ExecutionTarget.CPU)
        for name, numbers in expected.items():
            context = session.init_execution_context(session.use_signature(graph, name))
            assert session.compute_named(context, [("x", f32(x))])[0][1].tolist() == numbers


def test_an_untrusted_model_has_no_variables() -> None:
    content = swapping(Variable("v", f32([1, 2]))).bytes()
    refused(ErrorCode.SECURITY, "it has variables", wasi_nn.load, content)


def test_signatures_of_dynamic_dims_and_of_several_inputs_run_on_one_set() -> None:
    f32_element = tflite_models.ELEMENTS[TensorType.F32]
    tensors = [tflite_models.tensor(name, f32_element, (-1,)) for name in "abc"]
    signatures = {name: ({"p": 0, "q": 1}, {"r": 2}) for name in ("add", "sum")}
    graph = wasi_nn.load(tflite_models.build(tensors, [(tflite_models.ADD, [0, 1], [2])], [0, 1], [2], signatures))
    variables = graph.variables()
    assert (variables.get(), variables.nbytes) == ({}, 0)
    one, other = (variables.graph(name).init_execution_context() for name in ("add", "sum"))
    for count in (3, 1, 5):
        p, q = (np.arange(count, dtype=np.float32) * factor for factor in (1, 10))
        for context in (one, other):
            assert context.compute_named({"q": q, "p": p})[0][1].tolist() == (p + q).tolist()


def test_damage_anywhere_is_an_error_or_does_no_harm() -> None:
    """The rewriting reads a model that may be damaged, and never fails in another way."""
    content = swapping(Variable("v", f32([1, 2])), Variable("w", f32([3, 4]))).bytes()
    rng = random.Random(1)
    outcomes = set()
    for _ in range(3000):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(0, len(damaged) - 4)
            damaged[place : place + rng.choice((1, 4))] = rng.randbytes(rng.choice((1, 4)))
        try:
            require_sound(bytes(damaged), trusted=True)
            access = with_variable_access(bytes(damaged))
            outcomes.add("none" if access is None else "made")
        except (ValueError, NNError):
            outcomes.add("refused")
    assert {"made", "refused"} <= outcomes
