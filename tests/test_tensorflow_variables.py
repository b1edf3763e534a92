"""Variables and signatures of SavedModels: types, names, variables of TensorFlow 1, tables, and hostile signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import refused
from conftest import need
from onnx_models import f32

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, Graph, GraphEncoding, LoadRules, Session

need("tensorflow", "'wasi-nn[tensorflow]'")

import tensorflow_models as models  # noqa: E402

from wasi_nn.session import state_files  # noqa: E402

tf, v1 = models.tf, models.v1
RULES = LoadRules(runtimes={"tensorflow": "tensorflow"})
NUMBERS = ["bool", *(f"float{bits}" for bits in (16, 32, 64)), "bfloat16"]
NUMBERS += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]


def load(source: Any, **options: Any) -> Graph:
    return wasi_nn.load(source, "tensorflow", rules=RULES, options=options)


def counting(folder: Path) -> Path:
    """`add` adds x to a variable and gives the sum, `total` gives the sum."""
    module = tf.Module()
    module.total = tf.Variable(tf.zeros([4]), name="total")
    module.add = models.function(lambda x: {"y": module.total.assign_add(x)})
    module.get = models.function(lambda x: {"y": module.total + 0 * x})
    return models.saved(folder, module, {"add": module.add, "total": module.get})


def y(graph: Graph, x: Any) -> Any:
    return graph.compute({"x": x})["y"].tolist()


def test_every_type_of_numbers_can_be_read_and_set_and_others_are_left_out(tmp_path: Path) -> None:
    module = tf.Module()
    dims = [(), (3,), (2, 3), (1, 2, 2)]
    module.numbers = [
        tf.Variable(tf.cast(tf.ones(dims[place % 4]), kind), name=f"of_{kind}") for place, kind in enumerate(NUMBERS)
    ]
    module.text, module.complex = tf.Variable(["a", "b"], name="text"), tf.Variable([1j], name="complex")
    module.run = models.function(lambda x: {"y": x + tf.cast(module.numbers[2], tf.float32)[0, 0] * 10})
    module.say = models.function(lambda x: {"y": tf.strings.reduce_join(module.text)})
    folder = models.saved(tmp_path / "model", module, {"run": module.run, "say": module.say})
    for source in (folder, models.zipped(folder)):
        graph = load(source)
        one, other = graph.variables(), graph.variables()
        old = one.get()
        assert {name: (it.dtype.name, it.shape) for name, it in old.items()} == {
            f"of_{kind}": (kind, dims[place % 4]) for place, kind in enumerate(NUMBERS)
        }
        assert all((it == 1).all() for it in old.values())
        new = {name: np.zeros(it.shape, it.dtype) for name, it in old.items()}
        one.set(state_files.values_in(memoryview(state_files.written(new))))
        assert not any(it.any() for it in one.get().values())
        assert [y(it.graph("run"), f32([1, 2, 3, 4])) for it in (one, other)] == [[1, 2, 3, 4], [11, 12, 13, 14]]
        assert [y(it.graph("say"), f32([0] * 4)) for it in (one, other)] == [b"ab"] * 2


def test_variables_of_one_name_are_all_there(tmp_path: Path) -> None:
    module = tf.Module()
    module.all = [tf.Variable([float(number)], name="v") for number in range(3)]
    module.run = models.function(lambda x: {"y": x + module.all[0] + module.all[1] + module.all[2]})
    variables = load(models.saved(tmp_path / "model", module, {"run": module.run})).variables()
    values = variables.get()
    assert "v" in values
    assert sorted(float(it[0]) for it in values.values()) == [0, 1, 2]
    variables.set({name: it + 1 for name, it in values.items()})
    assert y(variables.graph("run"), f32([0] * 4)) == [6] * 4


@pytest.mark.parametrize("is_resource", [False, True])
def test_variables_of_tensorflow_1(tmp_path: Path, is_resource: bool) -> None:
    def build() -> tuple[models.Tensors, models.Tensors]:
        x = v1.placeholder(tf.float32, [4], "x")
        total = v1.get_variable("total", [4], initializer=v1.ones_initializer(), use_resource=is_resource)
        v1.get_variable("unused", [2], initializer=v1.ones_initializer(), use_resource=is_resource)
        return {"x": x}, {"y": tf.identity(v1.assign_add(total, x))}

    graph = load(models.zipped(models.saved_by_v1(tmp_path / "model", build)))
    assert (graph.signature, graph.signatures) == ("serving_default", ("serving_default",))
    variables = graph.variables()
    run = variables.graph("serving_default")
    assert [y(run, f32([1, 0, 0, 2])) for _ in range(2)] == [[2, 1, 1, 3], [3, 1, 1, 5]]
    assert {name: it.tolist() for name, it in variables.get().items()} == {"total": [3, 1, 1, 5], "unused": [1, 1]}
    variables.set({"total": f32([0, 0, 0, 1])})
    assert y(run, f32([1, 1, 1, 1])) == [1, 1, 1, 2]
    assert [y(graph, f32([0] * 4)) for _ in range(2)] == [[1] * 4] * 2, "the graph itself keeps the model's values"


def test_a_variable_without_a_value_is_left_out_until_it_has_one(tmp_path: Path) -> None:
    def late(meta: Any) -> None:
        node = meta.graph_def.node.add(name="late", op="VarHandleOp")
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["shape"].shape.SetInParent()
        node.attr["shared_name"].s = b"late"
        read = meta.graph_def.node.add(name="late/read", op="ReadVariableOp", input=["late"])
        read.attr["dtype"].type = tf.float32.as_datatype_enum
        meta.signature_def["late"].outputs["y"].name = "late/read:0"
        three = models.add_constant(meta.graph_def, "three", f32(3))
        assign = meta.graph_def.node.add(name="late/assign", op="AssignVariableOp", input=["late", three])
        assign.attr["dtype"].type = tf.float32.as_datatype_enum
        after = meta.graph_def.node.add(name="late/after", op="Identity", input=[three, "^late/assign"])
        after.attr["T"].type = tf.float32.as_datatype_enum
        meta.signature_def["set late"].outputs["y"].name = "late/after:0"

    graph = load(models.changed(counting(tmp_path / "model"), late))
    variables = graph.variables()
    assert list(variables.get()) == ["total"]
    refused(ErrorCode.RUNTIME_ERROR, "late", variables.graph("late").compute, {})
    refused(ErrorCode.INVALID_ARGUMENT, "no variable is named 'late'", variables.set, {"late": f32(3)})
    assert variables.graph("set late").compute({})["y"] == 3
    assert variables.get()["late"] == variables.graph("late").compute({})["y"] == 3


# What a new set reads


def with_words(folder: Path, in_a_file: bool) -> Path:
    """`find` gives the numbers of words."""
    module = tf.Module()
    file = folder.parent / "words.txt"
    file.write_text("one\ntwo\n")
    lookup, line = tf.lookup, tf.lookup.TextFileIndex
    words = (
        lookup.TextFileInitializer(str(file), tf.string, line.WHOLE_LINE, tf.int64, line.LINE_NUMBER)
        if in_a_file
        else lookup.KeyValueTensorInitializer(["one", "two"], tf.constant([0, 1], tf.int64))
    )
    module.table = lookup.StaticHashTable(words, -1)
    module.asset = words._filename if in_a_file else None
    module.factor = tf.Variable(tf.constant(10, tf.int64), name="factor")
    module.find = models.function(lambda x: {"y": module.table.lookup(x) * module.factor}, (None,), "string")
    return models.saved(folder, module, {"find": module.find})


def with_a_table_that_changes(folder: Path) -> Path:
    """The table of `find` is restored with the variables; `put` changes it."""
    module = tf.Module()
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    module.factor = tf.Variable(tf.constant(10, tf.int64), name="factor")
    module.table.insert(["one", "two"], tf.constant([0, 1], tf.int64))
    module.find = models.function(lambda x: {"y": module.table.lookup(x) * module.factor}, (None,), "string")
    return models.saved(folder, module, {"find": module.find})


TABLES: dict[str, Callable[[Path], Path]] = {
    "from constants": lambda folder: with_words(folder, False),
    "from a file": lambda folder: with_words(folder, True),
    "that changes": with_a_table_that_changes,
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("is_archive", [False, True])
def test_a_set_has_the_models_tables(tmp_path: Path, kind: str, is_archive: bool) -> None:
    folder = TABLES[kind](tmp_path / "model")
    source = tmp_path / "model.zip"
    source.write_bytes(models.zipped(folder))
    graph = load(source if is_archive else folder)
    expected = y(graph, ["two", "one", "three"])
    assert expected == [10, 0, -10]
    variables = graph.variables()
    assert y(variables.graph("find"), ["two", "one", "three"]) == expected
    variables.set({"factor": np.array(3, np.int64)})
    assert y(variables.graph("find"), ["two", "one", "three"]) == [3, 0, -3]
    assert y(graph, ["two"]) == [10]


@pytest.mark.parametrize("signature", ["add", "total"])
def test_files_that_changed_matter_only_where_they_are_read_again(tmp_path: Path, signature: str) -> None:
    folder = counting(tmp_path / "model")
    graph = load(folder, signature=signature)
    first = graph.variables()
    for file in (folder / "variables").iterdir():
        file.unlink()
    if signature == "add":
        refused(ErrorCode.RUNTIME_ERROR, "have changed since it was loaded", graph.variables)
    else:
        assert y(graph.variables().graph("add"), f32([1, 2, 3, 4])) == [1, 2, 3, 4]
    assert [y(first.graph(name), f32([1] * 4)) for name in ("add", "total")] == [[1] * 4, [1] * 4]


def test_an_unpacked_archive_goes_with_the_graph_that_reads_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = models.zipped(counting(tmp_path / "model"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    graph = load(archive, signature="total")
    assert list(temporary.iterdir()) == []
    variables = [graph.variables()]
    graph = load(archive, signature="add")
    assert len(list(temporary.iterdir())) == 1
    variables.append(graph.variables())
    for it in variables:
        assert [y(it.graph(name), f32([1] * 4)) for name in ("add", "total")] == [[1] * 4, [1] * 4]
    del graph, it
    variables.clear()
    assert list(temporary.iterdir()) == []


# Signatures that can't be run


def with_a_hostile_signature(folder: Path, secret: str) -> Path:
    """`good` counts, and `bad` writes into a file."""
    module = tf.Module()
    module.total = tf.Variable(tf.zeros([4]), name="total")
    module.good = models.function(lambda x: {"y": module.total.assign_add(x)})

    def bad(x: Any) -> models.Tensors:
        tf.io.write_file(secret, "written")
        return {"y": -x}

    module.bad = models.function(bad)
    return models.saved(folder, module, {"good": module.good, "bad": module.bad})


def test_a_hostile_signature_of_an_untrusted_model_is_refused_and_the_others_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    archive = models.zipped(with_a_hostile_signature(tmp_path / "model", str(canary)))
    refused(ErrorCode.SECURITY, "'WriteFile'", load, archive)
    graph = load(archive, signature="good")
    variables = graph.variables()
    refused(ErrorCode.SECURITY, "'WriteFile'", variables.graph, "bad")
    assert y(variables.graph("good"), f32([1, 2, 3, 4])) == [1, 2, 3, 4]
    assert variables.get()["total"].tolist() == [1, 2, 3, 4]
    assert not canary.exists()
    of_the_operator = load(tmp_path / "model", signature="good").variables()
    assert y(of_the_operator.graph("bad"), f32([1, 2, 3, 4])) == [-1, -2, -3, -4]
    assert canary.read_text() == "written"


def test_a_guest_brings_a_model_with_a_hostile_signature(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    folder = with_a_hostile_signature(tmp_path / "model", str(canary))

    def rename(meta: Any) -> None:
        meta.signature_def["infer"].CopyFrom(meta.signature_def.pop("good"))

    archive = models.zipped(models.changed(folder, rename))
    with Session(allow_load=["tensorflow"], rules=RULES) as session:
        graph = session.load([memoryview(archive)], GraphEncoding.TENSORFLOW, ExecutionTarget.CPU)
        assert session.describe(graph).signatures == ("bad", "infer")
        refused(ErrorCode.SECURITY, "'WriteFile'", session.use_signature, graph, "bad")
        context = session.init_execution_context(session.use_signature(graph, "infer"))
        assert session.compute_named(context, [("x", f32([1, 1, 1, 1]))])[0][1].tolist() == [1] * 4
    assert not canary.exists()


def test_a_signature_that_wasi_nn_or_this_tensorflow_lacks_is_refused_alone(tmp_path: Path) -> None:
    def change(meta: Any) -> None:
        meta.graph_def.node.add(name="unknown", op="OperationOfAnother")
        meta.signature_def["unknown"].outputs["y"].name = "unknown:0"
        meta.signature_def["sparse"].CopyFrom(meta.signature_def["total"])
        meta.signature_def["sparse"].inputs["x"].coo_sparse.values_tensor_name = "x:0"
        meta.signature_def["nowhere"].outputs["y"].name = "nowhere:0"

    graph = load(models.changed(counting(tmp_path / "model"), change))
    assert graph.signature == "add"
    variables = graph.variables()
    for name, message in (("unknown", "'OperationOfAnother'"), ("sparse", "sparse or ragged")):
        refused(ErrorCode.UNSUPPORTED_OPERATION, message, variables.graph, name)
    refused(ErrorCode.RUNTIME_ERROR, "nowhere", variables.graph, "nowhere")
    assert y(variables.graph("add"), f32([1] * 4)) == [1] * 4


def test_the_graphs_of_all_signatures_together_may_be_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(meta: Any) -> None:
        for number in range(100):
            meta.signature_def[f"total {number}"].CopyFrom(meta.signature_def["total"])

    graph = load(models.changed(counting(tmp_path / "model"), change))
    assert len(graph.signatures) == 102
    monkeypatch.setattr("wasi_nn.backends.tensorflow.operations.MAX_STEPS", 100)
    refused(ErrorCode.TOO_LARGE, "more than 500 steps", graph.variables)
    monkeypatch.undo()
    assert y(graph.variables().graph("total 99"), f32([0] * 4)) == [0] * 4
