"""Hostile TensorFlow models. More models that try to reach a file are in `tensorflow_models`."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hostile import HARMLESS, INVALID, LARGE, RUNTIME, SECURITY, Scene, corpus, fails, isolated_only, made, refused
from tensorflow_models import (
    add_constant,
    affine,
    calls_python,
    changed,
    frozen,
    of_function,
    reads_a_file_in_a_branch_of_a_loop,
    relu,
    restores_from_elsewhere_in_a_function,
    tarred,
    tf,
    v1,
    with_a_variable,
    writes_a_file_when_it_is_loaded,
    zipped,
)

HUGE = 1 << 40
F32, I32, I64, TEXT = (kind.as_datatype_enum for kind in (tf.float32, tf.int32, tf.int64, tf.string))


def graph_of(*nodes: tuple[str, str, Sequence[str], dict[str, Any]]) -> bytes:
    """A GraphDef of nodes: the name, the operation, the inputs and the attributes of each."""
    graph = v1.GraphDef()
    for name, operation, inputs, attributes in nodes:
        _add(graph.node, name, operation, inputs, attributes)
    return bytes(graph.SerializeToString())


def _add(nodes: Any, name: str, operation: str, inputs: Sequence[str], attributes: dict[str, Any]) -> None:
    node = nodes.add(name=name, op=operation, input=inputs)
    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)


def attribute(**value: Any) -> Any:
    return v1.AttrValue(**value)


T = {"T": attribute(type=F32)}


def placeholder(*dims: int) -> tuple[str, str, Sequence[str], dict[str, Any]]:
    shape = tf.TensorShape(None).as_proto()
    shape.unknown_rank = False
    for dim in dims:
        shape.dim.add(size=dim)
    return ("x", "Placeholder", [], {"dtype": attribute(type=F32), "shape": attribute(shape=shape)})


def with_constant(content: bytes, *dims: int, kind: int = F32) -> bytes:
    """y = x + a constant that declares these dims."""
    graph = v1.GraphDef.FromString(graph_of(placeholder(4), ("y", "AddV2", ["x", "c"], T)))
    node = graph.node.add(name="c", op="Const")
    node.attr["dtype"].type = kind
    tensor = node.attr["value"].tensor
    tensor.dtype, tensor.tensor_content = kind, content
    for dim in dims:
        tensor.tensor_shape.dim.add(size=dim)
    return bytes(graph.SerializeToString())


def repeating(*dims: int) -> bytes:
    """A constant with a single number, which TensorFlow repeats to fill these dims."""
    graph = v1.GraphDef.FromString(with_constant(b"", *dims))
    _add(graph.node, "z", "Relu", ["c"], T)
    del graph.node[:2]
    graph.node.reverse()
    graph.node[-1].attr["value"].tensor.float_val.append(1.0)
    return bytes(graph.SerializeToString())


def filled(*dims: int) -> bytes:
    """y = one number, filled to the dims in a constant."""
    graph = v1.GraphDef()
    kinds = {"T": attribute(type=F32), "index_type": attribute(type=I64)}
    constants = add_constant(graph, "dims", np.array(dims, np.int64)), add_constant(graph, "x", np.float32(1))
    _add(graph.node, "y", "Fill", constants, kinds)
    return bytes(graph.SerializeToString())


def cyclic() -> bytes:
    """a is computed from b, and b from a."""
    return graph_of(placeholder(4), ("a", "AddV2", ["x", "b"], T), ("b", "Relu", ["a"], T), ("y", "Relu", ["b"], T))


def by_name(*nodes: tuple[str, str, Sequence[str], dict[str, Any]]) -> Callable[[Scene], bytes]:
    return lambda _: graph_of(placeholder(4), *nodes)


def recursive(*calls: tuple[str, str]) -> bytes:
    """Functions that each call another one; the graph calls the first."""
    graph = v1.GraphDef.FromString(graph_of(placeholder(4)))
    for name, called in calls:
        it = graph.library.function.add()
        it.signature.name = name
        it.signature.input_arg.add(name="x", type=F32)
        it.signature.output_arg.add(name="y", type=F32)
        _add(it.node_def, "call", called, ["x"], {})
        it.ret["y"] = "call:y:0"
    _add(graph.node, "y", calls[0][0], ["x"], {})
    return bytes(graph.SerializeToString())


def deep_functions(count: int) -> bytes:
    """Functions that each call the next."""
    graph = v1.GraphDef.FromString(recursive(*((f"f{n}", f"f{n + 1}") for n in range(count))))
    last = graph.library.function[-1]
    last.node_def[0].op, last.ret["y"] = "Relu", "call:activations:0"
    last.node_def[0].attr["T"].type = F32
    return bytes(graph.SerializeToString())


def doubling_functions(count: int) -> bytes:
    """Functions that each call the next twice."""
    graph = v1.GraphDef.FromString(deep_functions(count))
    for place, it in enumerate(graph.library.function[:-1]):
        _add(it.node_def, "again", f"f{place + 1}", ["call:y:0"], {})
        it.ret["y"] = "again:y:0"
    return bytes(graph.SerializeToString())


def looping() -> bytes:
    """A loop without an end."""

    def build() -> None:
        x = v1.placeholder(tf.float32, [4], "x")
        tf.identity(v1.while_loop(lambda x: tf.reduce_all(x > 0), lambda x: x + 1, [x]), name="y")

    return frozen(build)


def chain(length: int) -> bytes:
    """A chain of operations."""
    return graph_of(placeholder(4), *((f"n{i}", "Relu", [f"n{i - 1}" if i else "x"], T) for i in range(length)))


@cache
def _saved() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as directory:
        folder = of_function(Path(directory, "model"), lambda x: {"y": x + 1})
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zip_of(**more: bytes) -> bytes:
    """A SavedModel as a zip file, with additional files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (_saved() | more).items():
            archive.writestr(name, content)
    return made.getvalue()


def with_name(name: str) -> bytes:
    return zip_of(**{name: b"escaped"})


def block(kind: bytes, size: int, name: str = "entry") -> bytes:
    """The header of an entry of a tar file."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, size
    return header.tobuf(tarfile.USTAR_FORMAT)


def of_blocks(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def more_of(kind: bytes, *records: str) -> bytes:
    """An extended header of a tar file, for the next entry or for all; each record has less than 90 characters."""
    content = "".join(f"{len(it) + 4:02} {it}\n" for it in records).encode()
    return block(kind, len(content)) + of_blocks(content)


def tar(*parts: bytes) -> bytes:
    """A SavedModel as a compressed tar file, followed by these parts."""
    files = [block(tarfile.REGTYPE, len(it), name) + of_blocks(it) for name, it in _saved().items()]
    return gzip.compress(b"".join([*files, *parts, bytes(1024)]), 1)


def copied_headers() -> list[bytes]:
    """A header for all entries of a tar file, and entries with separate headers."""
    entry = more_of(tarfile.XHDTYPE, "a=b") + block(tarfile.DIRTYPE, 0)
    return [more_of(tarfile.XGLTYPE, *(f"k{number:05}=" for number in range(10_000))), entry * 10_000]


def zip_of_link(target: str) -> bytes:
    """A SavedModel as a zip file, with a symbolic link among its variables."""
    made = io.BytesIO(zip_of())
    with zipfile.ZipFile(made, "a") as archive:
        link = zipfile.ZipInfo("variables/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, target)
    return made.getvalue()


def tar_of(kind: bytes, name: str, target: str = "", size: int = 0, first: bool = False) -> bytes:
    """A SavedModel as a tar file, with an additional entry of this kind."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.devmajor, entry.devminor = kind, target, 1, 5
        if first:
            archive.addfile(entry)
        for path, content in _saved().items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if not first:
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
    return made.getvalue()


def overlapping(count: int) -> bytes:
    """A zip file with so many additional entries, which all consist of the same bytes of the file."""
    made = bytearray(zip_of(**{"variables/zeros0000": bytes(10 << 20)}))
    end = made.rindex(b"PK\x05\x06")
    start = int.from_bytes(made[end + 16 : end + 20], "little")
    at = made.rindex(b"variables/zeros0000") - 46
    entry = bytes(made[at : made.rindex(b"variables/zeros0000") + 19])
    more = b"".join(entry.replace(b"zeros0000", f"zeros{number:04}".encode()) for number in range(1, count))
    total = (int.from_bytes(made[end + 10 : end + 12], "little") + count - 1).to_bytes(2, "little")
    tail = bytes(made[end : end + 8]) + total * 2 + (end + len(more) - start).to_bytes(4, "little") + made[end + 16 :]
    return bytes(made[:end]) + more + bytes(tail)


def by_operation(build: Callable[[Path, str], Path]) -> Callable[[Scene], bytes]:
    def make(scene: Scene) -> bytes:
        with tempfile.TemporaryDirectory() as directory:
            return zipped(build(Path(directory, "model"), str(scene.canary)))

    return make


def saved(change: Callable[[Any], object], build: Callable[[Path], Path] = affine) -> bytes:
    """A SavedModel whose first graph is changed by `change`."""
    with tempfile.TemporaryDirectory() as directory:
        return zipped(changed(build(Path(directory, "model")), change))


def asset_of(path: str) -> bytes:
    """A SavedModel that declares this path for its asset, a file that it reads when it is loaded."""

    def change(meta: Any) -> None:
        asset = meta.asset_file_def.add(filename=path)
        asset.tensor_info.name = f"{add_constant(meta.graph_def, 'asset', 'x')}:0"

    return saved(change)


def index_of(content: bytes) -> bytes:
    """A SavedModel with a variable, with this content as the index of its variables."""
    with tempfile.TemporaryDirectory() as directory:
        folder = with_a_variable(Path(directory, "model"))
        (folder / "variables" / "variables.index").write_bytes(content)
        return zipped(folder)


def with_shards(name: str) -> bytes:
    """A SavedModel with a variable whose values are in a symbolic link."""
    with tempfile.TemporaryDirectory() as directory:
        folder = with_a_variable(Path(directory, "model"))
        data = folder / "variables" / "variables.data-00000-of-00001"
        data.unlink()
        data.symlink_to(name)
        return tarred(folder)


REACHING = (
    calls_python,
    reads_a_file_in_a_branch_of_a_loop,
    restores_from_elsewhere_in_a_function,
    writes_a_file_when_it_is_loaded,
)

MODELS = corpus(
    "tensorflow",
    {
        refused(SECURITY): [
            *((f"one that {it.__name__.replace('_', ' ')}", by_operation(it)) for it in REACHING),
            (
                "a file that is read, in a GraphDef",
                lambda scene: frozen(lambda: tf.io.read_file(str(scene.canary), name="y")),
            ),
            (
                "a file that is written, in a GraphDef",
                lambda scene: frozen(lambda: tf.io.write_file(f"{scene.folder}/written", "x", name="y")),
            ),
            ("an operation that doesn't exist", by_name(("y", "Evil", ["x"], {}))),
            made("an entry above the archive", with_name, "../escaped"),
            made("an entry far above the archive", with_name, "a/../../../../escaped"),
            ("an entry by a whole path", lambda scene: with_name(f"{scene.folder}/escaped")),
            made("an entry with a backslash", with_name, "..\\escaped"),
            ("a symbolic link in a zip file", lambda scene: zip_of_link(str(scene.canary))),
            (
                "a symbolic link in a tar file",
                lambda scene: tar_of(tarfile.SYMTYPE, "variables/link", str(scene.canary)),
            ),
            ("a hard link in a tar file", lambda scene: tar_of(tarfile.LNKTYPE, "variables/link", str(scene.canary))),
            (
                "a link in whose place a folder is",
                lambda scene: tar_of(tarfile.SYMTYPE, "variables", str(scene.folder), first=True),
            ),
            ("values that are a link", lambda scene: with_shards(str(scene.canary))),
            made("a device in a tar file", tar_of, tarfile.CHRTYPE, "variables/zero"),
            made("a pipe in a tar file", tar_of, tarfile.FIFOTYPE, "variables/pipe"),
            made("an entry above a tar file", tar_of, tarfile.REGTYPE, "../escaped"),
            made("a path of 1,000 folders in a tar file", tar_of, tarfile.REGTYPE, "a/" * 1_000 + "a"),
            ("a header of 16 MB in a tar file", lambda _: tar(block(tarfile.XHDTYPE, 16 << 20), bytes(16 << 20))),
            (
                "a name of 16 MB in a tar file",
                lambda _: tar(block(tarfile.GNUTYPE_LONGNAME, 16 << 20), bytes(16 << 20)),
            ),
            ("what each of 10,000 entries of a tar file copies", lambda _: tar(*copied_headers())),
            ("a sparse file in a tar file", lambda _: tar(block(tarfile.GNUTYPE_SPARSE, 0))),
            (
                "a sparse file in a tar file, whose map doesn't end",
                lambda _: tar(
                    more_of(tarfile.XHDTYPE, "GNU.sparse.major=1", "GNU.sparse.minor=0"),
                    block(tarfile.REGTYPE, 16 << 20) + b"1" * (16 << 20),
                ),
            ),
            ("zeros of 300 MB in some kB", lambda _: zip_of(**{"variables/zeros": bytes(300 << 20)})),
            made("2,000 entries that are the same bytes", overlapping, 2_000),
        ],
        refused(INVALID): [
            ("two builders", lambda _: [relu(), relu()]),
        ],
        refused(LARGE): [
            made("functions of depth 1,000", deep_functions, 1_000),
            made("functions that call each other 2^40 times", doubling_functions, 40),
        ],
        refused(RUNTIME): [
            made("a constant of 2^40 numbers that aren't there", with_constant, b"", HUGE),
            made("a constant of dims that overflow", with_constant, bytes(16), 1 << 32, 1 << 32, 4),
            made("a constant of a negative dim", with_constant, bytes(16), -4),
            made("a constant of too few bytes", with_constant, b"1234", 4),
            made("a constant of too many bytes", with_constant, bytes(4000), 4),
            made("a constant of 300 dims", with_constant, bytes(4), *[1] * 300),
            made("a constant of texts that are damaged", with_constant, b"\xff" * 16, 4, kind=TEXT),
            made("a constant of a type that doesn't exist", with_constant, bytes(16), 4, kind=1000),
            made("a number that is repeated 2^40 times", repeating, HUGE),
            made("a number that is repeated 2^34 times", repeating, 1 << 34),
            made("numbers of a negative dim made when it is run", filled, -4),
            (
                "an input of dims that overflow",
                lambda _: graph_of(placeholder(1 << 40, 1 << 40), ("y", "Relu", ["x"], T)),
            ),
            ("an input of a dim of -4", lambda _: graph_of(placeholder(-4), ("y", "Relu", ["x"], T))),
            made("a graph that goes in a circle", cyclic),
            ("a node that is made of itself", by_name(("a", "Relu", ["a"], T), ("y", "Relu", ["a"], T))),
            ("a node of nothing that is there", by_name(("y", "Relu", ["nothing"], T))),
            ("the second output of a node that has one", by_name(("y", "Relu", ["x:7"], T))),
            ("output -1 of a node", by_name(("y", "Relu", ["x:-1"], T))),
            ("two nodes of a name", by_name(("y", "Relu", ["x"], T), ("y", "Relu", ["x"], T))),
            made("a function that calls itself", recursive, ("f", "f")),
            made("functions that call each other", recursive, ("f", "g"), ("g", "f")),
            made("an entry whose name is 5,000 bytes long", with_name, "n" * 5_000),
            made("an entry that is a file and a folder", zip_of, **{"a": b"x", "a/b": b"x"}),
            made("an index of zeros", index_of, bytes(1000)),
            made("an index that ends early", index_of, b"x"),
        ],
        fails(INVALID): [
            ("an input of 2^60 numbers", lambda _: graph_of(placeholder(1 << 60), ("y", "Relu", ["x"], T))),
        ],
        fails(RUNTIME): [
            made("numbers of 2^40 made when it is run", filled, HUGE),
            made("numbers of dims that overflow made when it is run", filled, 1 << 40, 1 << 40),
        ],
        HARMLESS: [
            made("functions of depth 90", deep_functions, 90),
            made("a chain of 1,000 operations", chain, 1_000),
            made("an entry whose name has a line break", with_name, "a\n../\x1b[31m"),
            ("an asset by its whole path", lambda scene: asset_of(str(scene.canary))),
            made("an asset above the archive", asset_of, "../../../../../etc/hostname"),
        ],
        isolated_only("TensorFlow can't be stopped", endless=True): [
            made("a loop without end", looping),
        ],
    },
)
