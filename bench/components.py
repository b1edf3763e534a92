"""The cost of guest components: of an inference, of passing bytes, of a tiny inference, of the extensions, of loading a
model from bytes, and of starting a component from the cache.

    python -m bench.components [PYTHON_GUEST.wasm]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models as real_models
import numpy as np
import onnx_models
import onnxruntime
import wasmtime
from driven_component import TYPES, Driven
from driven_extensions import Extended
from extension_graphs import Learner, Speller
from onnx import TensorProto, helper
from wasmtime.component import Component, Linker

from bench.guest_loop import pieces_through_a_guest, through_a_guest
from bench.ratios import Timed, best, ratio, seconds, side_by_side
from wasi_nn import Host, Limits, Session, load
from wasi_nn.abi.component.bridge import VERSIONS

if TYPE_CHECKING:
    from wasi_nn.types import Array

NEWEST = VERSIONS[-1]
INFER = Path(__file__).parent.parent / "guests" / "component" / "infer.wasm"

# For comparison: passes bytes as the engine's own list<u8>.
PLAIN = """(component
  (import "take" (func $take (param "data" (list u8))))
  (import "give" (func $give (result (list u8))))
  (core module $memory (memory (export "memory") 400)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $memory))
  (core func $take (canon lower (func $take) (memory (core memory $memory "memory"))))
  (core func $give (canon lower (func $give)
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $m
    (import "" "take" (func $take (param i32 i32)))
    (import "" "give" (func $give (param i32)))
    (func (export "take") (param i32) (call $take (i32.const 65536) (local.get 0)))
    (func (export "give") (call $give (i32.const 0))))
  (core instance $i
    (instantiate $m (with "" (instance (export "take" (func $take)) (export "give" (func $give))))))
  (func (export "take") (param "size" u32) (canon lift (core func $i "take")))
  (func (export "give") (canon lift (core func $i "give"))))"""


def contenders(model: bytes, image: Array, times: int) -> dict[str, Timed]:
    """The same inferences through a component, through a core module and directly, on one thread. Each call makes
    `times` of them. Both guests read whole outputs."""
    graph = load(model, options={"threads": 1})
    direct: Any = graph.session  # type: ignore[attr-defined]
    guest = Driven(NEWEST, Session({"net": graph}))
    context = guest.init_execution_context(guest.load_by_name("net"))
    guest.stage(image.tobytes())
    infer = guest.instance.get_func(guest.store, "infer")
    assert infer is not None
    arguments = (context, "image", list(image.shape), TYPES.index("float32"), times)

    def directly() -> None:
        for _ in range(times):
            direct.run(None, {"image": image})

    [output] = graph.compute({"image": image}).values()
    module, _ = through_a_guest(graph, image, times, room=output.nbytes)
    return {"component": lambda: infer(guest.store, *arguments), "module": module, "direct": directly}


def inference() -> None:
    """Measure one inference on 602,112 bytes."""
    print("| one inference | through a component | through a core module | directly |\n|---|---|---|---|")
    image = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    networks = {f"convolutions of {n} channels": onnx_models.convolution(224, n) for n in (16, 64, 128)}
    networks["EfficientNet-Lite0"] = real_models.efficientnet().model.read_bytes()
    for name, model in networks.items():
        taken = side_by_side(contenders(model, image, 10), 30)
        component, module, direct = taken["component"], taken["module"], taken["direct"]
        guests = f"{ratio(component, direct)} | {ratio(module, direct)}"
        print(f"| {image.nbytes:,} bytes in, {name} | {guests} | {100 * best(direct):.3f} ms |")
    print()


def bytes_on_their_way() -> None:
    """Measure the time per byte in each direction."""
    print("a tensor's data                               guest to host             host to guest")
    engine = wasmtime.Engine()
    linker = Linker(engine)
    content = b""
    with linker.root() as root:
        root.add_func("take", lambda _, data: None)
        root.add_func("give", lambda _: content)
    store = wasmtime.Store(engine)
    plain = linker.instantiate(store, Component(engine, PLAIN))
    for size in (4096, 602_112, 16 << 20):
        for way, direct in (("the guest's memory", True), ("the bridge", False)):
            guest = Driven(NEWEST, Session(), direct=direct)
            guest.stage(bytes(size))
            tensor = guest("tensor", [size], TYPES.index("uint8"))
            guest("make-tensors", 64)  # the host has looked for the memory by then
            rounds = max(1, (8 << 20) // size)
            into = min(seconds(partial(guest, "make-tensors", rounds)) for _ in range(5)) / rounds
            out = min(seconds(partial(guest, "read-tensor", tensor, rounds)) for _ in range(5)) / rounds
            print(f"  {size:>10,} bytes, {way:<18}  {_cost(into, size)}   {_cost(out, size)}")
        content = bytes(size)
        costs = []
        for name, arguments in (("take", [size]), ("give", [])):
            function: Any = plain.get_func(store, name)
            try:
                costs.append(_cost(seconds(partial(function, store, *arguments)), size))
            except wasmtime.WasmtimeError:
                costs.append(f"{'traps':>25}")
                plain = linker.instantiate(store, Component(engine, PLAIN))
        print(f"  {size:>10,} bytes, {'list<u8>':<18}  {'   '.join(costs)}")


def _cost(took: float, size: int) -> str:
    return f"{took * 1e6:10.1f} us {took / size * 1e9:6.2f} ns/B"


def tiny_inference() -> None:
    """Measure the host's part, with a model and a tensor of almost no cost: y = max(x, 0) on 16 bytes."""
    model = onnx_models.relu()
    x = np.zeros(4, np.float32)
    direct = onnxruntime.InferenceSession(model)
    with Session({"net": model}) as session:
        guest = Driven(NEWEST, session)
        handle = guest.init_execution_context(guest.load_by_name("net"))
        guest.stage(x.tobytes())
        context = session.context(session.used("handles"))
        times = {"onnxruntime": 9.0, "the same session without WebAssembly": 9.0, "component": 9.0}
        for _ in range(10):
            for name, call in (
                ("onnxruntime", lambda: [direct.run(None, {"x": x}) for _ in range(1000)]),
                (
                    "the same session without WebAssembly",
                    lambda: [context.compute_named([("x", x)]) for _ in range(1000)],
                ),
                ("component", lambda: guest("infer", handle, "x", [4], TYPES.index("float32"), 1000)),
            ):
                times[name] = min(times[name], seconds(call) / 1000)
    print("one inference on 16 bytes")
    for name, took in times.items():
        print(f"  {name:<60} {took * 1e6:8.1f} us")


_LOAD = """
import sys
import numpy, onnxruntime, wasi_nn
from wasi_nn import Host
def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
how, infer, model = sys.argv[1:]
host = Host(cache=False)
compiled = host.compile(infer)
host.run(compiled, ["--model", "/nothing"], capture_output=True)
before = peak()
if how == "component":
    host.run(compiled, ["--model", "/model.onnx"], dirs={"/": model}, capture_output=True)
elif how == "wasi_nn.load of bytes":
    wasi_nn.load(open(model + "/model.onnx", "rb").read())
else:
    onnxruntime.InferenceSession(open(model + "/model.onnx", "rb").read())
print(peak() - before)
"""


def memory() -> None:
    """Measure the peak of memory while a model of 200 MB is loaded from bytes."""
    print("loading a model of 200 MB by bytes                       peak, times the model      seconds")
    with tempfile.TemporaryDirectory() as folder:
        weights = np.random.default_rng(1).standard_normal((1000, 50_000), np.float32)
        tensor = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        model = onnx_models.build([node], {"x": (1, [1, 1000])}, {"y": (1, [1, 50_000])}, [tensor])
        Path(folder, "model.onnx").write_bytes(model)
        del weights, tensor
        for how in ("onnxruntime, from bytes", "wasi_nn.load of bytes", "component"):
            begun = time.perf_counter()
            command = [sys.executable, "-c", _LOAD, how, str(INFER), folder]
            grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"  {how:<60} {grown / len(model):8.2f}    {time.perf_counter() - begun:13.2f}")


def extensions() -> None:
    """Measure what wasi-nn:ext costs in a component, without a runtime: a description, a state of 40 MB, a piece."""
    learner, pieces = Learner(10_000_000), 2000
    limits = Limits(tensor_bytes=None, model_bytes=None)
    session = Session({"relu": onnx_models.relu(["batch", 3, "?"]), "learner": learner}, limits=limits)
    guest = Extended(session)
    relu, graph = guest.load_by_name("relu"), guest.load_by_name("learner")
    guest.stage(guest.state_get(graph))
    compiled = (host := Host({"speller": Speller()})).compile(INFER.with_stem("stream"))

    def spell(count: int) -> object:
        return host.run(compiled, ["speller", "x" * count], capture_output=True)

    through_core, _ = pieces_through_a_guest(Speller(), b"x" * pieces)
    costs = {
        "a description of a graph with two tensors": min(_of(partial(guest, "describe-often", relu, 100), 100)),
        "a state of 40 MB to the guest": min(_of(partial(guest, "state-get", graph))),
        "a state of 40 MB from the guest": min(_of(partial(guest, "state-set", graph))),
        "a piece of a sequence, printed by a component in C": (
            (min(_of(partial(spell, pieces))) - min(_of(partial(spell, 1)))) / (pieces - 1)
        ),
        "a piece by compute_single in a core module": min(_of(through_core, pieces)),
    }
    print("\nthe extensions in a component")
    for name, took in costs.items():
        print(f"  {name:<60} {took * 1e6:12.1f} us")


def _of(call: Timed, times: int = 1) -> list[float]:
    """The processor time of each call, in seconds, divided by the number of times that the call repeats its work."""
    took = []
    for _ in range(10):
        begun = time.process_time()
        call()
        took.append((time.process_time() - begun) / times)
    return took


def start(guests: list[Path]) -> None:
    """Measure compiling a guest, getting it from the cache, and a run in which it only prints its usage."""
    print("a guest from the cache                                   compile     from cache      run")
    for guest in guests:
        with tempfile.TemporaryDirectory() as folder:
            host = Host(cache=folder)
            compile_ = partial(host.compile, guest)
            anew = seconds(compile_)
            cached = min(seconds(compile_) for _ in range(5))
            run_ = partial(host.run, compile_(), capture_output=True)
            run = min(seconds(run_) for _ in range(5))
            name = f"{guest.name}, {os.path.getsize(guest):,} bytes"
            print(f"  {name:<50} {anew * 1e3:8.1f} ms {cached * 1e3:9.1f} ms {run * 1e3:9.1f} ms")


def main() -> None:
    """Print all tables."""
    inference()
    bytes_on_their_way()
    tiny_inference()
    extensions()
    memory()
    start([INFER, *map(Path, sys.argv[1:])])


if __name__ == "__main__":
    main()
