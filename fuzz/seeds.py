"""Makes the seeds: `python -m fuzz.seeds` writes the files of `corpus/<target>/`, the same each time.

A seed is a small input that reaches much of the code, so that its mutations reach much too. The formats' own tools make
the seeds where their files are small; the others are made by hand.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import wasmtime

from fuzz import HERE
from wasi_nn.errors import NNError

Seeds = Mapping[str, bytes]

_REPOSITORY = HERE.parent
_SUPPORT = _REPOSITORY / "tests" / "support"
sys.path.append(str(_SUPPORT))  # the tests' model builders
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY, _U64 = 4, 5, 6, 7, 8, 9, 10


def _onnx_model() -> Seeds:
    import onnx_models as models
    from onnx import TensorProto, helper

    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["z"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    condition = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return {
        "relu": models.relu(),
        "branches": models.build([condition], {"c": (TensorProto.BOOL, [])}, {"y": (1, [1])}),
        "external": models.build(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            {"x": (1, [4])},
            {"y": (1, [4])},
            [models.external("weights.bin")],
        ),
        "two": models.add_and_mul(),
        "unknown_rank": models.identity(dims=None),
    }


def _tflite_model() -> Seeds:
    import tflite_models as models
    from hostile_tflite import with_weights_in_a_file
    from tflite_variables import Variable, swapping

    from wasi_nn import TensorType

    return {
        "relu": models.relu(),
        "signature": models.identity(TensorType.U8, signature=True),
        "scalar": models.identity(TensorType.I64, ()),
        "weights_in_a_file": with_weights_in_a_file("/etc/passwd"),
        "variables": swapping(Variable("v", [1.0]), Variable("w", [2.0])).bytes(),
    }


def _gguf() -> Seeds:
    architecture = _key("general.architecture", _STRING, _text(b"llama"))
    numbers = (
        _key("llama.block_count", _U32, pack("<I", 1)),
        _key("llama.context_length", _U32, pack("<I", 256)),
        _key("llama.embedding_length", _U64, pack("<Q", 64)),
        _key("general.file_type", _U32, pack("<I", 2)),
        _key("general.quantized", _BOOL, b"\1"),
        _key("llama.rope.freq_base", _F32, pack("<f", 10000)),
    )
    tokens = b"".join(map(_text, (b"<s>", b"a", b"\xe2\x96\x81b")))
    arrays = (
        _key("tokenizer.ggml.tokens", _ARRAY, pack("<IQ", _STRING, 3) + tokens),
        _key("tokenizer.ggml.token_type", _ARRAY, pack("<IQ3i", _I32, 3, 3, 1, 1)),
    )
    alignment = _key("general.alignment", _U32, pack("<I", 64))
    weights = _tensor(b"token_embd.weight", [32, 2], 2, 0), _tensor(b"norm.weight", [4], 0, 64)
    return {
        "least": _gguf_file([architecture]),
        "numbers": _gguf_file([architecture, *numbers]),
        "tokens": _gguf_file([architecture, *arrays]),
        "tensors": _gguf_file([architecture, alignment], weights, 64, bytes(80)),
        "version_2": _gguf_file([architecture, *numbers[:2]], version=2),
    }


def _text(content: bytes) -> bytes:
    return pack("<Q", len(content)) + content


def _key(name: str, kind: int, value: bytes) -> bytes:
    return _text(name.encode()) + pack("<I", kind) + value


def _tensor(name: bytes, dims: list[int], kind: int, offset: int) -> bytes:
    return _text(name) + pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def _gguf_file(
    keys: list[bytes], tensors: tuple[bytes, ...] = (), alignment: int = 32, data: bytes = b"", version: int = 3
) -> bytes:
    head = b"GGUF" + pack("<IQQ", version, len(tensors), len(keys)) + b"".join((*keys, *tensors))
    return head + bytes(-len(head) % alignment) + data


def _ggml_options() -> Seeds:
    return {
        "usual": b'{"enable-log": true, "n-predict": 16, "temp": 0.5, "seed": 1, "reverse-prompt": "USER:"}',
        "grammar": b'{"grammar": "root ::= (\\"yes\\" | \\"no\\") [a-z]+"}',
        "schema": json.dumps({"json-schema": json.dumps({"type": "object", "properties": {"a": {}}})}).encode(),
        "files": b'{"mmproj": "/etc/passwd", "ctx-size": 64, "threads": 1, "embedding": true}',
        "nested": b'{"ctx-size": [[[{"a": null}]]], "stream-stdout": false}',
    }


def _archives() -> Seeds:
    saved_model = {"model/saved_model.pb": b"\x08\x01\x12\x02\x12\x00", "model/variables/variables.index": b"abc"}
    script = {"m/data.pkl": b"\x80\x02).", "m/constants.pkl": b"\x80\x02).", "m/code/__torch__.py": b"x = 1\n"}
    return {
        "saved_model_zip": _zip(saved_model),
        "saved_model_deflated": _zip(saved_model, zipfile.ZIP_DEFLATED),
        "saved_model_tar": _tar(saved_model),
        "saved_model_tar_gz": gzip.compress(_tar(saved_model), mtime=0),
        "long_names_tar": _tar({"a" * 120 + "/saved_model.pb": b"abc"}, tarfile.GNU_FORMAT),
        "pax_tar": _tar({"\u00e9" * 120: b"abc"}, tarfile.PAX_FORMAT),
        "link_tar": _tar({"up": None}),
        "torchscript": _zip(script),
        "exported": _zip({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}),
        "checkpoint": _zip({"m/data.pkl": b"\x80\x02)."}),
        "leads_out": _zip({"../saved_model.pb": b"abc", "/etc/x": b""}),
    }


def _zip(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def _tar(files: Mapping[str, bytes | None], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar file of these files; None stands for a link that leads out of the folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "../../elsewhere"
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue().rstrip(b"\0") + bytes(1024)


def _pytorch_archive() -> Seeds:
    from fuzz.pytorch_archive import CODE, PICKLE

    module = """class Net(Module):
  __parameters__ = ["weight", ]
  weight : Tensor
  def forward(self: __torch__.Net, x: Tensor) -> Tensor:
    _0 = torch.relu(torch.add(x, self.weight))  # comment
    return ops.aten.mul(_0, 'a\\'b', 1.5e-3)
"""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\4tQ"
    weights = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0(K\4t(K\1t\x89)tR."
    objects = b"c__torch__\nNet\n)\x81}(X\x06\0\0\0weightK\1ub."
    return {
        "code": CODE + module.encode(),
        "classes": CODE + b"x = torch.classes.quantized.LinearPackedParamsBase\ny = torch.ops.aten.relu(x)\n",
        "files": CODE + b'torch.save(x, "f")\n',
        "weights": PICKLE + b"\x80\2" + weights,
        "object": PICKLE + b"\x80\2" + objects,
        "values": PICKLE + pickle.dumps([1, 2.5, "a", b"b", (None, True), {"k": [10**20]}, {3}], protocol=4),
        "old_values": PICKLE + pickle.dumps({"a": (1, [2]), "b": 10**30}, protocol=0),
    }


def _graphs_file() -> Seeds:
    return {
        "short": b'graphs.net.path = "model.onnx"\n',
        "all": b"""[graphs."a name"]
path = ["model.onnx", 'model.onnx']
encoding = "openvino"
target = "gpu"
runtime = "openvino"
sha256 = "%s"
convert-types = true
options = { threads = 1, hint = "\\u00e9", more = [1.5, 1979-05-27T07:32:00Z, 0x10, inf] }
"""
        % (b"0123abcd" * 8),
        "two": b'[graphs.a]\npath = "model.onnx"\n[graphs.b]\npath = "gone.onnx"\n',
        "guest": b"""[guests."a name"]
path = "model.onnx"
serves = "model"
graphs = ["a*"]
limits = { run-time = "5s", guest-memory = "64M", fuel = 1000, files = "none" }
directories = { "/d" = ".", "/e" = { path = ".", writable = true } }
environment = { LANG = "C" }
arguments = ["--top", "3"]
reuse = true
inputs = [{ name = "x", datatype = "UINT8", shape = [-1, 3], optional = true }]
outputs = [{ name = "y", datatype = "BYTES", shape = [] }]
""",
        "several_lines": b'[graphs.a]\npath = """\nmodel.onnx\\\n"""\n# comment\n',
    }


def _sniffers() -> Seeds:
    found = {
        "ir": b'\xef\xbb\xbf<?xml version="1.0"?>\n<net name="n" version="11"><layers/></net>',
        "tflite": pack("<I", 16) + b"TFL3" + bytes(24),
        "graph_def": b"\x0a\x0e\x0a\x01x\x12\x02Op\x2a\x05\x0a\x01a\x12\x00\x22\x02\x08\x01",
        "saved_model": b"\x08\x01\x12\x06\x12\x04\x22\x02\x08\x01",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "page": b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
        "safetensors": pack("<Q", 2) + b"{}",
        "pickle": pickle.dumps({"sklearn": 1}),
        "coreml": b"\x08\x07\x12\x06\x0a\x04\x0a\x02in\xa2\x1f\x02\x08\x01",
        "zip": _zip({"a/net.onnx": b""}),
        "cut_onnx": b"\x08\x08\x3a\xff\x7f\x0a\x00",
        "json": b'{"format": "layers-model"}',
    }
    for kind, seeds in (("onnx", _onnx_model()), ("gguf", _gguf()), ("archive", _archives())):
        found |= {f"{kind}_{name}": content for name, content in list(seeds.items())[:4]}
    return found


def _components() -> Seeds:
    from wasi_nn.abi.component.bridge import VERSIONS, extension_name

    def nn(version: str, name: str) -> str:
        return f"""(import "wasi:nn/errors@{version}" (instance ${name} (export "error" (type (sub resource)))))
          (alias export ${name} "error" (type ${name}-error))
          (core func ${name}-drop (canon resource.drop ${name}-error))"""

    core = '(core module $m (func (export "f")) (func (export "d") (param i32))) (core instance $i (instantiate $m))'
    texts = {
        "empty": "",
        "one_version": nn(VERSIONS[2], "a"),
        "extensions": f"""(import "{extension_name("types")}" (instance $t (type $a (variant (case "b" u32)))
            (export "dimension" (type (eq $a)))))
          (alias export $t "dimension" (type $d)) (import "{extension_name("describe")}" (instance $e
            (alias outer 1 $d (type $b)) (export "dimension" (type (eq $b)))))
          {nn(VERSIONS[0], "a")} (import "{extension_name("sequences")}" (instance))""",
        "two_versions": nn(VERSIONS[0], "a") + nn(VERSIONS[1], "b"),
        "between_imports": f"""{core} (alias core export $i "f" (core func $f)) (import "one" (func (param "x" u32)))
          {nn(VERSIONS[2], "a")} (type $n (list u32))
          (import "two" (instance $two (alias outer 1 $n (type $t)) (export "n" (type (eq $t)))
            (export "s" (type (sub resource)))))
          (alias export $two "s" (type $s))
          (import "three" (instance (alias outer 1 $s (type $r)) (export "s" (type (eq $r)))))
          (import "four" (core module (import "a" "b" (func)) (export "c" (memory 1))))
          (import "five" (component (import "x" (func)) (export "y" (func))))
          (func $g (canon lift (core func $f))) (export "f" (func $g))""",
        "exports": f"""{nn(VERSIONS[2], "a")} {core} (alias core export $i "d" (core func $d))
          (alias core export $i "f" (core func $f)) (type $r (resource (rep i32) (dtor (core func $d))))
          (export "thing" (type $r)) (export "module" (core module $m)) (func $g (canon lift (core func $f)))
          (instance $j (export "g" (func $g))) (export "interface" (instance $j))""",
        "shim": f"""(import "wasi:nn/tensor@{VERSIONS[2]}" (instance $t (export "tensor" (type $r (sub resource)))
            (type $k0 (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $k (eq $k0)))
            (export "[constructor]tensor"
              (func (param "dimensions" (list u32)) (param "ty" $k) (param "data" (list u8)) (result (own $r))))
            (export "[method]tensor.data" (func (param "self" (borrow $r)) (result (list u8))))))
          (core module $m (memory (export "m") 1)
            (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 8)))
          (core instance $i (instantiate $m)) {core.replace("$m", "$n").replace("$i", "$j")}
          (core func $new (canon lower (func $t "[constructor]tensor") (memory (core memory $i "m"))))
          (core func $data (canon lower (func $t "[method]tensor.data")
            (memory (core memory $i "m")) (realloc (core func $i "r"))))
          (core module $c (import "" "n" (func (param i32 i32 i32 i32 i32) (result i32)))
            (import "" "d" (func (param i32 i32))))
          (core instance (instantiate $c (with "" (instance (export "n" (func $new)) (export "d" (func $data))))))""",
        "no_such_interface": '(import "wasi:nn/prompt@0.2.0" (instance))',
    }
    seeds = {name: bytes(wasmtime.wat2wasm(f"(component {text})")) for name, text in texts.items()}
    seeds |= {file.stem: file.read_bytes() for file in sorted((_SUPPORT / "components").glob("*.wasm"))}
    return seeds | {"module": bytes(wasmtime.wat2wasm("(module)"))}


def _core_abi() -> Seeds:
    """A valid sequence of calls in each dialect, on each graph."""
    from fuzz import core_abi as abi
    from wasi_nn.abi.core.wamr import WamrAbi

    def place(at: int) -> int:
        return abi.SMALL + abi.PLACES.index(at)

    def number_of(number: int) -> int:
        return abi.NUMBERED + abi.NUMBERS.index(number)

    room = number_of(1024)
    config_size = 7
    seeds = {}
    for number, dialect in enumerate(abi.DIALECTS):
        functions = sorted(dialect.functions)
        of_wamr = dialect is WamrAbi

        def call(name: str, *arguments: int, functions: list[str] = functions) -> bytes:
            return bytes((functions.index(name), *arguments))

        def write(at: int, content: bytes, functions: list[str] = functions) -> bytes:
            return pack("<BHB", len(functions), at, len(content)) + content

        def extended(name: str, *arguments: int, functions: list[str] = functions) -> bytes:
            return bytes((len(functions) + 1 + abi.EXTENSIONS.index(name), *arguments))

        def extensions(extended: Callable[..., bytes] = extended, call: Callable[..., bytes] = call) -> list[bytes]:
            """Calls of all extensions on graph 1 and context 2; graphs refuse those of features that they lack."""
            strings = number_of(abi.STRINGS), 2, number_of(abi.STRINGS + 8), number_of(13)
            answer = place(abi.OUTPUT), room, place(abi.OUT)
            return [
                extended("describe", 1, *answer),
                extended("use_signature", 1, number_of(abi.SIGNATURE), 5, place(abi.OUT)),
                extended("state_set", 1, number_of(abi.STATE), number_of(len(abi.STATE_BYTES))),
                extended("state_get", 1, place(abi.OUTPUT), 0, place(abi.OUT)),
                extended("state_get", 1, *answer),
                extended("set_byte_strings", 2, 0, *strings),
                call("compute", 2),
                extended("describe_output", 2, 0, *answer),
                extended("get_byte_strings", 2, 0, *answer),
                extended("begin_sequence", 2),
                extended("next_of_sequence", 2, place(abi.OUT)),
                extended("describe_output", 2, 0, *answer),
                extended("end_sequence", 2),
            ]

        def output(name: str, context: int, index: int, of_wamr: bool = of_wamr) -> bytes:
            if of_wamr:
                return write(abi.OUT, pack("<I", 64)) + call(name, context, index, place(abi.OUTPUT), place(abi.OUT))
            return call(name, context, index, place(abi.OUTPUT), room, place(abi.OUT))

        of_graphs = ((0,), (3,), (4,), (2, 1), (3, 0), (2,), (0,), (), (1,))  # the tensors for each graph
        for letter, tensors in zip(abi.NAME_LETTERS, of_graphs, strict=True):
            steps = [
                bytes((number,)),
                call("load_by_name", abi.NAMED + abi.NAME_LETTERS.index(letter), 1, place(abi.OUT)),
                call("init_execution_context", 1, place(abi.OUT)),
                *(call("set_input", 2, n, place(abi.TENSORS + 20 * tensor)) for n, tensor in enumerate(tensors)),
                call("compute", 2),
                *(output("get_output", 2, n) for n in range(2)),
            ]
            if "compute_single" in functions:
                config = call(
                    "load_by_name_with_config", abi.NAMED + 2, 1, place(abi.CONFIG), config_size, place(abi.OUT)
                )
                single = call("compute_single", 2) + output("get_output_single", 2, 0) + call("fini_single", 2)
                steps += [config, single, call("unload", 1), call("finalize_execution_context", 2)]
            seeds[f"{dialect.__name__}_{chr(letter)}"] = b"".join(steps)
            seeds[f"{dialect.__name__}_{chr(letter)}_ext"] = b"".join([*steps[: 3 + len(tensors)], *extensions()])
        bytes_given = (place(abi.BUILDERS + 8),) if of_wamr else (place(abi.BUILDERS), 1)
        seeds[f"{dialect.__name__}_load"] = bytes((number,)) + call("load", *bytes_given, 1, 0, place(abi.OUT))
    return seeds


def _component_abi() -> Seeds:
    """A valid sequence of calls on each graph: with set-input and compute, and with a compute of named tensors."""
    from fuzz import component_abi as abi

    names = [step.__name__.removeprefix("_") for step in abi.STEPS]

    def step(name: str, *arguments: int | bytes) -> bytes:
        rest = b"".join(item if isinstance(item, bytes) else bytes((item,)) for item in arguments)
        return bytes((names.index(name),)) + rest

    def text(content: bytes) -> bytes:
        return bytes((len(content),)) + content

    tensors = {
        "f": step("make_tensor", 1, 4, 1, 16, bytes(16)),
        "a": step("make_tensor", 2, 2, 3, 4, 24, bytes(24)),
        "v": step("make_tensor", 0, 1, 4, bytes(4)),
        "q": step("make_tensor", 5, 5, 4, 5, b"hello"),
        "w": step("make_tensor", 1, 5, 4, 5, b"hello"),
        "r": step("make_tensor", 1, 4, 1, 16, bytes(16)),
    }
    inputs = {"f": b"x", "a": b"x", "v": b"x", "q": b"q", "w": b"prompt", "r": b"x"}
    word, load = step("make_tensor", 1, 5, 4, 5, b"hello"), "load_by_name"
    next_twice = step("next_of_sequence", 0) * 2
    seeds = {
        "description": step(load, text(b"t"))
        + step("describe", 0, 0)
        + step(load, text(b"s"))
        + step("describe", 1, 1),
        "state": step(load, text(b"t"))
        + step("use_signature", 0, 1)
        + step("get_state", 0)
        + step("set_state", 1, 0, 1),
        "sequence": b"".join(
            (
                *(step(load, text(b"w")), step("make_context", 0), word),
                step("begin_sequence", 0, 1, 0, text(b"prompt")) + next_twice,
                *(step("drop", 1, 0), step("drop", 2, 0), next_twice, step("drop", 4, 0)),
            )
        ),
        "strings": b"".join(
            (
                *(step(load, text(b"s")), step("make_context", 0)),
                step("make_strings", 2, 1, 4, 2, 1, 2) + step("look_at_strings", 0),
                step("compute_named", 0, 1, 0, text(b"s")) + step("look_at_strings", 0),
            )
        ),
    }
    for letter, tensor in tensors.items():
        name = text(inputs[letter])
        seeds[letter] = b"".join(
            (
                step("load_by_name", text(letter.encode())),
                step("make_context", 0),
                tensor + step("look_at_tensor", 0) + step("set_input", 0, 0, name),
                step("compute", 0) + step("get_output", 0, text(b"0")) + step("look_at_tensor", 0),
                tensor + step("compute_named", 0, 1, 0, name) + step("look_at_tensor", 1),
                step("get_output", 0, text(b"gone")) + step("look_at_error", 0) + step("drop", 0, 0),
            )
        )
    seeds["load"] = step("load", 1, 0, 1, abi.BUILDER) + step("make_context", 0) + step("load", 6, 0, 9)
    seeds["errors"] = step("make_error", 3, text(b"why")) + step("look_at_error", 0)
    seeds["handles"] = step("call_with_any_handle", 3, pack("<I", 1))
    return seeds


def _worker_messages() -> Seeds:
    from fuzz import graphs, worker_messages
    from wasi_nn import ErrorCode
    from wasi_nn.isolation.wire.channel import encoded
    from wasi_nn.isolation.wire.descriptions import described_error, described_graph, encoded_texts

    named = graphs.registry()
    four = encoded_texts(np.array(["a", b"b", "c", "d"], object)).decode("latin-1")
    contents = {
        "error": json.dumps(described_error(NNError(ErrorCode.TOO_LARGE, "why"))).encode(),
        "graph": json.dumps(described_graph(named.get("q"))).encode(),
        "texts": json.dumps([four, [2, 2]]).encode(),
        "dims": b"[1, 3, 224, 224]",
        "outputs": b'{"outputs": [["float32", [4, 2], 64], ["object", [2], 128, 18]], "names": ["a", "b"]}',
        "variables": b'{"nbytes": 16, "outputs": [["float32", [4], 0], ["int8", [], 64]], "names": ["w", "a.b"]}',
    }
    seeds = {name: bytes((number,)) + content for number, (name, content) in enumerate(contents.items())}
    templates = b'{"templates": [["w", "float32", [4, 2]], ["a.b", "bfloat16", []]]}'
    seeds["templates"] = bytes((list(contents).index("variables"),)) + templates
    seeds["same"] = bytes((list(contents).index("outputs"),)) + b'{"same": true}'
    seeds["open_graph"] = b"\1" + json.dumps(described_graph(named.get("a"))).encode()
    seeds["framed"] = bytes((len(worker_messages.KINDS),)) + encoded({"hooks": ["steps"]}, b"data")
    return seeds


def _state_files() -> Seeds:
    from wasi_nn.session.state_files import written

    values: dict[str, Any] = {"w": np.ones((2, 3), np.float32), "a.b": np.ones((), np.int64)}
    text = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    return {
        "two": written(values),
        "none": written({}),
        "empty": written({"e": np.ones((0, 4), np.uint8), "b": np.ones(1, np.bool_)}),
        "metadata": pack("<Q", len(text)) + text + bytes(4),
    }


def _remote_answers() -> Seeds:
    from fuzz.remote_answers import DESCRIPTION, EMBEDDING, INFERENCE, TEXT
    from wasi_nn.oip.proto import open_inference_pb2 as messages

    model = messages.ModelMetadataResponse(name="m", versions=["1"], platform="p")
    model.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    model.outputs.add(name="y", datatype="BYTES", shape=[-1])
    raw, fields = messages.ModelInferResponse(model_name="m"), messages.ModelInferResponse(model_name="m")
    for answer in (raw, fields):
        answer.outputs.add(name="y", datatype="FP32", shape=[1, 2])
        answer.outputs.add(name="s", datatype="BYTES", shape=[2])
    raw.raw_output_contents.extend([pack("<2f", 1, 2), pack("<I", 1) + b"a" + pack("<I", 0)])
    fields.outputs[0].contents.fp32_contents.extend([1, 2])
    fields.outputs[1].contents.bytes_contents.extend([b"a", b""])
    counts = {"prompt_tokens": 1, "completion_tokens": 2}
    events: list[Any] = [
        {"choices": [{"delta": {"content": "a"}, "finish_reason": None}]},
        {"choices": [{"text": "b", "finish_reason": "stop"}]},
        {"choices": [], "usage": counts},
    ]
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    vectors = {"data": [{"index": 0, "embedding": [1.5]}, {"index": 1, "embedding": [2]}], "usage": counts}
    return {
        "description": bytes([DESCRIPTION]) + model.SerializeToString(),
        "raw": bytes([INFERENCE]) + raw.SerializeToString(),
        "fields": bytes([INFERENCE]) + fields.SerializeToString(),
        "text": bytes([TEXT]) + text + b"data: [DONE]\n\n",
        "failure": bytes([TEXT]) + b'data: {"error": {"message": "no"}}\n\n',
        "vectors": bytes([EMBEDDING]) + json.dumps(vectors).encode(),
    }


def _traces() -> Seeds:
    """Recordings, without their times."""
    from tempfile import TemporaryDirectory

    from fuzz import traces
    from wasi_nn.graph.byte_strings import encoded
    from wasi_nn.session.state_files import written
    from wasi_nn.tracing import RecordingSession

    x, words = np.ones(2, np.float32), np.array([b"ab", b"c"], object)

    def numbers(session: Any) -> None:
        context = session.init_execution_context(session.load_by_name("f"))
        session.set_input(context, 0, np.ones(4, np.float32))
        session.compute(context)
        session.output_bytes(context, 0)
        session.compute_named(context, [("x", np.zeros(4, np.float32))])
        session.finalize_execution_context(context)

    def writing(session: Any) -> None:
        graph = session.load_by_name("w", b"{}")
        context = session.init_execution_context(graph)
        session.set_input(context, 0, b"ab")
        session.compute_single(context)
        session.single_output_bytes(context, 0)
        session.fini_single(context)
        session.drop(session.begin_named(context, [("prompt", b"a")]))
        sequence = session.begin_named(context, [("prompt", b"a")])
        while session.next_named(sequence) is not None:
            pass
        session.begin_sequence_on_inputs(context)
        session.next_piece(context)
        session.end_sequence(context)
        session.unload(graph)

    def counting(session: Any) -> None:
        graph = session.load_by_name("c")
        session.describe(graph)
        context = session.init_execution_context(session.use_signature(graph, "add"))
        session.compute_named(context, [("x", x)])
        session.state_set(graph, written({"steps": np.ones((), np.int64)}))
        session.state_get(graph)
        context = session.init_execution_context(session.use_signature(graph, "echo"))
        session.set_byte_strings(context, 0, (2,), encoded(words).data)
        session.compute(context)
        session.describe_output(context, 0)
        session.byte_strings(context, 0)

    def failing(session: Any) -> None:
        graph = session.load_by_name("c")
        for call, *arguments in (
            (session.load_by_name, "nobody"),
            (session.use_signature, graph, "gone"),
            (session.state_set, graph, b"garbage"),
            (session.compute, 9),
        ):
            with suppress(NNError):
                call(*arguments)

    seeds = {}
    with TemporaryDirectory() as folder:
        for make in (numbers, writing, counting, failing):
            path = Path(folder) / make.__name__
            with RecordingSession(path, traces.registry(), data=True) as session:
                make(session)
            events = json.loads(path.read_bytes())["traceEvents"]
            lines = [json.dumps(event | {"ts": 0, "dur": 0} if "ts" in event else event) for event in events]
            seeds[make.__name__] = "\n".join(lines).encode() + b"\0" + Path(f"{path}.data").read_bytes()
    return seeds


_SEEDS: Mapping[str, Callable[[], Seeds]] = {
    "onnx_model": _onnx_model,  # the first, since the ABIs' targets use one of these seeds
    "core_abi": _core_abi,
    "component_abi": _component_abi,
    "components": _components,
    "sniffers": _sniffers,
    "tflite_model": _tflite_model,
    "gguf": _gguf,
    "ggml_options": _ggml_options,
    "archives": _archives,
    "pytorch_archive": _pytorch_archive,
    "graphs_file": _graphs_file,
    "remote_answers": _remote_answers,
    "worker_messages": _worker_messages,
    "state_files": _state_files,
    "traces": _traces,
}


def main() -> None:
    """Write all seeds."""
    for target, make in _SEEDS.items():
        folder: Path = HERE / "corpus" / target
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in make().items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
