"""Recognizes well-known formats that no backend loads, and says what to do with such a file.

In the place of a model, people have a pointer, a web page, an archive, or a model of another framework.
Only the first and last bytes are read (of a zip file, also a small directory), and at most one byte is unpacked. The
bytes may be hostile.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from wasi_nn.backends.formats.archives import entries
from wasi_nn.backends.formats.protobuf import fields
from wasi_nn.errors import printable

_HEAD = 4096  # bytes
_TAIL = 48  # bytes
_MAX_DIRECTORY = 1 << 20  # bytes of a zip file's directory
_MAX_HEADER = 100_000_000  # bytes of the header of a safetensors file, as in its own reader
DOWNLOAD_AGAIN = "download it again"
"""The advice for a file that is cut short or not what it should be."""
_MODEL_ENDINGS = (".onnx", ".tflite", ".gguf", ".xml", ".pt", ".pt2", ".pb", ".safetensors", ".h5", ".keras")


@dataclass(frozen=True)
class ForeignFormat:
    """A format that no backend loads.

    name     a noun with its article
    advice   what to do, in the imperative
    hides    whether the wanted file is inside, or elsewhere: the advice then holds for any file, not only for models
    vague    whether so many files have this format that it explains little
    encoded  whether it is a model of an encoding
    """

    name: str
    advice: str
    hides: bool = False
    vague: bool = False
    encoded: bool = False


def foreign_format(content: memoryview, file_name: str = "") -> ForeignFormat | None:
    """The format of a file's content, if it is one of those that no backend loads. `file_name` is used only for formats
    without a mark of their own."""
    head = bytes(content[:_HEAD])
    for prefix, known in _PREFIXES:
        if head.startswith(prefix):
            return known
    for recognize in _RECOGNIZERS:
        found = recognize(head, content)
        if found is not None:
            return found
    return _by_name(file_name) or _text(head)


def download_mishap(content: memoryview) -> ForeignFormat | None:
    """The format of a file that a download left in the place of another one, such as a pointer. Safe for files of
    weights, which may begin with any bytes."""
    head = bytes(content[:_HEAD])
    return _pointer(head, content) or _web_page(head, content)


_NO_PROGRAM = "which has weights without a program"
_TO_ONNX = "export the model to ONNX"
_SKLEARN = "export the model to ONNX with skl2onnx"
_KERAS = (
    "load it with Keras and write a SavedModel by model.export(folder), or ONNX by model.export(file, format='onnx')"
)
_TORCH = "build the model in PyTorch, load these weights, and save a program with torch.export.save or torch.jit.save"
_GIVE_MODEL = "give the path or the bytes of the model itself"
_HUGGING_FACE = (
    "export the model to ONNX (`optimum-cli export onnx`), or a language model to GGUF (llama.cpp's "
    "convert_hf_to_gguf.py)"
)
_RUN_GUEST = "run it with `wasi-nn run` or Host.run, and give it models by name or in its directories"
_ORIGINAL = "give the original model, such as its ONNX file"
_ONNXMLTOOLS = "export the model to ONNX with onnxmltools"
_CHECKPOINT = "export the model as a SavedModel (tf.saved_model.save, model.export)"


def _packed(name: str, command: str) -> ForeignFormat:
    return ForeignFormat(f"compressed with {name}", f"unpack it (`{command}`)", hides=True)


_OLD_GGML = ForeignFormat(
    "a GGML file from before GGUF", "convert it with llama.cpp's scripts, or download a GGUF file"
)
_OLD_TORCH = ForeignFormat(f"a checkpoint of an old torch.save, {_NO_PROGRAM}", _TORCH)
_CHECKPOINT_LIST = ForeignFormat(f"the file list of a TensorFlow checkpoint, {_NO_PROGRAM}", _CHECKPOINT)

_PREFIXES = (
    # Compressed files
    (b"\x1f\x8b\x08", _packed("gzip", "gunzip")),
    (b"\xfd7zXZ\0", _packed("xz", "unxz")),
    (b"\x28\xb5\x2f\xfd", _packed("zstd", "unzstd")),
    (b"\x04\x22\x4d\x18", _packed("lz4", "unlz4")),
    (b"7z\xbc\xaf\x27\x1c", ForeignFormat("a 7z archive", "unpack it (`7z x`)", hides=True)),
    (b"Rar!\x1a\x07", ForeignFormat("a RAR archive", "unpack it (`unrar x`)", hides=True)),
    # Models and weights of other frameworks
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", _OLD_TORCH),
    (b"\x93NUMPY", ForeignFormat(f"a NumPy array (.npy), {_NO_PROGRAM}", _TO_ONNX)),
    (b"ptrt", ForeignFormat("a TensorRT engine", _ORIGINAL)),
    (b"ftrt", ForeignFormat("a TensorRT engine", _ORIGINAL)),
    (b"LITERTLM", ForeignFormat("a LiteRT-LM bundle", "give the model as GGUF")),
    (b"7767517\n", ForeignFormat("a model of ncnn", _ORIGINAL)),
    (b"CBM1", ForeignFormat("a CatBoost model", "write ONNX by save_model(file, format='onnx')")),
    (b"tree\nversion=", ForeignFormat("a LightGBM model", _ONNXMLTOOLS)),
    (b"binf\0", ForeignFormat("an XGBoost model", _ONNXMLTOOLS)),
    (b"{L\0\0\0\0\0\0\0\x07learner", ForeignFormat("an XGBoost model", _ONNXMLTOOLS)),
    (b'{"learner":', ForeignFormat("an XGBoost model", _ONNXMLTOOLS)),
    (b"model_checkpoint_path:", _CHECKPOINT_LIST),
    (b"lmgg", _OLD_GGML),
    (b"fmgg", _OLD_GGML),
    (b"tjgg", _OLD_GGML),
    # Other files
    (b"\0asm\x01\0\0\0", ForeignFormat("a WebAssembly module, which is a guest", _RUN_GUEST)),
    (b"\0asm\x0d\0\x01\0", ForeignFormat("a WebAssembly component, which is a guest", _RUN_GUEST)),
    (b"\xcf\xfa\xed\xfe", ForeignFormat("a program or library for macOS", _GIVE_MODEL)),
    (b"%PDF-", ForeignFormat("a PDF document", _GIVE_MODEL)),
    (b"\x89PNG\r\n\x1a\n", ForeignFormat("a PNG image", _GIVE_MODEL)),
    (b"\xff\xd8\xff", ForeignFormat("a JPEG image", _GIVE_MODEL)),
    (b"GIF8", ForeignFormat("a GIF image", _GIVE_MODEL)),
    (b"PAR1", ForeignFormat("a Parquet table", _GIVE_MODEL)),
    (b"SQLite format 3\0", ForeignFormat("an SQLite database", _GIVE_MODEL)),
)  # fmt: skip
"""The formats that have a mark of several bytes at their beginning."""


def _empty(head: bytes, content: memoryview) -> ForeignFormat | None:
    if not head:
        return ForeignFormat("empty", "download or copy it again", hides=True)
    if len(head) < 16 or any(head) or any(content[-_HEAD:]):
        return None
    return ForeignFormat("a file of zeros, such as an unfinished download", DOWNLOAD_AGAIN, hides=True)


_POINTER = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n")
_POINTER_SIZE = re.compile(rb"\nsize (\d{1,19})\s*\Z")


def _pointer(head: bytes, _: memoryview) -> ForeignFormat | None:
    if _POINTER.match(head):
        size = _POINTER_SIZE.search(head)
        file = "the file" if size is None else f"the file, which has {size[1].decode()} bytes"
        return ForeignFormat(f"a Git LFS pointer to {file}", "run `git lfs pull` in its folder", hides=True)
    if head.startswith(b"/annex/objects/") or (head.startswith(b"../") and b".git/annex/objects/" in head[:200]):
        return ForeignFormat("a git-annex pointer", "run `git annex get` on it", hides=True)
    return None


_TITLE = re.compile(rb"<title[^>]{0,200}>\s*([^<]{1,200})", re.IGNORECASE)
_FAULT = re.compile(rb"<Error>\s*<Code>(\w{1,80})</Code>")


def _web_page(head: bytes, _: memoryview) -> ForeignFormat | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:14].lower().startswith((b"<!doctype html", b"<html", b"<head>")):
        title = _TITLE.search(start)
        text = "" if title is None else printable(" ".join(title[1].decode("utf-8", "replace").split()))[:80]
        name = f"an HTML page ({text!r})" if text else "an HTML page"
        advice = "the server sent a page, such as a login or an error, instead of the file: download it again"
        return ForeignFormat(name, advice, hides=True)
    fault = _FAULT.search(start) if start.startswith(b"<") else None
    if fault is None:
        return None
    return ForeignFormat(f"a server's error message ({fault[1].decode()})", DOWNLOAD_AGAIN, hides=True)


def _program(head: bytes, _: memoryview) -> ForeignFormat | None:
    if not head.startswith(b"\x7fELF"):
        return None
    if head[7:8] == b"\xc8":  # the operating system: Wasmtime
        return ForeignFormat("a guest that Wasmtime has compiled (.cwasm)", "give its .wasm file", hides=True)
    return ForeignFormat("a program or library for Linux (ELF)", _GIVE_MODEL)


def _bzip2(head: bytes, _: memoryview) -> ForeignFormat | None:
    return _packed("bzip2", "bunzip2") if re.match(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", head) else None


_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


def _zlib(head: bytes, _: memoryview) -> ForeignFormat | None:
    if not _ZLIB.match(head) or head.isascii():
        return None
    try:
        zlib.decompressobj().decompress(head, 1)
    except zlib.error:
        return None
    name = "compressed with zlib, as joblib writes scikit-learn models"
    return ForeignFormat(name, f"load it in the Python that wrote it, and {_TO_ONNX}")


def _tar(head: bytes, _: memoryview) -> ForeignFormat | None:
    if head[257:262] != b"ustar":
        return None
    first = printable(head[:100].partition(b"\0")[0].decode("utf-8", "replace"))
    return ForeignFormat(f"a tar file (it begins with {first!r})", "unpack it (`tar xf`)", hides=True)


def _zip(head: bytes, content: memoryview) -> ForeignFormat | None:
    if not head.startswith(b"PK\x03\x04"):
        return (
            ForeignFormat("an empty zip file", DOWNLOAD_AGAIN, hides=True) if head.startswith(b"PK\x05\x06") else None
        )
    names = entries(content, _MAX_DIRECTORY)
    if not names:
        if b"PK\x05\x06" in bytes(content[-65557:]):
            return ForeignFormat("a zip file", "unpack it (`unzip`)", hides=True)
        return ForeignFormat(f"a zip file that is cut short ({len(content)} bytes)", DOWNLOAD_AGAIN, hides=True)
    return _zip_of(names)


def _zip_of(names: list[str]) -> ForeignFormat:
    if "model.weights.h5" in names and "config.json" in names:
        return ForeignFormat("a Keras model (.keras)", _KERAS)
    if any("com.apple.CoreML" in name for name in names):
        return ForeignFormat("a CoreML package", _ORIGINAL)
    if all(name.endswith(".npy") for name in names):
        return ForeignFormat(f"a file of NumPy arrays (.npz), {_NO_PROGRAM}", _TO_ONNX)
    if "schema.json" in names:
        return ForeignFormat("a skops file", _SKLEARN)
    inner = next((name for name in names if name.lower().endswith(_MODEL_ENDINGS)), None)
    advice = f"unpack it (`unzip`){'' if inner is None else ' and give this file'}"
    return ForeignFormat(f"a zip file with {printable(inner or names[0])[:200]!r} in it", advice, hides=True)


def _safetensors(head: bytes, content: memoryview) -> ForeignFormat | None:
    size = int.from_bytes(head[:8], "little")
    if not (2 <= size <= _MAX_HEADER and re.match(rb'\{\s*(?:"|\})', head[8:])):
        return None
    cut = f", cut short: it has {len(content)} bytes, its header alone {size + 8}" if size + 8 > len(content) else ""
    return ForeignFormat(f"a safetensors file, {_NO_PROGRAM}{cut}", _HUGGING_FACE)


def _hdf5(head: bytes, content: memoryview) -> ForeignFormat | None:
    if not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return None
    if any(mark in bytes(content[: 1 << 16]) for mark in (b"keras_version", b"model_config", b"layer_names")):
        return ForeignFormat("an HDF5 file of Keras (.h5)", _KERAS)
    return ForeignFormat("an HDF5 file", f"if it has a model of Keras (.h5), {_KERAS}")


_PICKLE = re.compile(
    rb"\x80[\x02-\x05][\x95\x8a\x8c}\](cXN)KM\x89\x88]|ccopy_reg\n|c(?:sklearn|torch|collections)[\w.]*\n"
)
_PICKLED = (
    (b"sklearn", "a pickled scikit-learn model", _SKLEARN),
    (b"xgboost", "a pickled XGBoost model", _ONNXMLTOOLS),
    (b"lightgbm", "a pickled LightGBM model", _ONNXMLTOOLS),
    (b"torch", "a pickle of PyTorch objects", _TORCH),
    (b"keras", "a pickled Keras model", _KERAS),
)  # fmt: skip


def _pickle(head: bytes, _: memoryview) -> ForeignFormat | None:
    if not _PICKLE.match(head):
        return None
    for word, name, advice in _PICKLED:
        if word in head:
            return ForeignFormat(name, advice)
    return ForeignFormat("a Python pickle", f"load it in the Python that wrote it, and {_TO_ONNX}")


def _flatbuffer(head: bytes, _: memoryview) -> ForeignFormat | None:
    if head[4:8] == b"ORTM":
        return ForeignFormat("a model in ONNX Runtime's own format (.ort)", _ORIGINAL)
    if re.match(rb"ET\d\d", head[4:8]):
        return ForeignFormat("an ExecuTorch program (.pte)", "save the program with torch.export.save instead")
    return None


def _gguf(head: bytes, _: memoryview) -> ForeignFormat | None:
    if not head.startswith(b"GGUF"):
        return None
    if len(head) < 8:
        return ForeignFormat(f"a GGUF file, cut short: it has {len(head)} bytes", DOWNLOAD_AGAIN, hides=True)
    version = int.from_bytes(head[4:8], "little")
    if version and version & 0xFFFF == 0:
        return ForeignFormat(
            "a GGUF file for big-endian machines", "download or convert one for little-endian machines"
        )
    return ForeignFormat(f"a GGUF file of version {version}", "convert the model again, to version 2 or 3 of GGUF")


def _checkpoint(_: bytes, content: memoryview) -> ForeignFormat | None:
    if bytes(content[-8:]) != b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" or len(content) < _TAIL:
        return None
    return ForeignFormat(f"the index of a TensorFlow checkpoint, {_NO_PROGRAM}", _CHECKPOINT)


def _coreml(head: bytes, content: memoryview) -> ForeignFormat | None:
    if not head.startswith(b"\x08") or head[2:3] != b"\x12":
        return None
    try:
        numbers = [number for number, _ in islice(fields(content), 20)]
    except ValueError:
        return None
    if numbers[:2] == [1, 2] and any(200 <= number <= 3000 for number in numbers):
        return ForeignFormat("a CoreML model", _ORIGINAL)
    return None


_RECOGNIZERS: tuple[Callable[[bytes, memoryview], ForeignFormat | None], ...] = (
    _empty,
    _pointer,
    _web_page,
    _program,
    _bzip2,
    _zlib,
    _zip,
    _tar,
    _safetensors,
    _hdf5,
    _pickle,
    _flatbuffer,
    _gguf,
    _checkpoint,
    _coreml,
)


def _by_name(file_name: str) -> ForeignFormat | None:
    if re.fullmatch(r".*\.data-\d{5}-of-\d{5}", file_name):
        return ForeignFormat(f"a part of a TensorFlow checkpoint, {_NO_PROGRAM}", _CHECKPOINT)
    if PurePath(file_name).suffix in (".engine", ".plan", ".trt"):
        return ForeignFormat("a TensorRT engine, by its name", _ORIGINAL)
    return None


def _text(head: bytes) -> ForeignFormat | None:
    """The format of a text; None if it is no text."""
    if re.search(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]", head):
        return None
    try:
        text = head.decode().lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 or len(head) < _HEAD:  # else the last letter is cut
            return None
        text = head[: error.start].decode()
    if re.match(r'[{\[]\s*["\d{\[\]}-]', text):
        if re.search(r'"format"\s*:\s*"(?:layers|graph)-model"', text) or '"modelTopology"' in text:
            return ForeignFormat("a model of TensorFlow.js", _ORIGINAL)
        return ForeignFormat("JSON", _GIVE_MODEL, vague=True)
    if text.startswith("node {"):
        advice = "write it in binary: tf.io.write_graph(graph, folder, 'graph.pb', as_text=False)"
        return ForeignFormat("a TensorFlow GraphDef as text (.pbtxt)", advice)
    if text.startswith("ir_version:"):
        return ForeignFormat("an ONNX model as text", "write it in binary: onnx.save(model, file)")
    if text.startswith("<?xml"):
        return ForeignFormat("XML, but no OpenVINO network", _GIVE_MODEL, vague=True)
    return ForeignFormat("a text", _GIVE_MODEL, vague=True)
