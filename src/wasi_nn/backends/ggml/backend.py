"""GGUF models, run by llama.cpp through xllamacpp.

A graph has one builder, the model, or two: the model and options in JSON. By name it is a file, or a directory with
`model.gguf`. Input 0 is the prompt. Input 1, which is optional, is options in JSON for this and later computes.
Output 0 is the generated text, or with the option `embedding`, JSON with the prompt's embedding. Output 1 is JSON with
the numbers of tokens of the prompt and of the text. All four are bytes, as in WasmEdge. A sequence has a piece for each
token.

`wasi_nn.backends.ggml.options` has the options. No chat template is applied here: guests format their prompts
themselves, and a model's template may be an endless program. `chat_format` reads it, for `wasi-nn serve`.
"""

from __future__ import annotations

import gc
import mmap
import os
import re
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import as_json
from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.ggml.files import ExtraFiles, extra_paths, open_extra_files, refuse_extra_files
from wasi_nn.backends.ggml.gguf import Header, is_gguf, read_header
from wasi_nn.backends.ggml.grammars import GuestPolicy
from wasi_nn.backends.ggml.image_option import placed
from wasi_nn.backends.ggml.images import has_images, parts_of
from wasi_nn.backends.ggml.options import GUESTS_OPTIONS, check_operator_options, from_guest, request
from wasi_nn.backends.ggml.runner import GgmlRunner
from wasi_nn.backends.ggml.server import Engine
from wasi_nn.backends.ggml.settings import LoadSettings, load_settings
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MAX_COPIES = 4  # of a graph's model in memory, loaded with different settings
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")  # llama.cpp's name for a part of a model in several files


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
            message = f"a graph of ggml takes one or two builders, the model and its options; got {len(builders)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        check_operator_options(options)
        refuse_extra_files(options)
        device = choose_device(_devices(), target, "this build of llama.cpp").label
        policy = GuestPolicy(options, self.in_worker)
        guest_options = from_guest(builders[1], policy) if len(builders) == 2 else {}
        header = read_header(builders[0])
        if header.keys.get("split.count", 1) not in (0, 1):
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "a model in several files can only be loaded by path")
        file = _unnamed_file()
        try:
            with open(file, "wb", closefd=False) as memory:
                memory.write(builders[0])
            model = _Model(file, f"/proc/self/fd/{file}", header, device, policy, ExtraFiles())
        except BaseException:
            os.close(file)
            raise
        return GgmlGraph(model, guest_options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        check_operator_options(options)
        device = choose_device(_devices(), target, "this build of llama.cpp").label
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ModelNotFound(f"no model at {path}: no such file") from error
        try:
            with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                header = read_header(view)
            _require_all_parts(path, header)
            # llama.cpp finds the parts of a model in several files by their names. A single file is opened through the
            # descriptor, so that it stays the file whose header was checked.
            name = f"/proc/self/fd/{file}" if header.keys.get("split.count", 1) in (0, 1) else str(path.absolute())
            extra = open_extra_files(path, options)
        except BaseException:
            os.close(file)
            raise
        model = _Model(file, name, header, device, GuestPolicy(options, self.in_worker), extra)
        return GgmlGraph(model, {})

    def files_of(self, path: Path) -> Sequence[Path]:
        part = _PART.fullmatch(path.name)
        if part is None:
            return [path]
        names = re.compile(rf"{re.escape(part[1])}-\d{{5}}-of-{part[3]}\.gguf")
        return sorted(file for file in path.parent.iterdir() if names.fullmatch(file.name))

    def own_files_of(self, path: Path, options: Mapping[str, Any]) -> Sequence[Path]:
        check_operator_options(options)
        return [*self.files_of(path), *extra_paths(path, options)]

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_operator_options(options)

    def list_devices(self) -> Sequence[Device]:
        return _devices()


def _require_all_parts(path: Path, header: Header) -> None:
    """Raise `NNError` with `runtime-error` for a part of a model in several files, unless it is the first part and all
    others are beside it, under the names that llama.cpp expects."""
    count = header.keys.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return
    part = _PART.fullmatch(path.name)
    stem = path.stem if part is None else part[1]
    if part is None or part[2] != "00001" or int(part[3]) != count:
        first = printable(f"{stem}-00001-of-{count:05}.gguf")
        message = f"{printable(path.name)} is one of {count} parts of a model: give the path of the first part, {first}"
        raise NNError(ErrorCode.RUNTIME_ERROR, message)
    names = [f"{stem}-{number:05}-of-{part[3]}.gguf" for number in range(1, count + 1)]
    missing = [name for name in names if not (path.parent / name).exists()]
    if missing:
        be = "is" if len(missing) == 1 else "are"
        message = f"the model has {count} parts, and {len(missing)} {be} missing beside {path}, such as {missing[0]}"
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(message))


def _unnamed_file() -> int:
    """A descriptor of a new file without a name: in memory, or if that isn't possible, in the temporary folder."""
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
    """A model's file, and the engines that have it in memory: one for each way in which contexts want it loaded."""

    def __init__(
        self, file: int, path: str, header: Header, device: str, policy: GuestPolicy, extra: ExtraFiles
    ) -> None:
        self.header = header
        self.device = device
        self.policy = policy
        self.operator_options = policy.operator_options
        self.engines: weakref.WeakValueDictionary[LoadSettings, Engine] = weakref.WeakValueDictionary()
        self._path = path
        self._lock = threading.Lock()
        self._extra = extra
        weakref.finalize(self, os.close, file)
        weakref.finalize(self, extra.close)

    def engine(self, guest_options: Mapping[str, Any]) -> Engine:
        """The model, loaded for these options of a guest and those of the operator."""
        settings = load_settings(self.operator_options, guest_options, self.header, gpu=self.device != "cpu")
        with self._lock:
            engine = self.engines.get(settings)
            if engine is None:
                if len(self.engines) >= _MAX_COPIES:
                    gc.collect()  # an error that was caught may still hold a context, and so its engine
                if len(self.engines) >= _MAX_COPIES:
                    message = (
                        f"contexts with different options have loaded the model {_MAX_COPIES} times, the most that are "
                        "allowed: use the same options, or drop contexts"
                    )
                    raise NNError(ErrorCode.TOO_LARGE, message)
                engine = self.engines[settings] = Engine(self._path, settings, self.policy, self._extra)
            return engine


class GgmlGraph(Graph):
    """A model, with the options that its guest gave beside it or as a configuration."""

    encoding = GraphEncoding.GGML
    runtime = "xllamacpp"

    def __init__(self, model: _Model, guest_options: Mapping[str, Any]) -> None:
        self._model = model
        self._guest_options = guest_options
        self.default_engine = model.engine(guest_options)
        self.device = model.device
        super().__init__(
            [TensorInfo.of_bytes("prompt"), TensorInfo.of_bytes("options", optional=True, keys=GUESTS_OPTIONS)],
            [TensorInfo.of_bytes("response", aliases=("text",)), TensorInfo.of_bytes("metadata")],
            model.header.described(),
        )

    def configured(self, config: memoryview) -> Graph:
        config = as_json("config", config)
        if len(config) == 0:
            return self
        self.require_usable()
        return GgmlGraph(self._model, {**self._guest_options, **from_guest(config, self._model.policy)})

    @property
    def operator_options(self) -> Mapping[str, Any]:
        """The options that the operator gave."""
        return self._model.operator_options

    def prompt_parts(self, prompt: str, image: bytes) -> list[dict[str, Any]] | None:
        """The texts and images of a prompt, with this image in its place unless it is empty; None for one without
        images. Raises as `image_option.placed` and `images.parts_of` do."""
        if image:
            prompt = placed(prompt, image, has_images(prompt))
        return parts_of(prompt, self._model.policy)

    @property
    def engine_count(self) -> int:
        """How many copies of the model are in memory, with different settings."""
        return len(self._model.engines)

    def runner(self) -> Runner:
        return GgmlRunner(self)

    def options(self, data: Array, *, has_deadlines: bool) -> dict[str, Any]:
        """A guest's options: those in this JSON, and below them those of the graph. Raises `NNError` with `security`
        for a grammar that isn't allowed, with deadlines for computes or without."""
        policy = self._model.policy
        own = {} if data is ABSENT else from_guest(data.data, policy, has_deadlines=has_deadlines)
        if "grammar" not in own:  # else `from_guest` has checked it
            policy.require_grammar_allowed(self._guest_options, has_deadlines=has_deadlines)
        return {**self._guest_options, **own}

    def completion_request(self, guest_options: Mapping[str, Any]) -> dict[str, Any]:
        """The request to llama.cpp's server for a completion, without the prompt."""
        fields = request({**self._model.operator_options, **guest_options})
        if "json_schema" in fields and self._breaks_schemas():
            message = "llama.cpp can't follow a JSON schema with this model's tokenizer: give a grammar instead"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        return fields

    def _breaks_schemas(self) -> bool:
        # llama.cpp tokenizes the characters that a schema demands, and such a tokenizer puts a space before each text.
        keys = self._model.header.keys
        return keys.get("tokenizer.ggml.model") == "llama" and keys.get("tokenizer.ggml.add_space_prefix", True) is True

    def engine(self, guest_options: Mapping[str, Any]) -> Engine:
        """The model, loaded for these options of a guest, those of the graph and those of the operator."""
        return self._model.engine({**self._guest_options, **guest_options})
