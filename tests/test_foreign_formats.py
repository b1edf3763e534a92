"""Files that aren't models, models of other frameworks, and models that are cut short: each error says what the file is
and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import pack

import hostile_openvino
import numpy as np
import onnx_models
import pytest
import tensorflow_models
import tflite_models
from checks import refused
from conftest import REPOSITORY, need
from onnx import TensorProto, helper
from wasmtime import Engine, Module

import wasi_nn
from wasi_nn import ErrorCode, GraphEncoding, GuestError, Host, LoadRules, NamedGraph, Registry, Session

WASI_NN = Path(sys.executable).with_name("wasi-nn")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in\n to Example</title></head><body>...</body></html>"
Write = Callable[[str, bytes], Path]


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def safetensors(length: int | None = None) -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  '
    return pack("<Q", len(header) if length is None else length) + header + bytes(4)


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(3), b=np.zeros(2))
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


FORMATS: Mapping[str, tuple[bytes, str]] = {
    "pointer": (POINTER, r"is a Git LFS pointer to the file, which has 12345 bytes: run `git lfs pull`"),
    "annex": (b"/annex/objects/SHA256E-s5--00.onnx\n", r"is a git-annex pointer: run `git annex get`"),
    "page": (PAGE, r"is an HTML page \('Sign in to Example'\): the server sent a page.*download it again"),
    "refusal": (b"<Error><Code>AccessDenied</Code></Error>", r"is a server's error .*\(AccessDenied\): download"),
    "gzip": (gzip.compress(onnx_models.relu()), "is compressed with gzip: unpack it"),
    "xz": (lzma.compress(onnx_models.relu()), "is compressed with xz: unpack it"),
    "bzip2": (bz2.compress(onnx_models.relu()), "is compressed with bzip2: unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\0" + bytes(20), "is compressed with zstd: unpack it"),
    "zip": (zipped({"a/readme": b"", "a/net.onnx": onnx_models.relu()}), "is a zip file with 'a/net.onnx' in"),
    "other zip": (zipped({"a/readme": b""}), r"is a zip file with 'a/readme' in it: unpack it"),
    "cut zip": (zipped({"a": bytes(1000)})[:500], r"is a zip file that is cut short \(500 bytes\): download it again"),
    "tar": (tarred("net.onnx", onnx_models.relu()), r"is a tar file \(it begins with 'net.onnx'\): unpack it"),
    "safetensors": (safetensors(), "is a safetensors file, which has weights without a program: export .* to ONNX"),
    "cut safetensors": (safetensors(1000), "is a safetensors .*, cut short: it has 68 bytes, its header alone 1008"),
    "npy": (array(), "is a NumPy array .*weights without a program"),
    "npz": (arrays(), "is a file of NumPy arrays .*weights without a program"),
    "pickle": (pickle.dumps({"w": [1.0]}), "is a Python pickle: .*ONNX"),
    "old pickle": (pickle.dumps(np.dtype("f4"), 2), "is a Python pickle: .*ONNX"),
    "compressed pickle": (zlib.compress(pickle.dumps({"w": [1.0]}), 3), "is compressed .* joblib.*ONNX"),
    "zeros": (bytes(10_000), "is a file of zeros, such as an unfinished download: download it again"),
    "empty": (b"", "is empty: download or copy it again"),
    "wasm": (b"\0asm\x01\0\0\0", "is a WebAssembly module, which is a guest: run it with `wasi-nn run`"),
    "pdf": (b"%PDF-1.7\n", "is a PDF document"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a PNG image"),
    "engine": (b"ftrt" + bytes(60) + b"x", "is a TensorRT engine: give the original model"),
    "ort": (pack("<I", 24) + b"ORTM" + bytes(20), r"is a model in ONNX Runtime's own format \(.ort\): give"),
    "pte": (pack("<I", 24) + b"ET12" + bytes(20), "is an ExecuTorch program"),
    "ggml": (b"lmgg" + bytes(40), "is a GGML file from before GGUF"),
    "old gguf": (b"GGUF\1\0\0\0" + bytes(16), "is a GGUF file of version 1: convert"),
    "big gguf": (b"GGUF\0\0\0\3" + bytes(16), "is a GGUF file for big-endian machines"),
    "graph as text": (b"node {\n  name: \"x\"\n}\n", "is a TensorFlow GraphDef as text .*: write it in binary"),
    "onnx as text": (b"ir_version: 8\n", "is an ONNX model as text: write it in binary: onnx.save"),
    "litert-lm": (b"LITERTLM" + bytes(8), "is a LiteRT-LM bundle"),
    "coreml": (b"\x08\x07\x12\x06\x0a\x04\x0a\x02in\xa2\x1f\x02\x08\x01", "is a CoreML model"),
    "tfjs": (b'{"format": "layers-model", "modelTopology": {}}', "is a model of TensorFlow.js"),
    "lightgbm": (b"tree\nversion=v4\n", "is a LightGBM model: export the model to ONNX"),
    "checkpoint": (b'model_checkpoint_path: "ckpt-1"\n', "is the file list of a TensorFlow checkpoint, .*SavedModel"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_the_error_says_what_the_file_is(kind: str, write: Write) -> None:
    content, match = FORMATS[kind]
    refused(ErrorCode.INVALID_ENCODING, f"the model {match}", wasi_nn.load, content)
    refused(ErrorCode.RUNTIME_ERROR, f"the model {match}", wasi_nn.load, content, "onnx")
    path = write("model.onnx", content)
    if content:
        refused(ErrorCode.INVALID_ENCODING, rf"the model /.*/model\.onnx {match}", wasi_nn.load, path)
        refused(ErrorCode.INVALID_ENCODING, rf"the model /.*/model\.onnx {match}", wasi_nn.load, path.parent)
    refused(ErrorCode.RUNTIME_ERROR, rf"the model /.*/model\.onnx {match}", wasi_nn.load, path, "onnx")


@pytest.mark.parametrize("encoding", [it.value for it in GraphEncoding if it is not GraphEncoding.AUTODETECT])
def test_the_error_says_so_for_every_encoding(encoding: str, write: Write) -> None:
    code = ErrorCode.INVALID_ENCODING if encoding == "ggml" else ErrorCode.RUNTIME_ERROR
    for content in (POINTER, PAGE):
        match = "is a Git LFS pointer" if content is POINTER else "is an HTML page"
        refused(code, match, wasi_nn.load, content, encoding)
        refused(code, match, wasi_nn.load, write("model", content), encoding)


def test_a_text_is_called_one_beside_the_words_of_the_runtime() -> None:
    refused(ErrorCode.INVALID_ENCODING, r"known here .*; it is JSON, and begins with", wasi_nn.load, b'{"a": 1}')
    refused(ErrorCode.INVALID_ENCODING, r"known here .*; it is a text, and begins with", wasi_nn.load, b"a: 1\n")
    match = r"can't load the model: .* \(the model is a text: give the path"
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, "na\u00efve".encode(), "tensorflowlite")


@pytest.mark.parametrize("kind", ["pointer", "zip", "safetensors"])
@pytest.mark.usefixtures("isolation")
def test_an_isolated_load_says_it_too(kind: str, write: Write) -> None:
    content, match = FORMATS[kind]
    rules = LoadRules(isolate=True)
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, content, "openvino", rules=rules)
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, write("net", content), "tensorflowlite", rules=rules)


def test_a_guest_reads_it_for_its_own_bytes_and_for_a_name(write: Write) -> None:
    with Session({"net": write("net.onnx", POINTER)}) as session:
        builders = [memoryview(POINTER)]
        for encoding, code in ((GraphEncoding.ONNX, "runtime-error"), (GraphEncoding.AUTODETECT, "invalid-encoding")):
            arguments = builders, encoding, wasi_nn.ExecutionTarget.CPU
            refused(ErrorCode(code), "the model is a Git LFS pointer", session.load, *arguments)
        refused(ErrorCode.INVALID_ENCODING, "is a Git LFS pointer", session.load_by_name, "net")


def test_graphs_of_a_file_and_inspect_say_it(write: Write) -> None:
    model = write("net.onnx", POINTER)
    graphs = write("graphs.toml", b'[graphs.net]\npath = "net.onnx"\nencoding = "onnx"\n')
    refused(ErrorCode.RUNTIME_ERROR, "net.onnx is a Git LFS pointer", Registry(graphs).get, "net")
    checked = Registry({"net": NamedGraph(model, sha256="00" * 32)})
    match = "has sha256 .*, not 0000.*: it isn't loaded; it is a Git LFS pointer .*: run `git lfs pull`"
    refused(ErrorCode.SECURITY, match, checked.get, "net")
    listed = Registry({"net": NamedGraph([model], "onnx")})
    refused(ErrorCode.RUNTIME_ERROR, "the model is a Git LFS pointer", listed.get, "net")
    for more in ([], ["--encoding", "tensorflowlite"]):
        ended = subprocess.run([WASI_NN, "inspect", model, *more], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"wasi-nn: graph 'model': the model {model} is a Git LFS pointer") or (
            ended.stderr.startswith(f"wasi-nn: the model {model} is a Git LFS pointer")
        )


GOOD: Mapping[GraphEncoding, tuple[Callable[[], bytes], str]] = {
    GraphEncoding.ONNX: (onnx_models.relu, "an ONNX model"),
    GraphEncoding.TENSORFLOWLITE: (tflite_models.relu, "a TensorFlow Lite model"),
    GraphEncoding.TENSORFLOW: (tensorflow_models.relu, "a TensorFlow model"),
    GraphEncoding.OPENVINO: (lambda: hostile_openvino.with_weights()[0], "an OpenVINO network"),
}  # fmt: skip


@pytest.mark.parametrize("real", GOOD, ids=lambda encoding: encoding.value)
@pytest.mark.parametrize("given", ["onnx", "tensorflowlite", "tensorflow", "pytorch", "ggml"])
def test_a_model_of_another_encoding_is_named(real: GraphEncoding, given: str, write: Write) -> None:
    if real.value == given:
        return
    build, noun = GOOD[real]
    match = f"the model.* is {noun}, given as {given}: give the encoding {real.value}, or autodetect"
    code = ErrorCode.INVALID_ENCODING if given == "ggml" else ErrorCode.RUNTIME_ERROR
    refused(code, match, wasi_nn.load, build(), given)
    refused(code, match, wasi_nn.load, write("model", build()), given)


def test_a_text_that_begins_like_compressed_bytes_is_a_text() -> None:
    refused(ErrorCode.INVALID_ENCODING, "it is a text, and begins with", wasi_nn.load, b"x^2 + y^2 = 1, a circle\n")


def test_a_runtime_that_has_not_the_models_encoding() -> None:
    match = "is an ONNX model, and the chosen runtime torch loads only pytorch: choose onnxruntime or openvino"
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, onnx_models.relu(), runtime="torch")


def large_onnx() -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1000], bytes(4000), raw=True)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return onnx_models.build(nodes, {"x": (1, [1000])}, {"y": (1, [1000])}, [weights])


@pytest.mark.parametrize("given", ["autodetect", "onnx", "tensorflowlite"])
def test_an_onnx_model_that_is_cut_short(given: str) -> None:
    whole = large_onnx()
    code = ErrorCode.INVALID_ENCODING if given == "autodetect" else ErrorCode.RUNTIME_ERROR
    for size in (1000, len(whole) // 2, 4000):
        match = rf"is an ONNX model, cut short: it has {size} bytes of at least (\d+): download it again"
        refused(code, match, wasi_nn.load, whole[:size], given)


def test_a_tflite_model_that_is_cut_short() -> None:
    whole = tflite_models.relu()
    for size in (len(whole) - 4, len(whole) // 2, 100):
        match = rf"is a TensorFlow Lite model, cut short or damaged: it has {size} bytes, and refers to byte \d+"
        refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, whole[:size])
        refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, whole[:size], runtime="openvino")


def test_an_openvino_network_that_is_cut_short_or_lacks_its_weights(write: Write) -> None:
    network, weights = hostile_openvino.with_weights()
    half = network[: len(network) // 2]
    match = f"is an OpenVINO network, cut short: it has {len(half)} bytes, and no </net>"
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, [half, weights])
    refused(ErrorCode.RUNTIME_ERROR, "the .bin, as the second builder", wasi_nn.load, network, "openvino")
    path = write("net.xml", network)
    refused(
        ErrorCode.RUNTIME_ERROR,
        r"the model /.*/net\.xml lacks its file /.*/net\.bin \(openvino can't",
        wasi_nn.load,
        path,
    )


def test_tensorflow_models_that_are_cut_short() -> None:
    whole = tensorflow_models.relu()
    match = "is a TensorFlow GraphDef, cut short: it has 60 bytes"
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, whole[:60])
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, whole[:60], "tensorflow")
    refused(
        ErrorCode.INVALID_ENCODING, "of a SavedModel, cut short: it has 5 bytes", wasi_nn.load, b"\x08\x01\x12\xff\x10"
    )


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_external_data_that_is_missing_or_a_pointer(runtime: str, write: Write) -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = onnx_models.build(nodes, {"x": (1, [4])}, {"y": (1, [4])}, [onnx_models.external("weights.bin")])
    path = write("net.onnx", model)
    match = r"the model /.*/net\.onnx lacks its file /.*/weights\.bin \("
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, path, runtime=runtime)
    write("weights.bin", POINTER)
    match = r"the file /.*/weights\.bin of the model is a Git LFS pointer"
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, path, runtime=runtime)


def test_a_builder_of_weights_that_is_a_page() -> None:
    network = hostile_openvino.with_weights()[0]
    refused(ErrorCode.RUNTIME_ERROR, "builder 2 of the model is an HTML page", wasi_nn.load, [network, PAGE[:60]])


def test_a_directory_with_files_of_other_frameworks(write: Write, tmp_path: Path) -> None:
    write("config.json", b"{}")
    write("weights.safetensors", safetensors())
    match = r"has none of .*; its file weights\.safetensors is a safetensors file, .*: export the model to ONNX"
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, tmp_path)
    write("net.tflite", tflite_models.relu())
    match = r"; its file net\.tflite is a TensorFlow Lite model: give the encoding tensorflowlite"
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, tmp_path, "onnx")


def test_files_that_pytorch_writes(tmp_path: Path) -> None:
    need("torch", "torch==2.13.0")
    import torch

    weights = torch.nn.Linear(2, 2).state_dict()
    torch.save(weights, tmp_path / "new.pt")
    refused(ErrorCode.RUNTIME_ERROR, "has weights or objects but no program", wasi_nn.load, tmp_path / "new.pt")
    torch.save(weights, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    match = "is a checkpoint of an old torch.save, which has weights without a program: build the model in PyTorch"
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, tmp_path / "old.bin")
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, tmp_path / "old.bin", "pytorch")


def test_files_that_scikit_learn_and_joblib_write(tmp_path: Path) -> None:
    need("sklearn", "scikit-learn")
    import joblib
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    joblib.dump(model, tmp_path / "model.joblib")
    match = "is a pickled scikit-learn model: export the model to ONNX with skl2onnx"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, pickle.dumps(model, protocol))
    refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, tmp_path / "model.joblib")
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, tmp_path / "model.joblib", "onnx")


_KERAS = """
import sys
import keras, tensorflow
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.save(sys.argv[1] + "/net.keras")
model.save(sys.argv[1] + "/net.h5")
tensorflow.train.Checkpoint(w=tensorflow.Variable([1.0])).write(sys.argv[1] + "/ckpt")
"""


def test_files_that_keras_and_tensorflow_write(tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    subprocess.run([sys.executable, "-c", _KERAS, tmp_path], check=True, capture_output=True)
    for name, match in {
        "net.keras": r"is a Keras model \(.keras\): load it with Keras and write a SavedModel",
        "net.h5": r"is an HDF5 file of Keras \(.h5\): load it with Keras and write a SavedModel",
        "ckpt.index": "is the index of a TensorFlow checkpoint, which has weights without a program: export",
        "ckpt.data-00000-of-00001": "is a part of a TensorFlow checkpoint, which has weights without a program",
    }.items():
        refused(ErrorCode.INVALID_ENCODING, match, wasi_nn.load, tmp_path / name)
        refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, tmp_path / name, "tensorflow")


def test_a_hostile_title_is_shown_printable_and_short() -> None:
    page = b"<html><title>\x1b[31m" + b"a" * 1000 + b"</title>"
    refused(ErrorCode.INVALID_ENCODING, r"\('.{60,200}'\)", wasi_nn.load, page)
    names = zipped({"\x1b[31m.onnx": b"", "b" * 1000: b""})
    refused(ErrorCode.INVALID_ENCODING, "is a zip file with", wasi_nn.load, names)


def test_a_good_model_is_still_loaded_whatever_is_said_of_it() -> None:
    assert wasi_nn.load(tflite_models.relu(), "openvino").runtime == "openvino"


def test_json_of_a_downloads_error_is_called_json() -> None:
    content = json.dumps({"error": "Repository not found"}).encode()
    refused(ErrorCode.RUNTIME_ERROR, r"\(the model is JSON: give the path", wasi_nn.load, content, "onnx")


def test_a_part_of_a_gguf_model(write: Write) -> None:
    def key(name: bytes, kind: int, value: bytes) -> bytes:
        return pack("<Q", len(name)) + name + pack("<I", kind) + value

    architecture = key(b"general.architecture", 8, pack("<Q", 5) + b"llama")
    part = b"GGUF" + pack("<IQQ", 3, 0, 2) + architecture + key(b"split.count", 2, pack("<H", 3))
    match = (
        r"net-00002-of-00003\.gguf is one of 3 parts of a model: give the path of the first part, net-00001-of-00003"
    )
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, write("net-00002-of-00003.gguf", part))
    match = r"has 3 parts, and 1 is missing beside /.*/net-00001-of-00003.gguf, such as net-00003-of-00003.gguf"
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, write("net-00001-of-00003.gguf", part))
    match = r"give the path of the first part, net-00001-of-00003.gguf"
    refused(ErrorCode.RUNTIME_ERROR, match, wasi_nn.load, write("net.gguf", part))


def test_a_guest_that_is_cut_short() -> None:
    for file in ("tests/support/components/driver-2024-10-28.wasm", "guests/c/infer.wasm"):
        whole = (REPOSITORY / file).read_bytes()
        for size in (100, len(whole) // 2, len(whole) - 1):
            match = rf"guest.wasm is WebAssembly, cut short: it has {size} bytes of at least \d+: download"
            with Host(cache=False) as host, pytest.raises(GuestError, match=match):
                host.run(whole[:size])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (POINTER, "is a Git LFS pointer to .*, not WebAssembly: run `git lfs pull`"),
        (PAGE, r"is an HTML page \('Sign in to Example'\), not WebAssembly: .*download it again"),
        (gzip.compress(b"\0asm", mtime=0), "is compressed with gzip, not WebAssembly: unpack it"),
        (onnx_models.relu(), "is an ONNX model, not WebAssembly: give it to a guest as a named graph"),
        (b"\x7fELF" + bytes(40), r"is a program or library for Linux \(ELF\), not WebAssembly: build"),
        (safetensors(), "is a safetensors file, .*, not WebAssembly"),
        (bytes(Module(Engine(), "(module)").serialize()), "is a guest that Wasmtime has compiled .*: give its .wasm"),
        (b"#!/bin/sh\n", "is not WebAssembly, neither binary nor text: it begins with"),
    ],
)  # fmt: skip
def test_a_guest_that_is_something_else(content: bytes, match: str, write: Write) -> None:
    with Host(cache=False) as host, pytest.raises(GuestError, match=f"guest.wasm {match}"):
        host.run(write("guest.wasm", content))
