"""The examples of the SDKs under a test's control: their graphs, the output that they must have, and a run of one.

A test of all languages takes `GUESTS`. The output is the same in each language, word for word.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import make_sdk
import models as real_models
import numpy as np
import onnx_models
import pytest
from extension_graphs import Echo, Learner, Speller
from onnx import helper
from sdk_languages import building
from sdk_languages.language import Guest
from wasmtime import Config, Engine, ExitTrap, Linker, Module, Store, WasiConfig, _ffi as ffi, component

import wasi_nn
from wasi_nn import Graph, Session, TensorType
from wasi_nn.guests.compile_cache import CompileCache
from wasi_nn.limits.limits import HostLimits
from wasi_nn.limits.usage import Usage

GUESTS: tuple[Guest, ...] = tuple(guest for language in make_sdk.LANGUAGES for guest in language.guests)
PHOTOGRAPHS = ("chelsea.ppm", "coffee.ppm", "rocket.ppm")
TYPES = ("f16", "f32", "f64", "u8", "i32", "i64")

TOUR = """\
unknown name: not-found, with a message: true
no inputs: invalid-argument
wrong dims: invalid-argument
wrong type: invalid-argument
no output yet: runtime-error
f16: [15360, 49152]
f32: [1, -2]
f64: [1, -2]
u8: [1, 254]
i32: [1, -2]
i64: [1, -9007199254740993]
no such output: invalid-argument
small buffer: too-large, 16 bytes needed
large buffer: 2 of [1, -2, 0]
bf16: {bf16}
from bytes: [0, 2, 0, 4]
bad model: true
after a drop: success
"""

EXTENSIONS = """\
f16-out: f16 [2], 4 bytes
f32-out: f32 [2], 8 bytes
f64-out: f64 [2], 16 bytes
u8-out: u8 [2], 2 bytes
i32-out: i32 [2], 8 bytes
i64-out: i64 [2], 16 bytes
unknown input: invalid-argument
by name: i64-out [7, -8]
of another type: invalid-argument
tensorflowlite on a test's own (npu:7)
signature infer of infer, train
input x: f32 [2]
output y: f32 [2]
made by: a t\u00e9st
unknown signature: not-found
train: [2, 3]
state: 80 bytes
train: [3, 5]
infer: [3, 5]
restored: [2, 3]
bad state: invalid-argument
no state: unsupported-operation
input x: byte strings [n]
strings: 'ab' '' '\u00e9'
wrong number: invalid-argument
sequence: a b c end
failing: d runtime-error
after its end: runtime-error
"""

STREAMING = """\
configured: unsupported-operation
streaming: a b c end-of-sequence
"""


def expected(guest: Guest) -> str:
    """The output that a guest must have: of `tour`, or of `extensions`."""
    if guest.program == "tour":
        return TOUR.format(bf16="[1, -2]" if guest.abi == "component" else "unsupported-operation")
    return EXTENSIONS + (STREAMING if guest.abi == "wasmedge" else "")


def types() -> bytes:
    """A model with an input [2] of each type, which is an output too."""
    values = {name: (onnx_models.ELEMENTS[TensorType(name)], (2,)) for name in TYPES}
    nodes = [helper.make_node("Identity", [name], [f"{name}-out"]) for name in TYPES]
    return onnx_models.build(nodes, values, {f"{name}-out": value for name, value in values.items()})


def graphs() -> dict[str, Graph | bytes]:
    """The graphs that the guests ask for by name."""
    bf16 = onnx_models.identity(TensorType.BF16, (2,))
    return {"types": types(), "bf16": bf16, "learner": Learner(), "echo": Echo(), "speller": Speller()}


def photographs(folder: Path) -> Path:
    """Put photographs of the size that EfficientNet takes into a folder, and its labels; gives the folder."""
    from PIL import Image

    for name, path in real_models.photographs().items():
        with Image.open(path) as picture:
            side = min(picture.size)
            left, top = ((size - side) // 2 for size in picture.size)
            picture.crop((left, top, left + side, top + side)).resize((224, 224)).save(folder / f"{name}.ppm")
    (folder / "labels.txt").write_bytes(real_models.efficientnet().labels.read_bytes())
    return folder


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    """The runtime's own scores of each photograph in a folder, by the places of the labels."""
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(real_models.efficientnet().model, providers=["CPUExecutionProvider"])
    found = {}
    for name in PHOTOGRAPHS:
        pixels = np.asarray(Image.open(folder / name), np.float32)
        [[found[name]]] = session.run(None, {"image": ((pixels - 127) / 128).transpose(2, 0, 1)[None]})
    return found


def best_labels(folder: Path) -> str:
    """What a guest must say of the photographs in a folder: by the runtime's own scores."""
    labels = (folder / "labels.txt").read_text().splitlines()
    said = ""
    for name, scores in scores_of(folder).items():
        shares = np.exp(scores - scores.max())
        shares = 100 * shares / shares.sum()
        order = np.argsort(-scores, kind="stable")[:5]
        said += "".join([f"{name}\n", *(f"  {int(shares[it] + 0.5):3} %  {labels[it]}\n" for it in order)])
    for word in ("tiger cat", "espresso", "missile"):
        assert word in said, "the weights are real"
    return said


def path_of(guest: Guest) -> Path:
    """The built file. One that isn't committed is built. Without a tool for that, the test is skipped; in continuous
    integration, it fails."""
    if not guest.committed and not guest.file.exists():
        guest.file.parent.mkdir(parents=True, exist_ok=True)
        for tool in guest.tools:
            if shutil.which(tool) is None:
                message = f"{guest} needs {tool} to be built"
                pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        with _alone_with(guest.file):
            if not guest.file.exists():
                part = guest.file.with_suffix(".part")
                guest.build(part)
                part.rename(guest.file)
                _remove_older(guest.file)
    assert guest.file.exists(), f"run: python tools/make_sdk.py guests {guest.language}"
    return guest.file


@contextmanager
def _alone_with(built: Path) -> Iterator[None]:
    """In the block, no other process builds or compiles this file, which several may need at the same time."""
    with built.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_older(built: Path) -> None:
    """Remove the files that were built from older sources: the name of a built file ends with the hash of its
    sources."""
    name, _, key = built.stem.rpartition("-")
    if re.fullmatch("[0-9a-f]{16}", key):
        for other in built.parent.glob(f"{name}-{'[0-9a-f]' * 16}.wasm"):
            if other != built:
                other.unlink(missing_ok=True)


@dataclass(frozen=True)
class Ran:
    """A guest that ran: its exit code and output, and the amounts that it hadn't given back at its end."""

    exit_code: int
    stdout: str
    stderr: str
    left: Mapping[str, int]


def run(
    guest: Guest,
    arguments: Sequence[str] = (),
    graphs: Mapping[str, Graph | bytes | Path] | None = None,
    directory: Path | None = None,
    guest_directory: str = ".",
    stdin: bytes = b"",
    *,
    is_timed: bool = False,
) -> Ran:
    """Run a guest with these graphs. It sees the directory as its own, by this name. A large guest is compiled without
    optimizations, which takes half the time, and once for all processes, unless the run `is_timed`."""
    totals = Usage(HostLimits())
    with tempfile.TemporaryDirectory() as scratch, Session(dict(graphs or {}), totals=totals) as session:
        wasi, files = WasiConfig(), [Path(scratch, name) for name in ("stdout", "stderr")]
        wasi.argv = [guest.program, *arguments]
        wasi.stdout_file, wasi.stderr_file = map(str, files)
        Path(scratch, "stdin").write_bytes(stdin)
        wasi.stdin_file = str(Path(scratch, "stdin"))
        if directory is not None:
            wasi.preopen_dir(str(directory), guest_directory)
        engine = _optimizing() if guest.committed or is_timed else _quick()
        store = Store(engine)
        store.set_wasi(wasi)
        try:
            code = (_run_component if guest.abi == "component" else _run_core)(path_of(guest), session, store, engine)
        except ExitTrap as trap:
            code = trap.code
        left = {name: totals.used(name) for name in ("graphs", "contexts", "handles")}
        store.close()
        return Ran(code, files[0].read_bytes().decode(), files[1].read_bytes().decode(), left)


_optimizing = cache(Engine)


@cache
def _quick() -> Engine:
    """An engine that compiles large guests in half the time. `Config` lacks the setting for registers."""
    config, single_pass = Config(), 1
    config.cranelift_opt_level = "none"
    ffi.wasmtime_config_cranelift_regalloc_algorithm_set(config.ptr(), single_pass)
    return Engine(config)


_COMPILED = CompileCache(building.BUILD / "compiled", max_bytes=1 << 30)


@cache
def _compiled(path: Path, engine: Engine) -> component.Component | Module:
    content = path.read_bytes()
    kind: Any = Module if content[4:8] == b"\1\0\0\0" else component.Component
    if kind is component.Component:
        content = wasi_nn.wrap_component(content)
    compiled: component.Component | Module
    if engine is not _quick():
        compiled = kind(engine, content)
        return compiled
    with _alone_with(path):
        compiled = _COMPILED.get(content, partial(kind, engine), partial(kind.deserialize, engine), "-quick")
        return compiled


def _run_core(path: Path, session: Session, store: Store, engine: Engine) -> int:
    module, linker = _compiled(path, engine), Linker(engine)
    assert isinstance(module, Module)
    linker.define_wasi()
    wasi_nn.add_to_linker(linker, session, "auto", guest=module)
    instance = linker.instantiate(store, module)
    instance.exports(store)["_start"](store)  # type: ignore[operator]
    return 0


def _run_component(path: Path, session: Session, store: Store, engine: Engine) -> int:
    guest, linker = _compiled(path, engine), component.Linker(engine)
    assert isinstance(guest, component.Component)
    linker.add_wasip2()
    wasi_nn.add_to_component_linker(linker, session, guest)
    instance = linker.instantiate(store, guest)
    interface = next(it for it in guest.type.exports(engine) if it.startswith("wasi:cli/run@"))
    exported = instance.get_export_index(store, interface)
    assert exported is not None
    place = instance.get_export_index(store, "run", exported)
    assert place is not None
    function = instance.get_func(store, place)
    assert function is not None
    return int(function(store).tag == "err")


def named(program: str, abis: Iterable[str] = ("core", "wasmedge", "component")) -> list[Guest]:
    """The guests of all languages that are this program, for these ABIs."""
    return [guest for guest in GUESTS if guest.program == program and guest.abi in abis]
