"""Tensors and models in a guest component's own memory: the same answers as through the bridge, and the same traps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx_models
import pytest
import wasmtime
from checks import on_threads
from command_guests import component_command
from conftest import REPOSITORY
from driven_component import CPU, ONNX, TYPES, Driven, GuestFailed
from hypothesis import given, settings, strategies as st
from raw_component import GRAPH_INSTANCE, TENSOR_INSTANCE, RawGuest, memory, raw_guest
from wasmtime.component import Component

from wasi_nn import GuestError, Host, Limits, Session, wrap_component
from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component import injection, memories
from wasi_nn.abi.component.bridge import VERSIONS
from wasi_nn.abi.component.memories import GuestMemories

ENGINE = wasmtime.Engine()
DRIVERS = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("support/components/driver-*.wasm"))]
INFER = (REPOSITORY / "guests" / "component" / "infer.wasm").read_bytes()
MEASURE = (REPOSITORY / "guests" / "component" / "measure.wasm").read_bytes()
U8 = TYPES.index("uint8")

Way = str


@pytest.fixture(params=["direct", "not found", "bridge"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The way of a tensor's bytes: in the guest's memory; through the bridge, since the host doesn't find the memory;
    or through the bridge, since the guest has no shim."""
    if request.param == "not found":
        monkeypatch.setattr(memories, "_BEHIND_A_GUARD", re.compile(b"no such mapping"))
        monkeypatch.setattr(memories, "_earlier", ())
    return str(request.param)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session({"relu": onnx_models.relu(["n"])}) as session:
        yield session


def driven(version: str, session: Session, way: Way) -> Driven:
    """A guest whose next tensors go the way."""
    guest = Driven(version, session, direct=way != "bridge")
    guest("drop-tensor", guest.raw_tensor([2**18], U8, bytes(2**18)))
    assert len(guest.memories) == (way == "direct")
    return guest


def raw(session: Session, way: Way, wasm: bytes | None = None) -> RawGuest:
    """A raw guest whose next tensors go the way."""
    guest = RawGuest(session, direct=way != "bridge", wasm=wasm)
    guest.make_the_host_look()
    assert len(guest.memories) == (way == "direct")
    return guest


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_and_size_comes_back(version: str, session: Session, way: Way) -> None:
    guest = driven(version, session, way)
    random = np.random.default_rng(7)
    for kind, name in enumerate(TYPES):
        for dims in ([], [0], [1], [3, 5], [70_001], [2, 0, 3]):
            count = int(np.prod(dims, dtype=int))
            content = random.bytes(count * (2 if name == "bfloat16" else np.dtype(name).itemsize))
            tensor = guest.raw_tensor(dims, kind, content)
            assert guest.data(tensor) == content
            assert guest("tensor-type", tensor) == kind
            assert guest("tensor-dimensions", tensor) == dims
            guest("drop-tensor", tensor)
    assert session.used("tensor_bytes") == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_models_and_outputs(version: str, session: Session, way: Way) -> None:
    guest = driven(version, session, way)
    x = np.linspace(-3, 3, 100_000, dtype=np.float32)
    for graph in (guest.load([onnx_models.relu(["n"])], ONNX), guest.load_by_name("relu")):
        context = guest.init_execution_context(graph)
        assert np.array_equal(guest.infer(context, {"x": x}, ["y"])["y"], np.maximum(x, 0))


BUILDERS = {
    "none": ([], "invalid-argument"),
    "two that are empty": ([b"", b""], "invalid-argument"),
    "bytes of no model": ([b"no model"], "runtime-error"),
}


@pytest.mark.parametrize(("builders", "code"), BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_builders_of_no_graph(version: str, session: Session, way: Way, builders: list[bytes], code: str) -> None:
    guest = driven(version, session, way)
    with pytest.raises(GuestFailed) as failed:
        guest.load(builders, ONNX, CPU)
    assert failed.value.code == code


TRAPS = {
    "dims that aren't aligned": ("new", (1025, 1, U8, 0, 0), "unaligned pointer"),
    "an unknown type": ("new", (0, 1, 7, 0, 0), "invalid variant discriminant"),
    "data behind the end": ("new", (0, 0, U8, 65_535, 2), "out-of-bounds"),
    "dims behind the end": ("new", (65_532, 2, U8, 0, 0), "out-of-bounds"),
    "a rank whose size wraps around": ("new", (0, 2**30, U8, 0, 0), "out-of-bounds"),
    "an end that wraps around": ("new", (0, 0, U8, 2**32 - 1, 2**32 - 1), "out-of-bounds"),
    "no tensor": ("data", (77, 64), "unknown handle index 77"),
    "a result that isn't aligned": ("data", (1, 65), "unaligned pointer"),
    "a result behind the end": ("data", (1, 65_532), "out-of-bounds|out of bounds"),
    "builders behind the end": ("load", (65_528, 2, 1, 0, 64), "out-of-bounds"),
    "builders that aren't aligned": ("load", (6, 1, 1, 0, 64), "unaligned pointer"),
    "an unknown encoding": ("load", (0, 0, 7, 0, 64), "invalid variant discriminant"),
    "an unknown target": ("load", (0, 0, 1, 3, 64), "invalid variant discriminant"),
    "a count whose size wraps around": ("load", (0, 2**29, 1, 0, 64), "out-of-bounds"),
}


@pytest.mark.parametrize(("name", "arguments", "message"), TRAPS.values(), ids=TRAPS)
def test_invalid_arguments_trap_as_the_engine_says(
    session: Session, way: Way, name: str, arguments: tuple[int, ...], message: str
) -> None:
    guest = raw(session, way)
    assert guest.call("new", 0, 0, U8, 0, 16) == 1
    with pytest.raises(wasmtime.WasmtimeError, match=message):
        guest.call(name, *arguments)


def test_a_builder_behind_the_end_traps(session: Session, way: Way) -> None:
    guest = raw(session, way)
    guest.call("put", 1024, 65_530)
    guest.call("put", 1028, 7)
    with pytest.raises(wasmtime.WasmtimeError, match="out-of-bounds"):
        guest.call("load", 1024, 1, 1, 0, 64)


@pytest.mark.parametrize("answer", [65_530, 2**32 - 8])
def test_memory_for_the_data_that_lies_behind_the_end_traps(session: Session, way: Way, answer: int) -> None:
    guest = raw(session, way)
    tensor = guest.call("new", 0, 0, U8, 0, 16)
    guest.call("set-answer", answer)
    with pytest.raises(wasmtime.WasmtimeError, match=r"out.of.bounds|beyond end of memory"):
        guest.call("data", tensor, 64)


def test_a_memory_that_grows(session: Session, way: Way) -> None:
    guest = raw(session, way)
    before = guest.call("grow", 3)
    at = before * 65_536 + 2 * 65_536
    guest.call("fill", at, 9, 65_536)
    tensor = guest.call("new", 0, 0, U8, at, 65_536)
    guest.call("set-growth", 1)  # from now on, also while the engine or the shim asks for memory
    guest.call("set-next", at + 65_536)
    guest.call("data", tensor, 64)
    assert (guest.call("get", 64), guest.call("get", 68)) == (at + 65_536, 65_536)
    assert guest.call("get", at + 65_536) == guest.call("get", at + 2 * 65_536 - 4) == 0x09090909
    assert len(guest.memories) == (way == "direct")


def test_a_memory_that_moves_when_it_grows(session: Session) -> None:
    config = wasmtime.Config()
    config.memory_reservation = 0
    config.memory_reservation_for_growth = 0
    guest = RawGuest(session, direct=True, engine=wasmtime.Engine(config))
    guest.make_the_host_look()
    for round_ in range(1, 100):
        guest.call("grow", 1 + round_ // 8)
        at = guest.call("grow", 0) * 65_536 - 64
        guest.call("fill", at, round_, 64)
        tensor = guest.call("new", 0, 0, U8, at, 64)
        assert guest.read(tensor) == bytes((round_,)) * 64
        guest.call("drop", tensor)


def test_the_beginning_of_the_memory_stays_the_guests(session: Session) -> None:
    guest = RawGuest(session, direct=True)
    guest.call("put", 0, 0x01020304)
    guest.call("put", 4, 0x05060708)
    guest.make_the_host_look()
    guest.call("grow", 1)
    tensor = guest.call("new", 0, 0, U8, 0, 8)
    assert len(guest.memories) == 1
    assert guest.read(tensor) == bytes((4, 3, 2, 1, 8, 7, 6, 5))


def test_a_memory_that_begins_empty(session: Session, way: Way) -> None:
    guest = RawGuest(session, direct=way != "bridge", wasm=raw_guest(pages=0))
    guest.make_the_host_look()
    assert len(guest.memories) == 0
    guest.call("grow", 1)
    guest.make_the_host_look()
    tensor = guest.call("new", 0, 0, U8, 128, 4)
    assert guest.read(tensor) == bytes(4)
    assert len(guest.memories) == (way == "direct")


def test_a_tensor_over_the_limit_traps_with_the_same_words(way: Way) -> None:
    with Session(limits=Limits(tensor_bytes=2**19)) as session:
        guest = driven(VERSIONS[-1], session, way)
        with pytest.raises(wasmtime.WasmtimeError, match=r"tensor-new: .*524288.*tensor_bytes"):
            guest.raw_tensor([2**20], U8, bytes(2**20))


def test_a_model_counts_as_a_tensor_only_through_the_bridge(way: Way) -> None:
    with Session(limits=Limits(tensor_bytes=2**19)) as session:
        guest = driven(VERSIONS[-1], session, way)
        guest.raw_tensor([2**19 - 64], U8, bytes(2**19 - 64))
        if way == "direct":
            guest.load([onnx_models.relu(["n"])], ONNX)
        else:
            with pytest.raises(wasmtime.WasmtimeError, match=r"tensor-new: .*tensor_bytes"):
                guest.load([onnx_models.relu(["n"])], ONNX)


def test_the_host_searches_once_if_it_finds_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    searches = 0

    class Nowhere:
        def findall(self, parts: bytes) -> list[bytes]:
            nonlocal searches
            searches += 1
            return []

    monkeypatch.setattr(memories, "_BEHIND_A_GUARD", Nowhere())
    monkeypatch.setattr(memories, "_earlier", ())
    guest = raw(session, "not found")
    for _ in range(10):
        guest.call("grow", 1)
        guest.call("drop", guest.call("new", 0, 0, U8, 0, 4096))
    assert searches == 1


def test_a_memory_where_an_earlier_one_was_is_found_without_a_search(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = raw(session, "direct")
    address, memory = guest.memories._found[0]
    monkeypatch.setattr(memories, "_BEHIND_A_GUARD", re.compile(b"no such mapping"))
    mark = b"8 bytes!"
    for place in (address, address + 8):  # the second one isn't the beginning of a memory
        memory[place - address :][:8] = np.frombuffer(mark, np.uint8)
        monkeypatch.setattr(memories, "_earlier", (place,))
        assert memories._with_mark(mark, None, 0) == (address if place == address else None)
    assert memories._with_mark(b"another.", None, 0) is None


@pytest.mark.parametrize("file", ["/proc/self/maps", "/proc/self/mem"])
def test_without_the_files_of_the_process(session: Session, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    open_ = os.open

    def refuse(path: str, *arguments: int) -> int:
        if path == file:
            raise PermissionError(path)
        return open_(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(memories, "_earlier", ())
    guest = raw(session, "not found")
    tensor = guest.call("new", 0, 0, U8, 0, 4)
    assert guest.read(tensor) == bytes(4)


def test_numbers_that_no_shim_passes() -> None:
    found = GuestMemories()
    for number, pages in ((0, 1), (1, 1)):
        with pytest.raises(GuestFault):
            found.find(number, pages)
    found.new_mark()
    for number, pages in ((1, 1), (0, 0), (0, 65_537), (2**32 - 1, 1)):
        with pytest.raises(GuestFault):
            found.find(number, pages)
    assert found.find(0, 1) == 0, "the mark is nowhere"
    for number in (0, 1, 2**32 - 1):
        with pytest.raises(GuestFault, match="has no memory"):
            found.part(number, 0, 1)


def test_no_place_outside_the_memory(session: Session) -> None:
    guest = raw(session, "direct")
    assert len(guest.memories.part(1, 0, 65_536)) == 65_536
    assert len(guest.memories.part(1, 65_536, 0)) == 0
    for at, size in ((0, 65_537), (65_536, 1), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(GuestFault, match="aren't in the guest's memory"):
            guest.memories.part(1, at, size)


def test_many_guests_at_once_find_their_own_memory() -> None:
    together = Barrier(4)

    def work(number: int) -> None:
        for round_ in range(5):
            with Session() as session:
                guest = RawGuest(session, direct=True)
                guest.call("fill", 1024, 16 * round_ + number, 64)
                together.wait(30)
                guest.make_the_host_look()
                assert len(guest.memories) == 1
                tensor = guest.call("new", 0, 0, U8, 1024, 64)
                assert guest.read(tensor) == bytes((16 * round_ + number,)) * 64

    on_threads(work, 4)


def test_in_a_fork(session: Session) -> None:
    raw(session, "direct")  # the engine can't compile in the child
    child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            guest = raw(session, "direct")
            code = 0 if guest.read(guest.call("new", 0, 0, U8, 0, 8)) == bytes(8) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_guest_of_the_command(tmp_path: Path) -> None:
    host = Host({"relu": onnx_models.relu(["n"])}, cache=tmp_path)
    for _ in range(2):  # compiled, and from the cache
        result = host.run(INFER, ["--graph", "relu", "x=FP32:100000:-1,2.5"], capture_output=True)
        assert (result.exit_code, result.stderr) == (0, b"")


# What is put into a guest


@pytest.mark.parametrize("name", ["wasi-nn-direct-new", "a wasi-nn-direct-find in the data"])
def test_a_guest_with_a_name_of_the_shims_is_refused(name: str) -> None:
    wasm = raw_guest(after=f'(core module (memory 1) (data (i32.const 0) "{name}"))')
    with pytest.raises(GuestError, match="a name that begins with wasi-nn-direct-, which is reserved for the host"):
        wrap_component(wasm)


def test_the_shim_is_in_the_wrapped_guest_unless_it_is_not_wanted() -> None:
    for guest in (*DRIVERS, INFER, MEASURE, raw_guest()):
        assert b"wasi-nn-direct-new" in (injection.inject(guest) or b"")
        assert guest in wrap_component(guest, direct=False)


@pytest.mark.parametrize(
    ("left_out", "kept", "gone"),
    [("[method]tensor.data", "new", "read"), ("[constructor]tensor", "read", "new")],
    ids=["data", "constructor"],
)
def test_a_guest_that_imports_a_part_of_an_interface(left_out: str, kept: str, gone: str) -> None:
    """Toolchains leave out what a guest doesn't call."""
    declarations = [line for line in TENSOR_INSTANCE.splitlines() if left_out not in line]
    instance = "\n".join(declarations) + "))" * (left_out == "[method]tensor.data")
    of = "[constructor]tensor" if kept == "new" else "[method]tensor.data"
    guest = bytes(
        wasmtime.wat2wasm(
            f"""(component {instance} {memory(1)} (core func (canon lower (func $tensors "{of}")
              (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""
        )
    )
    injected = injection.inject(guest) or b""
    assert f"wasi-nn-direct-{kept}".encode() in injected
    assert f"wasi-nn-direct-{gone}".encode() not in injected
    Component(ENGINE, wrap_component(guest))


def test_a_guest_without_a_function_for_the_shim_stays_as_it_is() -> None:
    assert injection.inject(component_command('(func (export "run") (result i32) (i32.const 0))')) is None


def nested(argument: str) -> bytes:
    """A guest in a guest, to which the outer one gives `argument` as wasi:nn/tensor."""
    version = VERSIONS[-1]
    text = f"""(component {TENSOR_INSTANCE} {GRAPH_INSTANCE}
      (component $inner {TENSOR_INSTANCE} {memory(1)}
        (alias export $tensors "tensor" (type $tensor))
        (core func $new (canon lower (func $tensors "[constructor]tensor") (memory (core memory $m "memory"))))
        (core func $drop (canon resource.drop $tensor))
        (core module $c (import "" "new" (func $new (param i32 i32 i32 i32 i32) (result i32)))
          (import "" "drop" (func $drop (param i32)))
          (func (export "f") (param i32)
            (loop $l (call $drop (call $new (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 8)))
              (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))
        (core instance $i (instantiate $c (with "" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
        (func (export "make") (param "count" u32) (canon lift (core func $i "f"))))
      (component $pass {TENSOR_INSTANCE.replace(f"wasi:nn/tensor@{version}", "t")} (export "u" (instance $tensors)))
      (instance $passed (instantiate $pass (with "t" (instance $tensors))))
      (alias export $passed "u" (instance $other))
      (instance $given (instantiate $inner (with "wasi:nn/tensor@{version}" (instance {argument}))))
      (export "make" (func $given "make")))"""
    return bytes(wasmtime.wat2wasm(text))


@pytest.mark.parametrize(("argument", "found"), [("$tensors", 1), ("$other", 0)])
def test_a_guest_inside_a_guest(session: Session, argument: str, found: int) -> None:
    guest = RawGuest(session, direct=True, wasm=nested(argument))
    guest.call("make", 100)
    assert len(guest.memories) == found
    assert session.used("handles") == 0


def test_a_guest_that_is_too_large_with_the_shim_runs_without_it(tmp_path: Path) -> None:
    """The engine takes at most a thousand modules in a component."""
    guest = raw_guest(after="(core module)" * 983)
    assert injection.inject(guest) is not None
    with pytest.raises(wasmtime.WasmtimeError):
        Component(ENGINE, wrap_component(guest))
    Component(ENGINE, wrap_component(guest, direct=False))
    host = Host(cache=tmp_path)
    compiled = host.compile(guest)
    assert isinstance(compiled, Component)


def test_aliases_of_a_memory_are_the_same_memory(session: Session) -> None:
    """Each function of the raw guest is lowered with an alias of its own."""
    guest = raw(session, "direct")
    assert (injection.inject(raw_guest()) or b"").count(b"wasi-nn-direct-mark") == 2, "a type, and one use"
    tensor = guest.call("new", 0, 0, U8, 0, 16)
    guest.call("set-reentry", tensor)
    with pytest.raises(wasmtime.WasmtimeError, match="unknown handle"):  # through the bridge: it can't be left
        guest.call("data", tensor, 64)


@pytest.mark.parametrize("size", [1, 15, 17])
def test_a_tensor_that_is_replaced_while_the_shim_asks_for_memory(session: Session, size: int) -> None:
    guest = raw(session, "direct")
    tensor = guest.call("new", 0, 0, U8, 0, 16)
    guest.call("set-reentry", tensor)
    guest.call("set-replacement", size)
    with pytest.raises(wasmtime.WasmtimeError, match=f"tensor-read: the tensor has {size} bytes, not 16"):
        guest.call("data", tensor, 64)


def test_a_guest_with_many_instances_of_one_component(tmp_path: Path) -> None:
    """The shim's instances don't count against those that the guest may have; and a guest with too many gets none."""
    version = VERSIONS[-1]
    for lowered, has_shim in ((5, True), (40, False)):
        functions = '(core func (canon lower (func $tensors "[constructor]tensor") (memory (core memory $m "memory"))))'
        inside = f"""{TENSOR_INSTANCE}
          (core module $memory-module (memory (export "memory") 0)) (core instance $m (instantiate $memory-module))
          (core module $empty) {"(core instance (instantiate $empty))" * 30} {functions * lowered}"""
        instances = f'(instance (instantiate $inner (with "wasi:nn/tensor@{version}" (instance $tensors))))' * 30
        guest = component_command(
            '(func (export "run") (result i32) (i32.const 0))',
            imports=f"{TENSOR_INSTANCE} (component $inner {inside}) {instances}",
        )
        assert (injection.inject(bytes(wasmtime.wat2wasm(guest))) is not None) == has_shim
        assert Host(cache=tmp_path).run(guest, limits=Limits(guest_memory=None)).exit_code == 0


@settings(max_examples=300, deadline=None)
@given(
    of=st.sampled_from([*DRIVERS, raw_guest(), nested("$tensors")]),
    changes=st.lists(st.tuples(st.integers(8, 20_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_changed_guest_with_the_shim_compiles_only_if_it_does_without(
    of: bytes, changes: list[tuple[int, int]]
) -> None:
    changed = bytearray(of)
    for at, byte in changes:
        changed[at % (len(of) - 8) + 8] = byte
    with suppress(GuestError):
        with_shim, without = wrap_component(bytes(changed)), wrap_component(bytes(changed), direct=False)
        if with_shim != without and compiles(with_shim):
            assert compiles(without)


def compiles(component: bytes) -> bool:
    try:
        Component(ENGINE, component)
    except wasmtime.WasmtimeError:
        return False
    return True
