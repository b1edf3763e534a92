"""GGUF models, run by llama.cpp through xllamacpp.

A graph has one builder, the model, or two: the model and options in JSON. By name it is a file, or a directory with
`model.gguf`. Input 0 is the prompt and input 1, which need not be set, options in JSON for the computes that follow.
Output 0 is the text that was written, or with the option `embedding` JSON with the prompt's embedding; output 1 is
JSON that says how many tokens went in and came out. All four are bytes. This is how WasmEdge's GGML graphs are used.
Piece by piece, there is a piece for each token.

`wasi_nn.backends.ggml.options` has the options. No chat template is applied, and none is read: guests format their
prompts, and llama.cpp would run a template of the model's, which may be a program without end.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.ggml.completion import Completion
from wasi_nn.backends.ggml.gguf import Header, is_gguf, read_header
from wasi_nn.backends.ggml.options import Loading, check_operators, from_guest, loading, request
from wasi_nn.backends.ggml.server import Engine
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, PromptTooLong
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT, EndedEarly, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MAX_VARIANTS = 4
_PART = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf")  # how llama.cpp names the parts of a model
_BYTES_A_TOKEN = 1024  # more than any token of a vocabulary has


class GgmlBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.GGML
    runtime = "xllamacpp"
    extra = "ggml"
    model_files = ("model.gguf",)
    withstands_hostile_bytes = False
    works_in_forks = False
    needs_sockets = True

    def sniff(self, model: memoryview) -> bool:
        return is_gguf(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        if len(builders) > 2:
            message = f"a graph of ggml has the model and may have options as builders; got {len(builders)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        check_operators(options)
        device = choose_device(_devices(), target, "this build of llama.cpp").label
        guests = from_guest(builders[1], options) if len(builders) == 2 else {}
        header = read_header(builders[0])
        if header.keys.get("split.count", 1) not in (0, 1):
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "a model in several files can only be loaded by path")
        file = _nameless_file()
        try:
            with open(file, "wb", closefd=False) as memory:
                memory.write(builders[0])
            model = _Model(file, f"/proc/self/fd/{file}", header, device, options)
        except BaseException:
            os.close(file)
            raise
        return GgmlGraph(model, guests)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        check_operators(options)
        device = choose_device(_devices(), target, "this build of llama.cpp").label
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ModelNotFound(f"no model at {path}: no such file") from error
        try:
            with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                header = read_header(view)
            # The parts of a model in several files are found by its name; else it stays the file that was read here.
            name = f"/proc/self/fd/{file}" if header.keys.get("split.count", 1) in (0, 1) else str(path.absolute())
            model = _Model(file, name, header, device, options)
        except BaseException:
            os.close(file)
            raise
        return GgmlGraph(model, {})

    def files_of(self, path: Path) -> Sequence[Path]:
        part = _PART.fullmatch(path.name)
        if part is None:
            return [path]
        names = re.compile(rf"{re.escape(part[1])}-\d{{5}}-of-{part[2]}\.gguf")
        return sorted(file for file in path.parent.iterdir() if names.fullmatch(file.name))

    def list_devices(self) -> Sequence[Device]:
        return _devices()


def _nameless_file() -> int:
    """A new file without a name: in memory, or where that isn't to be had, in the folder for temporary files."""
    try:
        return os.memfd_create("model.gguf")
    except OSError:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


_TARGETS = {"CPU": ExecutionTarget.CPU, "GPU": ExecutionTarget.GPU, "IGPU": ExecutionTarget.GPU}


@cache
def _devices() -> Sequence[Device]:
    """The devices that this build of llama.cpp sees."""
    import xllamacpp

    return as_devices((d["name"], d["type"].name.rpartition("_")[2]) for d in xllamacpp.get_device_info())


def as_devices(named: Iterable[tuple[str, str]]) -> list[Device]:
    """llama.cpp's devices, by the name and the kind (CPU, GPU ...) of each."""
    return [Device(name, _TARGETS.get(kind), re.sub(r"(?<=[a-z])(\d+)$", r":\1", name.lower())) for name, kind in named]


class _Model:
    """A model's file, and the ways in which it is loaded: the usual one, and others that contexts want of it."""

    def __init__(self, file: int, path: str, header: Header, device: str, operators: Mapping[str, Any]) -> None:
        self.header = header
        self.device = device
        self.operators = operators
        self._path = path
        self._engines: weakref.WeakValueDictionary[Loading, Engine] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, file)

    def engine(self, guests: Mapping[str, Any]) -> Engine:
        """The model, loaded as these options of a guest's and the operator's want it."""
        wanted = loading(self.operators, guests, self.header, gpu=self.device != "cpu")
        with self._lock:
            engine = self._engines.get(wanted)
            if engine is None:
                if len(self._engines) >= _MAX_VARIANTS:
                    gc.collect()  # an error that was caught may still hold a context, and this its engine
                if len(self._engines) >= _MAX_VARIANTS:
                    message = f"contexts have the model loaded in {_MAX_VARIANTS} ways at once, this is one too many"
                    raise NNError(ErrorCode.TOO_LARGE, message)
                engine = self._engines[wanted] = Engine(self._path, wanted, self.operators, self.header)
            return engine


class GgmlGraph(Graph):
    """A model, with the options that a guest gave beside it."""

    encoding = GraphEncoding.GGML
    runtime = "xllamacpp"

    def __init__(self, model: _Model, guests: Mapping[str, Any]) -> None:
        self._model = model
        self._guests = guests
        self._usual = model.engine(guests)
        self.device = model.device
        super().__init__(
            [TensorInfo.of_bytes("prompt"), TensorInfo.of_bytes("options", optional=True)],
            [TensorInfo.of_bytes("text"), TensorInfo.of_bytes("metadata")],
            model.header.described(),
        )

    def configured(self, config: memoryview) -> Graph:
        if len(config) == 0:
            return self
        self.require_usable()
        return GgmlGraph(self._model, {**self._guests, **from_guest(config, self._model.operators)})

    def runner(self) -> Runner:
        return _Runner(self)

    def options(self, data: Array) -> dict[str, Any]:
        """A guest's options: those that came with the model, under those in this JSON."""
        return {**self._guests, **({} if data is ABSENT else from_guest(data.data, self._model.operators))}

    def completion_request(self, guests: Mapping[str, Any]) -> dict[str, Any]:
        """What to ask of llama.cpp's server for a completion, besides its prompt."""
        wanted = request({**self._model.operators, **guests})
        if "json_schema" in wanted and self._keeps_no_schema():
            message = "llama.cpp doesn't keep to a JSON schema with this model's tokenizer; a grammar works"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        return wanted

    def is_shown(self, guests: Mapping[str, Any]) -> bool:
        """Whether a text is to be shown as it is written."""
        return {**self._model.operators, **guests}.get("stream-stdout", False) is True

    def _keeps_no_schema(self) -> bool:
        # The schema's own characters are tokenized with the space that such a tokenizer puts before every text.
        keys = self._model.header.keys
        return keys.get("tokenizer.ggml.model") == "llama" and keys.get("tokenizer.ggml.add_space_prefix", True) is True

    def engine(self, guests: Mapping[str, Any]) -> Engine:
        """The model, loaded as these options of a guest's and the operator's want it."""
        return self._model.engine({**self._guests, **guests})


class _Runner(Runner):
    """Runs a completion or an embedding; keeps the model loaded as its context wants it."""

    def __init__(self, graph: GgmlGraph) -> None:
        self._graph = graph
        self._engine: Engine | None = None
        self._completion: weakref.ref[Completion] | None = None  # one that has ended is held by nobody

    def check_input(self, index: int, data: memoryview) -> None:
        """Raise `NNError` for options that can't be read or don't fit."""
        if index == 1:
            self._graph.options(np.frombuffer(data, np.uint8))

    def __call__(self, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        engine, prompt, guests = self._asked(*inputs)
        if engine.loading.embedding:
            embedding, tokens = engine.embedding(prompt)
            text = json.dumps({"n_embedding": len(embedding), "embedding": embedding})
            return [_bytes(text), _metadata(tokens, 0)]
        completion = Completion(engine, prompt, self._graph.completion_request(guests))
        self._completion = weakref.ref(completion)
        sink = self.text_sink if self._graph.is_shown(guests) else None
        pieces = []
        for piece in completion:
            pieces.append(piece)
            if sink is not None:
                sink(piece.encode())
        return _outputs("".join(pieces), completion)

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array]]:
        """A piece for each token: empty, if the token is but a part of a character, and not the last one of it."""
        engine, prompt, guests = self._asked(*inputs)
        if engine.loading.embedding:
            message = "an embedding is given all at once: compute it"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        wanted = self._graph.completion_request(guests)
        wanted.pop("stop", None)  # WasmEdge's guests, who look for it themselves, see all that is written
        completion = Completion(engine, prompt, wanted)
        self._completion = weakref.ref(completion)
        engine.admit(completion)
        pieces = []
        tokens = 0
        for piece in completion:
            while tokens < completion.output_tokens:
                tokens += 1
                text = piece if tokens == completion.output_tokens else ""
                yield [_bytes(text), _metadata(completion.input_tokens, tokens)]
            pieces.append(piece)
        while tokens < completion.tokens_of_text:
            tokens += 1
            yield [_bytes(""), _metadata(completion.input_tokens, tokens)]
        return _outputs("".join(pieces), completion)

    def interrupt(self) -> None:
        """Stop a completion; an embedding can't be stopped."""
        completion = None if self._completion is None else self._completion()
        if completion is not None:
            completion.interrupt()

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        """The metadata, once there is a prompt."""
        data, options = inputs
        if index != 1 or data is None or options is None:
            return None
        engine, prompt, _ = self._asked(data, options)
        return _metadata(engine.count_tokens(prompt), 0)

    def _asked(self, data: Array, options: Array) -> tuple[Engine, str, dict[str, Any]]:
        """What the inputs ask for: the model as they want it loaded, the prompt, and the guest's options."""
        guests = self._graph.options(options)
        prompt = _text(data)
        engine = self._engine = self._graph.engine(guests)
        if len(data) > engine.loading.context * _BYTES_A_TOKEN:
            message = f"a prompt of {len(data)} bytes can't fit into a context of {engine.loading.context} tokens"
            raise PromptTooLong(message)
        return engine, prompt, guests


def _outputs(text: str, completion: Completion) -> Sequence[Array]:
    outputs = [_bytes(text), _metadata(completion.input_tokens, completion.output_tokens)]
    return EndedEarly(outputs) if completion.full else outputs


def _text(data: Array) -> str:
    try:
        return data.tobytes().decode()
    except UnicodeDecodeError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt isn't UTF-8: see its byte {error.start}") from error


def _bytes(text: str) -> Array:
    return np.frombuffer(bytearray(text.encode()), np.uint8)


def _metadata(input_tokens: int, output_tokens: int) -> Array:
    import xllamacpp

    built = xllamacpp.BUILD_INFO
    # Where the wheel doesn't know, the last part of its version is llama.cpp's build number.
    number = built["build_number"] or int(xllamacpp.__version__.rpartition(".")[2])
    return _bytes(
        json.dumps(
            {
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "llama_build_number": number,
                "llama_commit": built["commit"],
            }
        )
    )
