"""Arguments of Python callers: an error for each wrong kind, and a conversion where the meaning is clear."""

from __future__ import annotations

import copy
import functools
import io
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import wasmtime
from command_guests import ECHOES_STDIN, command, says

import wasi_nn
from wasi_nn import (
    Directory,
    ErrorCode,
    ExecutionTarget,
    GraphEncoding,
    Host,
    HostLimits,
    Limits,
    LoadRules,
    NamedGraph,
    NNError,
    RecordingSession,
    Registry,
    Run,
    Session,
)
from wasi_nn.graph.python_tensors import as_declared
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.isolation import Isolation
from wasi_nn.tracing import Trace, TraceReader, replay
from wasi_nn.types import TensorType

GUEST = b'(module (func (export "_start")))'
RELU = onnx_models.relu()
X = np.arange(4, dtype=np.float32)

host = functools.cache(lambda: Host({"net": RELU}, cache=False))
relu = functools.cache(lambda: wasi_nn.load(RELU))
sums = functools.cache(lambda: wasi_nn.load(onnx_models.add_and_mul()))


def context() -> wasi_nn.ExecutionContext:
    return relu().init_execution_context()


def run(**arguments: Any) -> Callable[[], Any]:
    return lambda: host().run(GUEST, **arguments)


def new(kind: Any, *arguments: Any, **keywords: Any) -> Callable[[], Any]:
    return functools.partial(kind, *arguments, **keywords)


def add(*arguments: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: Registry().add("a", *arguments, **keywords)


def load(*arguments: Any, **keywords: Any) -> Callable[[], Any]:
    return new(wasi_nn.load, RELU, *arguments, **keywords)


GRAPHS = "graphs must be a wasi_nn.Registry, a mapping of names to models, or the path of a file of graphs, not "
RULES = "rules must be wasi_nn.LoadRules(...), not "
LIMITS = "limits must be wasi_nn.Limits(...), not "
TRACE = "trace must be a path, as a str or a pathlib.Path, not "
NAME = "name must be a str, not "
ISOLATE = "isolate must be True, False or wasi_nn.Isolation(...), not "
GUESTS = "guest must be the path of a .wasm or .wat file, or the bytes of either, not "
SOURCE = "source must be the path of a model, its bytes, or a list of builders, not "
KEY = "must be its name or its index, not "
INPUT = "input 'x' must be an array of f32[4], or numbers in lists, not "
ARGS = "args must be a list of str, such as ['photo.ppm'], not "
DIRS = "dirs must be a mapping of the guest's paths to directories, such as {'/': 'photos'}, not "
ENV = "env must be a mapping of str to str, such as {'HOME': '/'}, not "
STDIN = "stdin must be bytes, a pathlib.Path, a file that is open for bytes, sys.stdin or None"
STREAMS = "streams must be two descriptors, for the standard output and error, not "
OPTIONS = "options must be a mapping of names to values, such as {'threads': 2}, not "

# Calls with an argument of the wrong kind, and the beginning of the error.
HOSTS: list[tuple[Callable[[], Any], str]] = [
    (new(Host, 3), f"{GRAPHS}3"),
    (new(Host, ["a.onnx"]), f"{GRAPHS}['a.onnx']"),
    (new(Host, {"net": 3}), "graph 'net': source must be a path, bytes, a list of either, or a wasi_nn.Graph, not 3"),
    (new(Host, {3: RELU}), "a graph's name must be a str, not 3"),
    (new(Host, allow_load=1), "allow_load must be True, False, or a collection of encodings, such as ['onnx'], not 1"),
    (new(Host, allow_load=None), "allow_load must be True, False, or a collection of encodings"),
    (new(Host, allow_load="onnx"), "allow_load must be a collection, not one text: write ['onnx']"),
    (new(Host, allow_load=[3]), "allow_load: no encoding is named 3; there are openvino, onnx"),
    (new(Host, allow_targets=True), "allow_targets must be a collection of targets, such as ['cpu'], or None for all"),
    (new(Host, allow_targets="cpu"), "allow_targets must be a collection, not one text: write ['cpu']"),
    (new(Host, allow_targets=["npu"]), "allow_targets: no target is named 'npu'; there are cpu, gpu, tpu"),
    (new(Host, allow_names="net"), "allow_names must be a collection, not one text: write ['net']"),
    (new(Host, allow_names=3), "allow_names must be a list of str, such as ['mobilenet', 'test-*'], not 3"),
    (new(Host, allow_names=["net", 3]), "allow_names[1] must be a str, not 3"),
    (new(Host, allow_http="no"), "allow_http must be True or False, not 'no'"),
    (new(Host, rules={}), f"{RULES}{{}}"),
    (new(Host, isolate="yes"), f"{ISOLATE}'yes'"),
    (new(Host, isolate=1), f"{ISOLATE}1"),
    (new(Host, isolate={"memory": 3}), f"{ISOLATE}{{'memory': 3}}"),
    (new(Host, limits={"graphs": 5}), f"{LIMITS}{{'graphs': 5}}"),
    (new(Host, limits=Limits), f"{LIMITS}<class "),
    (new(Host, totals=Limits()), "totals must be wasi_nn.HostLimits(...), not Limits("),
    (new(Host, dialect=3), "no dialect is named 3; there are auto, spec, wasmedge, wamr"),
    (new(Host, cache=3), "cache must be True or False, or a directory, as a str or a pathlib.Path, not 3"),
    (lambda: host().session(limits={}), f"{LIMITS}{{}}"),  # type: ignore[arg-type]
    (lambda: host().session(allow_names="net"), "allow_names must be a collection"),
    (lambda: host().session(trace=3), f"{TRACE}3"),  # type: ignore[arg-type]
    (lambda: host().session(trace_data=True), "trace_data needs trace, the path of the file to record"),
    (lambda: host().session(title=3), "title must be a str, not 3"),  # type: ignore[arg-type]
    (lambda: host().store({}), f"{LIMITS}{{}}"),  # type: ignore[arg-type]
    (lambda: host().compile(3), f"{GUESTS}3"),  # type: ignore[arg-type]
    (lambda: host().compile(["a.wasm"]), f"{GUESTS}['a.wasm']"),  # type: ignore[arg-type]
    (new(Run, 3), f"{LIMITS}3"),
    (new(Directory, 3), "Directory.path must be a path, as a str or a pathlib.Path, not 3"),
    (new(Directory, ".", read_only="no"), "Directory.read_only must be True or False, not 'no'"),
]
RUNS: list[tuple[Callable[[], Any], str]] = [
    (lambda: host().run(3), f"{GUESTS}3"),  # type: ignore[arg-type]
    (lambda: host().run(None), f"{GUESTS}None"),  # type: ignore[arg-type]
    (run(args="m labels"), "args must be a list, not one text: write ['m', 'labels']"),
    (run(args="--title 'two words'"), "args must be a list, not one text: write ['--title', 'two words']"),
    (run(args="it's"), 'args must be a list, not one text: write ["it\'s"]'),
    (run(args=""), "args must be a list, not one text: write []"),
    (run(args="x " * 10**6), "args must be a list, not one text: write ['x', 'x', 'x', 'x', 'x', 'x', ...]"),
    (run(args=b"m"), "args must be a list, not one text: write ['m']"),
    (run(args=3), f"{ARGS}3"),
    (run(args={"m": 3}), f"{ARGS}{{'m': 3}}"),
    (run(args={"m"}), f"{ARGS}{{'m'}}"),
    (run(args=["m", 3]), "args[1] must be a str, not 3"),
    (run(args=[b"m"]), "args[0] must be a str, not b'm'"),
    (run(env=["A=1"]), f"{ENV}['A=1']"),
    (run(env="A=1"), f"{ENV}'A=1'"),
    (run(env={"A": 1}), "env['A'] must be a str, not 1"),
    (run(env={1: "A"}), "a name in env must be a str, not 1"),
    (run(env={"A=B": "C"}), "a name in env must be a text without '=', not 'A=B'"),
    (run(dirs={"": "."}), "a guest's path in dirs must be a path, such as '/' or '.', not ''"),
    (run(env={"": "C"}), "a name in env must be a text without '=', not ''"),
    (run(dirs=["."]), f"{DIRS}['.']"),
    (run(dirs="."), f"{DIRS}'.'"),
    (run(dirs=Directory(".")), f"{DIRS}Directory("),
    (run(dirs={1: "."}), "a guest's path in dirs must be a str, not 1"),
    (run(dirs={"/": 1}), "dirs['/'] must be a wasi_nn.Directory(...) or a path, as a str or a pathlib.Path, not 1"),
    (run(stdin="text"), f"{STDIN}: b'...' for text, pathlib.Path('...') for a file, not 'text'"),
    (run(stdin=3), f"{STDIN}, not 3"),
    (run(stdin=io.StringIO("text")), f"{STDIN}: open the file with mode 'rb', not <_io.StringIO"),
    (run(capture_output="yes"), "capture_output must be True or False, not 'yes'"),
    (run(streams=(1,)), f"{STREAMS}(1,)"),
    (run(streams=(1, -1)), f"{STREAMS}(1, -1)"),
    (run(streams=(True, 2)), f"{STREAMS}(True, 2)"),
    (run(allow_names="net"), "allow_names must be a collection, not one text: write ['net']"),
    (run(allow_names=3), "allow_names must be a list of str"),
    (run(limits={"graphs": 5}), f"{LIMITS}{{'graphs': 5}}"),
    (run(dialect=3), "no dialect is named 3; there are auto"),
    (run(trace=True), f"{TRACE}True"),
    (run(trace_data=True), "trace_data needs trace, the path of the file to record: trace is None"),
    (run(trace="/nowhere/t", trace_data=1), "trace_data must be True or False, not 1"),
    (lambda: host().start(GUEST).wait("x"), "timeout must be a number of seconds"),  # type: ignore[arg-type]
]
ENCODINGS = "openvino, onnx, tensorflow, pytorch, tensorflowlite, ggml, autodetect"
RUNTIMES = "onnxruntime, ai_edge_litert, openvino, torch, tensorflow, xllamacpp"
LOADS: list[tuple[Callable[[], Any], str]] = [
    (new(wasi_nn.load, 3), f"{SOURCE}3"),
    (new(wasi_nn.load, None), f"{SOURCE}None"),
    (new(wasi_nn.load, {"a": 1}), f"{SOURCE}{{'a': 1}}"),
    (new(wasi_nn.load, ""), "source must be a path, as a str or a pathlib.Path, not ''"),
    (new(wasi_nn.load, ["a.onnx"]), "source[0] must be bytes (a path is given alone, without a list), not 'a.onnx'"),
    (load(3), "no encoding is named 3; there are openvino, onnx"),
    (load("tflite"), f"no encoding is named 'tflite'; there are {ENCODINGS}; did you mean tensorflowlite?"),
    (load(runtime="opevino"), f"no runtime is named 'opevino'; there are {RUNTIMES}; did you mean openvino?"),
    (load(target="cuda"), "no target is named 'cuda'; there are cpu, gpu, tpu"),
    (load(options=3), f"{OPTIONS}3"),
    (load(options="threads=2"), f"{OPTIONS}'threads=2'"),
    (load(options=["threads"]), f"{OPTIONS}['threads']"),
    (load(options=[]), f"{OPTIONS}[]"),
    (
        load(options={"thread": 2}),
        "no option 'thread' for onnx; there are external_data, inter_op_threads, optimization",
    ),
    (new(wasi_nn.load, b"GGUF", "ggml", options={"gramar": ""}), "no option 'gramar' for ggml; did you mean grammar?"),
    (load(options={3: 3}), "the name of an option in options must be a str, not 3"),
    (load(options={"threads": True}), "option 'threads' of onnx can't be True: it takes a whole number from 0"),
    (load(options={"spinning": "no"}), "option 'spinning' of onnx can't be 'no': it takes true or false"),
    (load(options={"providers": "CPU"}), "option 'providers' of onnx can't be 'CPU': it takes a list of names"),
    (load(runtime="tensorrt"), "no runtime is named 'tensorrt'; there are onnxruntime, ai_edge_litert"),
    (load("onnx", runtime=3), "no runtime for onnx is named 3; there are onnxruntime, openvino"),
    (load(rules={}), f"{RULES}{{}}"),
    (load(rules=True), f"{RULES}True"),
    (new(LoadRules, "cuda"), "target_fallback: no target is named 'cuda'"),
    (new(LoadRules, runtimes=3), "runtimes must be a mapping of encodings to runtimes, as {'onnx': 'openvino'}, not 3"),
    (new(LoadRules, runtimes={3: "openvino"}), "runtimes: no encoding is named 3"),
    (new(LoadRules, runtimes={"onnx": 3}), "no runtime for onnx is named 3"),
    (new(LoadRules, convert_types="yes"), "convert_types must be True or False, not 'yes'"),
    (new(LoadRules, isolate="yes"), f"{ISOLATE}'yes'"),
    (new(LoadRules, isolate=Isolation), f"{ISOLATE}<class "),
    (new(Registry, ["a"]), f"{GRAPHS}['a']"),
    (new(Registry, rules={}), f"{RULES}{{}}"),
    (lambda: Registry().add(3, RELU), "a graph's name must be a str, not 3"),  # type: ignore[arg-type]
    (lambda: Registry().get([]), f"{NAME}[]"),  # type: ignore[arg-type]
    (lambda: Registry().named(3), f"{NAME}3"),  # type: ignore[arg-type]
    (lambda: Registry().remove(3), f"{NAME}3"),  # type: ignore[arg-type]
    (add(None), "graph 'a': source must be a path, bytes, a list of either, or a wasi_nn.Graph, not None"),
    (add([]), "graph 'a': source must be a path, bytes, a list of either, or a wasi_nn.Graph, not []"),
    (add([3]), "graph 'a': source[0] must be bytes, not 3"),
    (add(""), "graph 'a': source must be a path, as a str or a pathlib.Path, not ''"),
    (add(RELU, overwrite="yes"), "overwrite must be True or False, not 'yes'"),
    (add(NamedGraph(RELU, encoding=3)), "graph 'a': no encoding is named 3"),  # type: ignore[arg-type]
    (add(NamedGraph(RELU, target="npu")), "graph 'a': no target is named 'npu'"),
    (add(NamedGraph(RELU, options=3)), f"graph 'a': {OPTIONS}3"),  # type: ignore[arg-type]
    (add(NamedGraph(RELU, runtime="tensorrt")), "graph 'a': no runtime is named 'tensorrt'"),
    (add(NamedGraph(RELU, sha256="abc")), "graph 'a': sha256 must be 64 hexadecimal digits, not 'abc'"),
    (add(NamedGraph(RELU, convert_types="no")), "graph 'a': convert_types must be True or False"),  # type: ignore[arg-type]
]
TENSORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: relu().compute(None), "inputs must be a mapping of names to tensors, such as {'x': ...}, not None"),  # type: ignore[arg-type]
    (lambda: sums().compute(X), "inputs must be a mapping of names to tensors, such as {'a': ..., 'b': ...}, not an"),
    (lambda: sums().compute([1, 2]), "inputs must be a mapping of names to tensors"),
    (lambda: context().compute_named(None), "inputs must be a mapping of names to tensors"),  # type: ignore[arg-type]
    (lambda: relu().compute({None: X}), f"the key of an input {KEY}None"),  # type: ignore[dict-item]
    (lambda: relu().compute("text"), f"{INPUT}'text'"),
    (lambda: relu().compute({"x": None}), f"{INPUT}None"),  # type: ignore[dict-item]
    (lambda: relu().compute({"x": {"a": 1}}), f"{INPUT}{{'a': 1}}"),  # type: ignore[dict-item]
    (lambda: relu().compute([[1], [2, 3]]), f"{INPUT}[[1], [2, 3]]"),
    (lambda: relu().compute(b"0" * 16), f"{INPUT}b'0000000000000000'"),
    (lambda: relu().compute([True] * 4), "input 'x' is f32, got bool"),
    (lambda: relu().compute([1j] * 4), "input 'x' is f32, got complex128"),
    (lambda: relu().compute([1e60] * 4), "input 'x' has the value 1e+60, which f32 can't hold"),
    (lambda: relu().compute(np.ones(4)), "input 'x' is f32, got f64"),
    (lambda: relu().compute([np.ones(2), np.ones(2)]), "input 'x' is f32, got f64"),
    (lambda: context().set_input(True, X), f"the key of an input {KEY}True"),
    (lambda: context().set_input(0.0, X), f"the key of an input {KEY}0.0"),  # type: ignore[arg-type]
    (lambda: context().set_input("x", "text"), f"{INPUT}'text'"),
    (lambda: context().get_output(None), f"the key of an output {KEY}None"),  # type: ignore[arg-type]
    (lambda: context().output_bytes(None), f"the key of an output {KEY}None"),  # type: ignore[arg-type]
    (lambda: context().single_output_bytes(1.5), f"the key of an output {KEY}1.5"),  # type: ignore[arg-type]
    (lambda: context().write_input(0, 3, (4,), memoryview(bytes(16))), "dtype must be a numpy dtype"),  # type: ignore[arg-type]
    (lambda: context().write_input(0, None, (4,), memoryview(bytes(16))), "dtype must be a numpy dtype"),  # type: ignore[arg-type]
    (lambda: context().write_input(0, X.dtype, 4, memoryview(X).cast("B")), "dims must be a tuple of whole numbers"),  # type: ignore[arg-type]
    (lambda: context().write_input(0, X.dtype, (4,), "0" * 16), "data must be a memoryview of bytes, not"),  # type: ignore[arg-type]
    (lambda: context().show_to(3), "show must be a function, not 3"),  # type: ignore[arg-type]
    (lambda: relu().configured(3), "config must be JSON, as a mapping, a str or bytes, not 3"),  # type: ignore[arg-type]
    (new(wasi_nn.ExecutionContext, 3), "graph must be a wasi_nn.Graph, not 3"),
]
SESSIONS: list[tuple[Callable[[], Any], str]] = [
    (new(Session, 3), f"{GRAPHS}3"),
    (new(Session, allow_load=3), "allow_load must be True, False, or a collection of encodings"),
    (new(Session, rules={}), f"{RULES}{{}}"),
    (new(Session, limits={}), f"{LIMITS}{{}}"),
    (new(Session, totals=HostLimits()), "totals must be a wasi_nn.limits.usage.Usage or None, not HostLimits("),
    (new(Session, turns=3), "turns must be a wasi_nn.limits.compute_guard.Turns or None, not 3"),
    (new(Session, guard=3), "guard must be a wasi_nn.limits.compute_guard.ComputeGuard or None, not 3"),
    (lambda: Session().load([3], GraphEncoding.ONNX, ExecutionTarget.CPU), "builders[0] must be bytes, not 3"),  # type: ignore[list-item]
    (lambda: Session().load([memoryview(RELU)], 3, ExecutionTarget.CPU), "no encoding is named 3"),  # type: ignore[arg-type]
    (lambda: Session().load_by_name(3), f"{NAME}3"),  # type: ignore[arg-type]
    (lambda: Session({"net": RELU}).load_by_name("net", 3), "config must be JSON"),  # type: ignore[arg-type]
    (lambda: Session().init_execution_context("a"), "graph must be a handle, which is an int, not 'a'"),  # type: ignore[arg-type]
    (lambda: Session().compute([]), "execution context must be a handle, which is an int, not []"),  # type: ignore[arg-type]
    (lambda: Session().used("colours"), "limit must be one of model_bytes, tensor_bytes, graphs"),
    (lambda: Session().add_tensor(3), "tensor must be a wasi_nn.session.tensor.Tensor, not 3"),  # type: ignore[arg-type]
    (lambda: Session().add_error(3), "error must be a wasi_nn.NNError, not 3"),  # type: ignore[arg-type]
    (new(RecordingSession, 3), f"{TRACE}3"),
    (new(RecordingSession, "/nowhere/t", data="yes"), "data must be True or False, not 'yes'"),
    (new(RecordingSession, "/nowhere/t", title=3), "title must be a str, not 3"),
    (new(Trace, 3), f"{TRACE}3"),
    (new(TraceReader, 3), f"{TRACE}3"),
    (new(replay, 3), f"{TRACE}3"),
    (new(replay, "t", rtol="x"), "rtol must be a number from 0 on, or None, not 'x'"),
    (new(replay, "t", rtol=True), "rtol must be a number from 0 on, or None, not True"),
    (new(replay, "t", atol=float("nan")), "atol must be a number from 0 on, or None, not nan"),
    (new(replay, "t", report=3), "report must be a function, not 3"),
    (new(wasi_nn.add_to_linker, 3, 3), "linker must be a wasmtime.Linker (add_to_component_linker takes a "),
    (lambda: wasi_nn.add_to_linker(wasmtime.Linker(host().engine), 3), "session must be a wasi_nn.Session, not 3"),  # type: ignore[arg-type]
    (new(wasi_nn.add_to_component_linker, 3, 3), "linker must be a wasmtime.component.Linker (add_to_linker takes"),
    (new(wasi_nn.wrap_component, b"", direct="no"), "direct must be True or False, not 'no'"),
    (new(wasi_nn.wrap_component, "path"), "guest must be the bytes of a component, not 'path'"),
]
SETTINGS: list[tuple[Callable[[], Any], str]] = [
    (new(Limits, graphs=value), f"Limits.graphs must be a positive whole number, or None for no limit, not {value!r}")
    for value in (True, 1.5, "3", 0, -1, float("nan"), b"3")
]
SETTINGS += [
    (new(Limits, run_time=value), f"Limits.run_time must be a positive number, or None for no limit, not {value!r}")
    for value in (True, "3", 0, -1.5, float("nan"))
]
SETTINGS += [
    (new(Limits, run_time=float("inf")), "Limits.run_time must be a positive number below 9.2e+18"),
    (new(HostLimits, computes="x"), "HostLimits.computes must be a positive whole number"),
    (new(Isolation, memory="4G"), "Isolation.memory must be a positive whole number, not '4G'"),
    (new(Isolation, memory=None), "Isolation.memory must be a positive whole number, not None"),
    (new(Isolation, grace=-1), "Isolation.grace must be a positive number, not -1"),
]


def require_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(NNError, match=f"^{re.escape(message)}") as raised:
        call()
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


_WRONG = [*HOSTS, *RUNS, *LOADS, *TENSORS, *SESSIONS, *SETTINGS]


@pytest.mark.parametrize(("call", "message"), _WRONG, ids=[f"{n} {row[1][:40]}" for n, row in enumerate(_WRONG)])
def test_an_error_names_the_parameter_and_the_wanted_kind(call: Callable[[], Any], message: str) -> None:
    require_error(call, message)


def test_a_value_in_an_error_is_short_and_printable() -> None:
    for value in ("\x1b[2J" * 1000, ["x" * 10_000] * 1000, b"\0" * 10**6, np.zeros((1000, 1000)), {"a" * 10**5: 3}):
        require_error(run(limits=value), LIMITS)


class Text(str):
    """A text of another class."""

    __slots__ = ()


def test_a_run_takes_what_is_clear(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"of a file")
    echo = command(ECHOES_STDIN).encode()
    inputs: list[tuple[Any, bytes]] = [(bytearray(b"some"), b"some"), (memoryview(b"some"), b"some")]
    for stdin, expected in [*inputs, (tmp_path / "in", b"of a file")]:
        assert host().run(echo, stdin=stdin, capture_output=True).stdout == expected
    guests: list[Any] = [bytearray(GUEST), memoryview(GUEST), np.frombuffer(GUEST, np.uint8)]
    for guest in guests:
        assert host().run(guest).exit_code == 0
    (tmp_path / "guest.wat").write_bytes(GUEST)
    arguments: list[Any] = [tmp_path, Text("a")]
    directories: Any = {Text("/"): bytes(tmp_path), "/b": str(tmp_path), "/c": tmp_path}
    assert host().run(Text(tmp_path / "guest.wat"), arguments, dirs=directories, capture_output=np.True_).exit_code == 0  # type: ignore[arg-type]
    assert host().run(GUEST, (letter for letter in "ab"), trace=bytes(tmp_path / "trace")).exit_code == 0  # type: ignore[arg-type]
    assert (tmp_path / "trace").exists()
    assert Host(cache=bytes(tmp_path / "cache")).run(GUEST).exit_code == 0  # type: ignore[arg-type]
    assert host().start(GUEST).wait(np.float32(60)).exit_code == 0  # type: ignore[arg-type]
    assert host().run(command(says("x")).encode(), stdin=sys.stdin, capture_output=True).stdout == b"x"


@pytest.mark.parametrize(
    ("name", "runtime"), [("onnx", "onnxruntime"), ("onnxruntime", "onnxruntime"), ("openvino", "openvino")]
)
def test_a_runtime_is_known_by_the_name_of_its_extra_too(name: str, runtime: str) -> None:
    assert wasi_nn.load(RELU, runtime=name).runtime == runtime
    assert wasi_nn.load(RELU, rules=LoadRules(runtimes={"onnx": name})).runtime == runtime
    assert Registry({"net": NamedGraph(RELU, runtime=name)}).get("net").runtime == runtime


def test_an_encodings_name_stands_for_the_runtime_that_is_preferred() -> None:
    rules = LoadRules(runtimes={"tensorflowlite": "tensorflowlite", "ONNX": "onnx", "pytorch": "pytorch"})
    assert list(rules.runtimes.values()) == ["ai_edge_litert", "onnxruntime", "torch"]


def test_loading_takes_what_is_clear(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(RELU)
    sources: list[Any] = [bytearray(RELU), np.frombuffer(RELU, np.uint8), [RELU], Text(tmp_path / "net.onnx")]
    for source in sources:
        assert wasi_nn.load(source, "ONNX", target=ExecutionTarget.CPU).runtime == "onnxruntime"
    wasi_nn.load(RELU, options={"threads": np.int64(2), "spinning": np.True_})
    assert Limits(graphs=np.int64(3), run_time=np.float32(2)) == Limits(graphs=3, run_time=2.0)  # type: ignore[arg-type]
    assert Session().load(RELU, "onnx", "cpu") == 1  # type: ignore[arg-type]


def test_a_graph_takes_what_is_clear() -> None:
    inputs: list[Any] = [
        X,
        {"x": X},
        {"x": [0, 1, 2, 3]},
        {"x": [0.0, 1, 2, 3]},
        {np.int64(0): X},
        [("x", X)],
        [0.0, 1.0, 2.0, 3.0],
        (0, 1, 2, 3),
        range(4),
        list(X),
        [np.float64(0), 1, 2, 3],
        X.astype(">f4"),
    ]
    for given in inputs:
        assert relu().compute(given)["y"].tolist() == X.tolist()
        assert context().compute_named(given)[0][1].tolist() == X.tolist()
    for given in (X, [0, 1, 2, 3], tuple(X)):
        this = context()
        this.set_input("x", given)
        this.compute()
        assert this.get_output(np.int64(0)).tolist() == X.tolist()  # type: ignore[arg-type]


_ELEMENTS: list[tuple[TensorType, Any, list[Any]]] = [
    (TensorType.F16, [1, 2.5], [1, 2.5]),
    (TensorType.BF16, [1, 2.5], [1, 2.5]),
    (TensorType.F64, [[1, 2]], [[1, 2]]),
    (TensorType.U8, [0, 255], [0, 255]),
    (TensorType.I32, [-1, 2], [-1, 2]),
    (TensorType.I64, -3, -3),  # type: ignore[list-item]
    (TensorType.I32, [], []),
]


@pytest.mark.parametrize(("kind", "given", "expected"), _ELEMENTS)
def test_numbers_in_lists_take_the_declared_type(kind: TensorType, given: Any, expected: list[Any]) -> None:
    array = as_declared(TensorInfo("x", kind.dtype, None), given)
    assert (array.dtype, array.tolist()) == (kind.dtype, expected)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (TensorType.U8, [256], r"input 'x' has the value 256 \(i64\), which u8 can't hold"),
        (TensorType.U8, [-1], "has the value -1 "),
        (TensorType.I32, [2**40], "has the value 1099511627776 "),
        (TensorType.I64, [2**70], r"input 'x' must be an array of i64\[...\]"),
        (TensorType.F16, [1e6], r"input 'x' has the value 1000000\.0, which f16 can't hold"),
    ],
)
def test_a_number_that_the_declared_type_lacks_is_an_error(kind: TensorType, given: Any, message: str) -> None:
    with pytest.raises(NNError, match=message) as raised:
        as_declared(TensorInfo("x", kind.dtype, None), given)
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT


def test_a_mask_is_not_dropped() -> None:
    array: Any = np.ma.masked_array(X, mask=[False, True, False, True])
    message = "input 'x' is a masked array, with 2 of 4 elements masked, and models take no mask: replace"
    context = relu().init_execution_context()
    require_error(lambda: relu().compute(array), message)
    require_error(lambda: relu().compute({"x": array}), message)
    require_error(lambda: context.set_input(0, array), message)
    rows = wasi_nn.load(onnx_models.relu(["n", "m"]))
    require_error(lambda: rows.compute([[1, 2, 3, 4], array]), message)
    require_error(lambda: rows.compute([[[np.ma.masked]]]), "input 'x' is a masked array, with 1 of 1 elements masked")
    for fitting in (array.filled(0), array.data, np.ma.masked_array(X), np.ma.masked_array(X, mask=[False] * 4)):
        assert relu().compute(fitting)["y"].tolist() == np.maximum(fitting, 0).tolist()


def test_tensors_of_pytorch_are_taken() -> None:
    torch = pytest.importorskip("torch")
    assert relu().compute(torch.arange(4.0, requires_grad=True))["y"].tolist() == X.tolist()
    assert relu().compute({"x": torch.arange(8.0)[::2] / 2})["y"].tolist() == X.tolist()
    info = TensorInfo("x", TensorType.BF16.dtype, None)
    array = as_declared(info, torch.tensor([1.5, -2], dtype=torch.bfloat16)[::1])
    assert (array.dtype, array.astype(np.float32).tolist()) == (TensorType.BF16.dtype, [1.5, -2])
    require_error(lambda: relu().compute(torch.ones(4, dtype=torch.float64)), "input 'x' is f32, got f64")
    require_error(lambda: relu().compute(torch.ones(4).to_sparse()), INPUT)


def test_json_may_be_a_mapping() -> None:
    info = TensorInfo.of_bytes("options")
    for given in ({"n-predict": 3}, '{"n-predict": 3}', b'{"n-predict": 3}'):
        assert as_declared(info, given).tobytes() == b'{"n-predict": 3}'  # type: ignore[arg-type]
    require_error(lambda: as_declared(info, {"a": object()}), "input 'options' must be JSON")  # type: ignore[arg-type]


HUGE = 10**5000  # of more digits than Python turns into text
_UNSHOWABLE: list[tuple[Callable[[], Any], str]] = [
    (lambda: relu().compute([HUGE]), "input 'x' must be an array of f32"),
    (lambda: context().set_input(HUGE, X), "no input has index an object of type int"),
    (lambda: wasi_nn.load(RELU, options={"threads": HUGE}), "option 'threads' of onnx can't be an object of type int"),
    (lambda: wasi_nn.load(RELU, HUGE), "no encoding is named an object of type int"),  # type: ignore[arg-type]
    (lambda: Limits(run_time=HUGE), "Limits.run_time must be a positive number below"),
    (lambda: Isolation(memory=HUGE), "Isolation.memory must be a positive whole number below"),
    (lambda: host().run(HUGE), "guest must be the path"),  # type: ignore[arg-type]
    (run(args=[HUGE]), "args[0] must be a str"),
    (lambda: host().start(GUEST).wait(HUGE), "timeout must be a number of seconds"),
]


@pytest.mark.parametrize(("call", "message"), _UNSHOWABLE, ids=[row[1][:40] for row in _UNSHOWABLE])
def test_numbers_that_have_no_text_are_errors_too(call: Callable[[], Any], message: str) -> None:
    require_error(call, message)


def test_elements_that_are_no_strings_are_refused_for_strings() -> None:
    graph = wasi_nn.load(onnx_models.strings())
    given: Any
    for given in ([HUGE], [None], ["a", None], np.array([object()]), np.array([1], object)):
        with pytest.raises(NNError, match="must be an array of string\\[n\\], or texts in lists") as raised:
            graph.compute({graph.inputs[0].name: given})
        assert raised.value.code is ErrorCode.INVALID_ARGUMENT


def test_paths_are_shown_without_control_characters(tmp_path: Path) -> None:
    odd = tmp_path / "\x1b[31m"
    for call in (lambda: wasi_nn.load(odd), lambda: host().run(odd)):
        with pytest.raises(wasi_nn.WasiNNError) as raised:
            call()
        assert str(raised.value).isprintable()


def _rebuilt(error: BaseException) -> list[Any]:
    return [pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)]


def test_errors_can_be_copied_and_sent_to_other_processes() -> None:
    calls: tuple[Callable[[], Any], ...] = (
        lambda: wasi_nn.load(b"?"),
        lambda: wasi_nn.load("/nonexistent.onnx"),
        lambda: wasi_nn.load(RELU, target="tpu"),
    )
    for call in calls:
        with pytest.raises(NNError) as raised:
            call()
        error = raised.value
        for other in _rebuilt(error):
            assert (type(other), str(other), other.code) == (type(error), str(error), error.code)
    guest = b'(module (func (export "_start") unreachable))'
    with pytest.raises(wasi_nn.GuestTrap) as trapped:
        host().run(guest)
    trap = trapped.value
    trap.stderr = b"why"
    for other in _rebuilt(trap):
        assert (str(other), other.reason, other.backtrace) == (str(trap), trap.reason, trap.backtrace)
        assert (other.stderr, other.stats) == (trap.stderr, trap.stats)
