"""The tools that build the SDKs' examples: Zig, wasm-tools, and the adapter that gives a module of WASI preview 1 the
interfaces of WASI 0.2."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from sdk_languages.table import REPOSITORY, SDK_VERSION, WIT_VERSION

sys.path.append(str(REPOSITORY / "guests"))

import build_bridge
import build_components

from wasi_nn.abi.component.bridge import EXTENSIONS_INTERFACES, INTERFACES, extension_name

BUILD = REPOSITORY / "build" / "sdk"
ADAPTER_PACKAGE = "@bytecodealliance/jco@1.34.0"
ADAPTER = "package/lib/wasi_snapshot_preview1.command.wasm"
ADAPTER_SHA256 = "2a652d711c1fff34f9d5a0e073e50ef7eeb8fe7d8a6d559eae643a4c049a7b94"

_WORLD = """package wasi-nn:guest;

world sdk {{
{imports}
}}

"""


def zig(*arguments: str, cwd: Path = REPOSITORY) -> None:
    """Run Zig's compiler `cc` or `c++`."""
    build_bridge.run_tool("ziglang", *arguments, cwd=cwd)


def wit() -> str:
    """The world of all imports that an SDK has: wasi:nn and wasi-nn:ext. A component has those of them that it uses."""
    names = [f"wasi:nn/{it}@{WIT_VERSION}" for it in INTERFACES]
    names += [extension_name(it) for it in EXTENSIONS_INTERFACES[1:]]
    world = _WORLD.format(imports="\n".join(f"  import {it};" for it in names))
    return world + build_bridge.nn_wit(WIT_VERSION) + build_bridge.ext_wit()


_WORLDS = """package wasi-nn:guest;

/// A program that computes by wasi:nn. Written by tools/make_sdk.py.
world guest {{
{imports}
  export wasi:cli/run@0.2.0;
}}

/// One that uses wasi-nn:ext too: every host that runs it must have that.
world guest-ext {{
  include guest;
{extensions}
}}

"""


def worlds(wasi: str = "") -> str:
    """The worlds of an SDK whose components have all imports of their world, used or not. `wasi` are the imports of
    WASI that the SDK itself calls."""
    imports = "\n".join(f"  import wasi:nn/{it}@{WIT_VERSION};" for it in INTERFACES)
    extensions = "\n".join(f"  import {extension_name(it)};" for it in EXTENSIONS_INTERFACES[1:])
    texts = (build_bridge.nn_wit(WIT_VERSION), build_bridge.ext_wit())
    of_wasi = (build_components.COMPONENTS / "wasi.wit").read_text()
    return _WORLDS.format(imports=imports + wasi, extensions=extensions) + "".join(texts) + of_wasi


def naming_sdk(text: str, name: str) -> str:
    """A file of an SDK, of this name, with its line that says the SDK's name and version."""
    return re.sub(
        r"""^((?:const )?SDK = )(['"]).*?\2""",
        rf"\g<1>\g<2>wasi-nn for {name} {SDK_VERSION}\g<2>",
        text,
        flags=re.MULTILINE,
    )


def embed_wit(module: Path) -> None:
    """Put the world into a core module, in its place."""
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch, "sdk.wit")
        text.write_text(wit())
        here = str(module.absolute())
        build_bridge.wasm_tools("component", "embed", "--world", "sdk", str(text), here, "-o", here)


def component_type() -> bytes:
    """The content of the custom section that `embed_wit` puts into a module."""
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch, "module.wasm")
        module.write_bytes(b"\0asm\1\0\0\0")
        embed_wit(module)
        content = module.read_bytes()
    _, at = _leb(content, 9)  # the size of the only section
    length, at = _leb(content, at)
    return content[at + length :]


def _leb(content: bytes, at: int) -> tuple[int, int]:
    """The number that is encoded at a place, and the place after it."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def componentize(module: Path, built: Path) -> None:
    """Make a component of a core module for WASI preview 1 that has its WIT embedded."""
    adapt = f"wasi_snapshot_preview1={adapter()}"
    build_bridge.wasm_tools("component", "new", str(module), "--adapt", adapt, "-o", str(built.absolute()))
    others = "|".join(("name", "component-name", "producers", "target_features", "component-type.*"))
    build_bridge.wasm_tools("strip", "--delete", f"^({others})$", str(built.absolute()), "-o", str(built.absolute()))


def adapter() -> Path:
    """The adapter, from npm. Raises `ValueError` if it isn't the file that is pinned."""
    folder = BUILD / "adapter"
    path = folder / ADAPTER
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", ADAPTER_PACKAGE]
        packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(folder / packed) as archive:
            archive.extract(ADAPTER, folder)  # its content is pinned
    if hashlib.sha256(path.read_bytes()).hexdigest() != ADAPTER_SHA256:
        raise ValueError(f"{path} isn't the adapter of {ADAPTER_PACKAGE} that is pinned: remove it to get it again")
    return path
