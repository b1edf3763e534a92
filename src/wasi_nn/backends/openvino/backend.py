"""OpenVINO models, run by OpenVINO, which also runs ONNX, TensorFlow and TensorFlow Lite models.

A graph of encoding openvino has two builders, the `.xml` and the `.bin`, or only the `.xml` if it has no weights. A
named graph is an `.xml` file with its `.bin` beside it. OpenVINO runs models of other encodings if the operator chooses
it, or if no other runtime for them is installed.

Options: `threads` (0, the default: the runtime's choice), `streams` (how many inferences may run at once, sharing
the threads; 0, the default: as `hint` says), `precision` (`f32`, the default, or `runtime` for the
runtime's own choice: bf16 on recent processors, which is less accurate), `hint` (`latency`, the default, or
`throughput`), `device` (one of OpenVINO's device names, for any target), `mmap` (whether the weights' file is mapped;
the default is false), `external_data` (as for ONNX Runtime), `signature` (of a TensorFlow Lite model: the signature
whose names are used).

OpenVINO accepts inputs of other types than the model's, and runs without inputs. The checks of `wasi_nn.graph` come
first.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.onnx.model import (
    cut_short_onnx,
    files_of_onnx,
    is_onnx,
    own_files_of_onnx,
    require_self_contained,
)
from wasi_nn.backends.openvino.compiled_graph import OpenVinoGraph
from wasi_nn.backends.openvino.signal_stack import signal_stack_kept
from wasi_nn.backends.options import as_bytes, check_options, is_flag, is_text, is_texts, is_thread_count, one_of
from wasi_nn.backends.signature_choice import described_signatures
from wasi_nn.backends.tensorflow import model as tensorflow_model
from wasi_nn.backends.tensorflow.changes import require_unchanging
from wasi_nn.backends.tflite.model import cut_short_tflite, is_tflite, require_sound
from wasi_nn.backends.tflite.signatures import (
    Signature,
    choose_signature,
    read_signatures,
    require_main,
)
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.graph import Graph
from wasi_nn.process.files import mapped_file
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    pass


# The target that each kind of OpenVINO's devices serves.
_TARGETS = {"CPU": ExecutionTarget.CPU, "GPU": ExecutionTarget.GPU, "NPU": ExecutionTarget.TPU}

# The names by which OpenVINO itself tells what a file is.
_SUFFIXES = (".xml", ".onnx", ".tflite", ".pb")


class OpenVinoBackend(Backend):
    """See `wasi_nn.backends.Backend`. What differs between the encodings that OpenVINO reads is in subclasses."""

    encoding = GraphEncoding.OPENVINO
    runtime = "openvino"
    extra = "openvino"
    model_files: Sequence[str] = ("model.xml",)
    withstands_hostile_bytes = False
    works_in_forks = False
    safe_in_isolation = True
    max_builders = 2

    @property
    def accepts(self) -> Mapping[str, Any]:
        """The options that the backend takes, each with the check of its value."""
        return _ACCEPTS

    def sniff(self, model: memoryview) -> bool:
        head = bytes(model[:1024]).lstrip(b"\xef\xbb\xbf \t\r\n")
        return head.startswith((b"<?xml", b"<net")) and b"<net" in head

    def cut_short(self, model: memoryview) -> str | None:
        if not self.sniff(model) or b"</net>" in bytes(model[-1024:]):
            return None
        return f"an OpenVINO network, cut short: it has {len(model)} bytes, and no </net> at its end"

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        if not 1 <= len(builders) <= self.max_builders:
            wanted = "one builder, the model" if self.max_builders == 1 else "one builder or two, the .xml and the .bin"
            message = f"openvino takes a graph of {self.encoding.value} as {wanted}; got {len(builders)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        with signal_stack_kept(), _readable(builders) as parts:
            try:
                return self._compiled(parts, target, options)
            except RuntimeError as error:
                if len(builders) > 1 or self.encoding is not GraphEncoding.OPENVINO or not self.sniff(builders[0]):
                    raise
                message = (
                    f"{one_line(error)} (only the .xml was given: give its weights, the .bin, as the second builder)"
                )
                raise RuntimeError(message) from error

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        if path.name == tensorflow_model.SAVED_MODEL:
            require_unchanging(memoryview(path.read_bytes()))
            path = path.parent
        elif path.suffix not in _SUFFIXES:
            return self.load([memoryview(path.read_bytes())], target, options)
        elif path.suffix == ".pb":
            require_unchanging(memoryview(path.read_bytes()))
        with signal_stack_kept():
            return self._compiled([str(path)], target, options)

    def files_of(self, path: Path) -> Sequence[Path]:
        if path.name == tensorflow_model.SAVED_MODEL:
            return tensorflow_model.files_of_saved_model(path)
        return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else files_of_onnx(path)

    def own_files_of(self, path: Path, options: Mapping[str, Any]) -> Sequence[Path]:
        if path.name == tensorflow_model.SAVED_MODEL or path.suffix == ".xml":
            return self.files_of(path)
        self.check_options(options)
        return own_files_of_onnx(path, options.get("external_data", ()))

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(GraphEncoding.OPENVINO, options, self.accepts)

    def list_devices(self) -> Sequence[Device]:
        if self.in_worker:  # the tools that make models, which OpenVINO goes without, take two thirds of its import
            sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # this import fails
        import openvino as ov

        with signal_stack_kept():
            return as_devices(ov.Core().available_devices)

    def _name(self, name: str) -> str:
        """The name of a tensor to which OpenVINO gives this name."""
        return name

    def _compiled(self, parts: Sequence[bytes | str], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        import openvino as ov

        properties = compile_properties(options, self.accepts)
        signatures = _signatures(parts[0])
        chosen = choose_signature(signatures, options.get("signature"))
        require_main(chosen, signatures)
        core = ov.Core()
        # If another program shortens a mapped file, the kernel kills this process.
        core.set_property({"ENABLE_MMAP": options.get("mmap", False)})
        name = options.get("device")  # may be a part of a listed device, such as GPU.0.1
        device = choose_device(
            as_devices(core.available_devices), target, self.runtime, name and name.partition(".")[0]
        )
        model = core.read_model(*parts)
        compiled = core.compile_model(model, name or device.name, properties)
        graph = OpenVinoGraph(self.encoding, compiled, self._name, model, chosen)
        if chosen is not None:
            graph.signature, graph.signatures = chosen.name, (chosen.name,)  # it runs no other one
            graph.metadata |= described_signatures([signature.name for signature in signatures], chosen.name)
        return graph


class OpenVinoOnnxBackend(OpenVinoBackend):
    """ONNX models."""

    encoding = GraphEncoding.ONNX
    model_files = ("model.onnx",)
    max_builders = 1

    def sniff(self, model: memoryview) -> bool:
        return is_onnx(model)

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_onnx(model)


class OpenVinoTfliteBackend(OpenVinoBackend):
    """TensorFlow Lite models."""

    encoding = GraphEncoding.TENSORFLOWLITE
    model_files = ("model.tflite",)
    max_builders = 1

    @property
    def accepts(self) -> Mapping[str, Any]:
        return _ACCEPTS | {"signature": is_text}

    def sniff(self, model: memoryview) -> bool:
        return is_tflite(model)

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_tflite(model)


class OpenVinoTensorFlowBackend(OpenVinoBackend):
    """TensorFlow models: SavedModels, with their default signature, and frozen graphs."""

    encoding = GraphEncoding.TENSORFLOW
    model_files = ("saved_model.pb", "model.pb")
    max_builders = 1

    def sniff(self, model: memoryview) -> bool:
        return tensorflow_model.is_tensorflow(model)

    def cut_short(self, model: memoryview) -> str | None:
        return tensorflow_model.cut_short_tensorflow(model)

    def _name(self, name: str) -> str:
        return name.removesuffix(":0")


@contextmanager
def _readable(builders: Sequence[memoryview]) -> Iterator[Sequence[bytes | str]]:
    """A model's builders as arguments of `read_model`: bytes, or the path of a file that exists during the block."""
    model = builders[0]
    if len(builders) == 2 or not (is_tflite(model) or tensorflow_model.is_tensorflow(model)):
        parts = [as_bytes(builder) for builder in builders]
        if is_onnx(model):
            require_self_contained(parts[0])
        yield [parts[0], parts[1] if len(parts) == 2 else b""]
    elif tensorflow_model.is_saved_model_archive(model):
        with tensorflow_model.saved_model_folder(model) as folder:
            require_unchanging(memoryview((folder / tensorflow_model.SAVED_MODEL).read_bytes()))
            yield [str(folder)]
    else:
        if is_tflite(model):
            require_sound(as_bytes(model), trusted=True)  # the checks of untrusted models are about LiteRT
        else:
            require_unchanging(model)
        with _as_file(model, "model.tflite" if is_tflite(model) else "model.pb") as path:
            yield [path]


@contextmanager
def _as_file(model: memoryview, name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="wasi-nn-") as folder:
        path = Path(folder, name)
        path.write_bytes(model)
        yield str(path)


def as_devices(names: Sequence[str]) -> list[Device]:
    """The devices that OpenVINO lists: `GPU`, or `GPU.0` and `GPU.1` if there are several of a kind."""
    return [Device(name, _TARGETS.get(name.partition(".")[0]), name) for name in names]


_PROPERTIES: dict[str, dict[Any, dict[str, str]]] = {
    "precision": {"f32": {"INFERENCE_PRECISION_HINT": "f32"}, "runtime": {}},
    "hint": {word: {"PERFORMANCE_HINT": word.upper()} for word in ("latency", "throughput")},
}
_ACCEPTS = {name: one_of(words) for name, words in _PROPERTIES.items()} | {
    "threads": is_thread_count,
    "streams": is_thread_count,
    "device": is_text,
    "mmap": is_flag,
    "external_data": is_texts,
}


def compile_properties(options: Mapping[str, Any], accepts: Mapping[str, Any] = _ACCEPTS) -> dict[str, Any]:
    """OpenVINO's properties for a graph's options. Raises `NNError` with `invalid-argument` for a wrong option."""
    check_options(GraphEncoding.OPENVINO, options, accepts)
    chosen = {"precision": "f32", "hint": "latency"} | dict(options)
    properties: dict[str, Any] = {}
    for name, words in _PROPERTIES.items():
        properties |= words[chosen[name]]
    for name, property_name in (("threads", "INFERENCE_NUM_THREADS"), ("streams", "NUM_STREAMS")):
        if options.get(name):
            properties[property_name] = options[name]
    if options.get("threads") == 1:
        # A short compute runs on the caller's thread, which OpenVINO would bind to other processors than before.
        properties["ENABLE_CPU_PINNING"] = False
    return properties


def _signatures(model: bytes | str) -> list[Signature]:
    """The signatures of a TensorFlow Lite model, by the path of its file; none of any other model."""
    if not isinstance(model, str) or not os.path.isfile(model):
        return []
    with mapped_file(Path(model)) as content:
        return read_signatures(content) if is_tflite(content) else []
