"""Builds the guests in C. The built files are committed beside their sources, and the same tools build the same bytes.

python guests/build.py [DIRECTORY]     # beside the sources, or elsewhere
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
C_GUESTS = (
    "chat",
    "classify",
    "identify",
    "infer",
    "measure",
    "run_any",
    "serve_colours",
    "serve_files",
    "stream",
    "train",
)
C_FLAGS = ("--target=wasm32-wasi", "-O2", "-s", "-Wall", "-Wextra", "-Werror")


def build_c(name: str, directory: Path) -> Path:
    """Build `guests/c/NAME.c` into a directory; gives the built file. The first build of all takes half a minute."""
    built = directory / f"{name}.wasm"
    zig = [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run([*zig, *C_FLAGS, "-I", "include", f"c/{name}.c", "-o", str(built.absolute())], cwd=HERE, check=True)
    built.chmod(0o644)
    return built


def main() -> None:
    """Build all guests."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "c"
    for name in C_GUESTS:
        built = build_c(name, directory)
        print(f"{built} {built.stat().st_size} bytes")


if __name__ == "__main__":
    main()
