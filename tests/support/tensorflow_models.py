"""Small TensorFlow models for the tests, built with TensorFlow."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wasi_nn import TensorType
from wasi_nn.backends.tensorflow.backend import import_tensorflow

tf = import_tensorflow()
v1 = tf.compat.v1

Dims = Sequence[int | None] | None
Tensors = Mapping[str, Any]


def frozen(build: Callable[[], object]) -> bytes:
    """The GraphDef of the operations that the function builds."""
    with tf.Graph().as_default() as graph:
        build()
        serialised: bytes = graph.as_graph_def().SerializeToString()
    return serialised


def relu(dims: Dims = (4,)) -> bytes:
    """y = max(x, 0), in f32, as a GraphDef."""
    return frozen(lambda: tf.nn.relu(v1.placeholder(tf.float32, dims, "x"), name="y"))


def identity(kind: Any, dims: Dims = (None,)) -> bytes:
    """y = x, as a GraphDef."""
    return frozen(lambda: tf.identity(v1.placeholder(tf_type(kind), dims, "x"), name="y"))


def tf_type(kind: Any) -> Any:
    """TensorFlow's type for a `TensorType`, or for TensorFlow's own name of it."""
    return tf.as_dtype(kind.dtype if isinstance(kind, TensorType) else kind)


def affine_module() -> Any:
    """A module with two variables and a table: `affine` is y = x * scale + shift, `number` looks up words."""
    module = tf.Module()
    module.scale, module.shift = tf.Variable([1.0, 2.0, 3.0, 4.0]), tf.Variable(0.5)
    words = tf.lookup.KeyValueTensorInitializer(["one", "two"], tf.constant([1, 2], tf.int64))
    module.table = tf.lookup.StaticHashTable(words, -1)
    module.affine = function(lambda x: {"y": x * module.scale + module.shift, "rows": tf.shape(x)[0]}, (None, 4))
    module.number = function(
        lambda x: {"numbers": module.table.lookup(x), "loud": tf.strings.upper(x)}, (None,), "string"
    )
    return module


def function(body: Callable[[Any], Tensors], dims: Dims = (4,), kind: Any = "float32") -> Any:
    """A TensorFlow function of one input, `x`."""
    return tf.function(body, input_signature=[tf.TensorSpec(dims, tf_type(kind), "x")])


def affine(folder: Path) -> Path:
    """A SavedModel of `affine_module`, with the signatures `serving_default` and `number`."""
    module = affine_module()
    return saved(folder, module, {"serving_default": module.affine, "number": module.number})


def saved(folder: Path, module: Any, signatures: Mapping[str, Any]) -> Path:
    """A SavedModel of a module, written by TensorFlow 2."""
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def of_function(folder: Path, body: Callable[[Any], Tensors], dims: Dims = (4,), kind: Any = "float32") -> Path:
    """A SavedModel of a function of one input, `x`."""
    module = tf.Module()
    module.run = function(body, dims, kind)
    return saved(folder, module, {"serving_default": module.run})


def saved_by_v1(
    folder: Path, build: Callable[[], tuple[Tensors, Tensors]], init: Callable[[], Any] | None = None, **more: Any
) -> Path:
    """A SavedModel as TensorFlow 1 wrote them. `build` returns its inputs and outputs; `init` builds the operation that
    is run when the model is loaded."""
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        inputs, outputs = build()
        main = init() if init is not None else None
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def(dict(inputs), dict(outputs))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main, **more)
        builder.save()
    return folder


def changed(folder: Path, change: Callable[[Any], object]) -> Path:
    """A SavedModel whose first graph is changed by `change`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def add_constant(graph: Any, name: str, value: Any) -> str:
    """Add a constant to a GraphDef; returns its name."""
    node = graph.node.add(name=name, op="Const")
    tensor = tf.make_tensor_proto(value)
    node.attr["value"].tensor.CopyFrom(tensor)
    node.attr["dtype"].type = tensor.dtype
    return name


def zipped(folder: Path, inside: str = "") -> bytes:
    """A folder as a zip file, with the files in its folder `inside`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{inside}{path.relative_to(folder)}")
    return file.getvalue()


def tarred(folder: Path, mode: str = "w:gz", inside: str = ".") -> bytes:
    """A folder as a tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, inside)
    return file.getvalue()


def aligned(values: Any) -> np.ndarray[Any, Any]:
    """An array that is aligned, so that TensorFlow uses its memory in place."""
    array = np.asarray(values)
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    result = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


# Models that reach outside of their graph, or try to: each is a SavedModel that accesses the file `secret`.


def reads_a_file(folder: Path, secret: str) -> Path:
    return of_function(folder, lambda x: {"y": tf.io.read_file(secret)})


def reads_a_file_by_its_input(folder: Path, secret: str) -> Path:
    return of_function(folder, lambda x: {"y": tf.io.read_file(x)}, (), "string")


def reads_a_file_in_a_branch_of_a_loop(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        def body(count: Any, text: Any) -> Any:
            return count + 1, tf.cond(count > 1, lambda: tf.io.read_file(secret), lambda: text)

        return {"y": tf.while_loop(lambda count, _: count < 3, body, (0, tf.constant("")))[1]}

    return of_function(folder, function)


def finds_files(folder: Path, secret: str) -> Path:
    return of_function(folder, lambda x: {"y": tf.io.matching_files(secret + "*")})


def writes_a_file(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        tf.io.write_file(secret, "written")
        return {"y": x}

    return of_function(folder, function)


def prints_into_a_file(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        tf.print("written", output_stream=f"file://{secret}")
        return {"y": x}

    return of_function(folder, function)


def reads_a_dataset(folder: Path, secret: str) -> Path:
    dataset = tf.data.TextLineDataset
    return of_function(folder, lambda x: {"y": dataset(secret).reduce("", lambda old, new: old + new)})


def has_a_table_from_a_file(folder: Path, secret: str) -> Path:
    module = tf.Module()
    lookup, line = tf.lookup, tf.lookup.TextFileIndex
    words = lookup.TextFileInitializer(secret, tf.string, line.WHOLE_LINE, tf.int64, line.LINE_NUMBER)
    module.table = lookup.StaticHashTable(words, -1)
    module.run = tf.function(lambda x: {"y": module.table.lookup(x)})
    return saved(folder, module, {"serving_default": module.run.get_concrete_function(tf.TensorSpec([], "string"))})


def calls_python(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        return {"y": tf.ensure_shape(tf.numpy_function(lambda x: x, [x], tf.float32), [4])}

    return of_function(folder, function)


def ends_the_process(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        with tf.control_dependencies([tf.raw_ops.Abort()]):
            return {"y": tf.identity(x)}

    return of_function(folder, function)


def reads_a_checkpoint(folder: Path, secret: str) -> Path:
    restore = tf.raw_ops.RestoreV2
    return of_function(
        folder,
        lambda x: {"y": restore(prefix=secret, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]},
    )


def reads_a_checkpoint_by_its_input(folder: Path, secret: str) -> Path:
    restore = tf.raw_ops.RestoreV2
    return of_function(
        folder,
        lambda x: {"y": restore(prefix=x, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]},
        (),
        "string",
    )


def writes_a_checkpoint(folder: Path, secret: str) -> Path:
    def function(x: Any) -> Tensors:
        save = tf.raw_ops.SaveV2(prefix=secret, tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        with tf.control_dependencies([save]):
            return {"y": tf.identity(x)}

    return of_function(folder, function)


def writes_a_file_when_it_is_loaded(folder: Path, secret: str) -> Path:
    def build() -> tuple[Tensors, Tensors]:
        x = v1.placeholder(tf.float32, [4], "x")
        return {"x": x}, {"y": x + 1}

    return saved_by_v1(folder, build, lambda: tf.io.write_file(secret, "written"))


def with_a_variable(folder: Path) -> Path:
    def build() -> tuple[Tensors, Tensors]:
        x = v1.placeholder(tf.float32, [4], "x")
        return {"x": x}, {"y": x + v1.get_variable("shift", [4], use_resource=True)}

    return saved_by_v1(folder, build)


def restores_from_elsewhere(folder: Path, secret: str) -> Path:
    def change(meta: Any) -> None:
        elsewhere = add_constant(meta.graph_def, "elsewhere", secret)
        for node in meta.graph_def.node:
            if node.op == "RestoreV2":
                node.input[0] = elsewhere

    return changed(with_a_variable(folder), change)


def restores_from_elsewhere_in_a_function(folder: Path, secret: str) -> Path:
    def change(meta: Any) -> None:
        elsewhere = add_constant(meta.graph_def, "elsewhere", secret)
        for node in meta.graph_def.node:
            if node.name == meta.saver_def.restore_op_name:
                node.input[0] = elsewhere

    return changed(affine(folder), change)


def saves_where_it_should_restore(folder: Path, secret: str) -> Path:
    def change(meta: Any) -> None:
        meta.saver_def.restore_op_name = meta.saver_def.save_tensor_name.removesuffix(":0")

    return changed(affine(folder), change)


def restores_when_it_is_run(folder: Path, secret: str) -> Path:
    def change(meta: Any) -> None:
        restore = next(node.name for node in meta.graph_def.node if node.op == "RestoreV2")
        output = meta.signature_def["serving_default"].outputs["y"]
        output.name = f"{restore}:0"
        meta.signature_def["serving_default"].inputs["path"].name = meta.saver_def.filename_tensor_name
        meta.signature_def["serving_default"].inputs["path"].dtype = tf.string.as_datatype_enum

    return changed(with_a_variable(folder), change)


HOSTILE: dict[Callable[[Path, str], Path], str] = {
    reads_a_file: "ReadFile",
    reads_a_file_by_its_input: "ReadFile",
    reads_a_file_in_a_branch_of_a_loop: "ReadFile",
    finds_files: "MatchingFiles",
    writes_a_file: "WriteFile",
    prints_into_a_file: "PrintV2",
    reads_a_dataset: "Dataset",
    has_a_table_from_a_file: "InitializeTableFromTextFileV2",
    calls_python: "PyFunc",
    ends_the_process: "Abort",
    reads_a_checkpoint: "RestoreV2",
    reads_a_checkpoint_by_its_input: "RestoreV2",
    writes_a_checkpoint: "SaveV2",
    writes_a_file_when_it_is_loaded: "WriteFile",
    restores_from_elsewhere: "RestoreV2",
    restores_from_elsewhere_in_a_function: "RestoreV2",
    saves_where_it_should_restore: "SaveV2|MergeV2Checkpoints|ShardedFilename",
    restores_when_it_is_run: "RestoreV2",
}


# Graphs built by hand


def call(function: str, name: str = "call") -> Any:
    """A GraphDef with a call of a function of no arguments, whose output is a string."""
    graph = v1.GraphDef()
    node = graph.node.add(name=name, op="PartitionedCall")
    node.attr["Tout"].list.type.append(tf.string.as_datatype_enum)
    node.attr["Tin"].list.SetInParent()
    node.attr["f"].func.name = function
    return graph


def add_reader(graph: Any, function: str, path: str) -> Any:
    """Add a function that reads the file `path` to a graph's library."""
    it = graph.library.function.add()
    it.signature.name = function
    it.signature.output_arg.add(name="out", type=tf.string.as_datatype_enum)
    it.node_def.extend(constant("path", path).node)
    it.node_def.add(name="read", op="ReadFile", input=["path:output:0"])
    it.ret["out"] = "read:contents:0"
    return it


def constant(name: str, value: Any) -> Any:
    graph = v1.GraphDef()
    add_constant(graph, name, value)
    return graph
