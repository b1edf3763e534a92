"""Builds the component guests, and the component that the tests drive.

    python guests/build_components.py [DIRECTORY]     # those in C, beside the sources or elsewhere
    python guests/build_components.py --python FILE [APP]   # one in Python: 18 MB
    python guests/build_components.py --js FILE [APP]       # one in JavaScript: 1 MB
    python guests/build_components.py --wit FILE [INTERFACE]...     # the WIT for a component of your own
    python guests/build_components.py --http-wit FILE       # the same for one that answers HTTP requests

Those in C are committed, and the same tools build the same bytes. All but those in JavaScript are built with what the
extra `dev` installs; those need `npm`, by which they get QuickJS into `build/npm`. APP is a script beside `app`: `ext`
or `web` in Python, `stream` in JavaScript. The WIT has the world `guest`: wasi:nn, these interfaces of wasi-nn:ext, and
the WASI 0.2 that the guests in C call; the interface `requests` is that of wasi-nn:serving.
docs/reference/components.md says how to build a component with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import build_bridge
from build_bridge import C_FLAGS, LINK_FLAGS, date, ext_wit, nn_wit, serving_wit

from wasi_nn.abi.component.bridge import EXTENSIONS_INTERFACES, VERSIONS, extension_name, serving_name

HERE = Path(__file__).parent
COMPONENTS = HERE / "component"
C_GUESTS = ("infer", "measure")
EXTENDED_C_GUESTS = ("run_any", "stream")
SERVING_C_GUESTS = ("serve_colours",)
EXTENDED_SCRIPTS = ("ext", "stream")
HTTP_SCRIPT = "web"
COMPONENTIZE_QJS = "componentize-qjs@0.4.5"
DRIVER = HERE.parent / "tests" / "support" / "components" / "driver.c"
HTTP_GUEST = HERE.parent / "tests" / "support" / "http" / "guest.c"
HTTP_SENDER = HTTP_GUEST.with_name("sender.c")
HTTP_KEEPER = HTTP_GUEST.with_name("keeper.c")

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


EXTENSIONS = EXTENSIONS_INTERFACES[1:]  # without `types`, which comes with those that need it
_OF_EXTENSIONS = """
  export read-memory: func(at: u32, size: u32) -> string;
  export describe: func(graph: u32) -> u64;
  export describe-often: func(graph: u32, times: u32);
  export use-signature: func(graph: u32, name: string) -> u64;
  export state-get: func(graph: u32) -> u64;
  export state-set: func(graph: u32) -> u32;
  export begin: func(context: u32, names: list<string>, tensors: list<u32>) -> u64;
  export next: func(sequence: u32) -> u64;
  export strings-new: func(dims: list<u32>, sizes: list<u32>) -> u64;
  export strings: func(tensor: u32) -> u64;
  export drop-sequence: func(sequence: u32);
"""

_NEWEST = VERSIONS[-1]
_WORLD = """package wasi-nn:guest;

world guest {{
  import wasi:nn/tensor@{version};
  import wasi:nn/graph@{version};
  import wasi:nn/inference@{version};
  import wasi:nn/errors@{version};
{wasi}
  export wasi:cli/run@0.2.0;
}}

"""
WASI = """
  import wasi:cli/environment@0.2.0;
  import wasi:cli/stdout@0.2.0;
  import wasi:cli/stderr@0.2.0;
  import wasi:filesystem/preopens@0.2.0;
  import wasi:filesystem/types@0.2.0;
  import wasi:clocks/monotonic-clock@0.2.0;"""


def guest_wit(wasi: str = WASI, *, extensions: Iterable[str] = (), serves: bool = False) -> str:
    """The world of the guests here, with the WASI that they call themselves, these interfaces of wasi-nn:ext, and
    wasi-nn:serving for one that `serves`."""
    serving = f"\n  import {serving_name()};" if serves else ""
    world = _WORLD.format(version=_NEWEST, wasi=wasi + _imports(extensions) + serving)
    others = (ext_wit() if extensions else "") + (serving_wit() if serves else "")
    return world + nn_wit(_NEWEST) + others + (COMPONENTS / "wasi.wit").read_text()


HTTP_WORLD = """package wasi-nn:guest;

world http-guest {{
  import wasi:nn/tensor@{version};
  import wasi:nn/graph@{version};
  import wasi:nn/inference@{version};
  import wasi:nn/errors@{version};
  import wasi:http/outgoing-handler@0.2.0;
  import wasi:cli/stdout@0.2.0;
  import wasi:cli/stderr@0.2.0;
  export wasi:http/incoming-handler@0.2.0;
}}

"""


def http_wit() -> str:
    """The world of guests that answer HTTP requests: wasi:nn and wasi:http."""
    return HTTP_WORLD.format(version=_NEWEST) + nn_wit(_NEWEST) + (COMPONENTS / "http.wit").read_text()


def build_http(directory: Path, source: Path = HTTP_GUEST) -> Path:
    """Build a guest of the tests that answers HTTP requests into a directory; gives the built file."""
    return componentize(source, _NEWEST, "http-guest", http_wit(), directory / f"{source.stem}.wasm")


def _imports(extensions: Iterable[str]) -> str:
    """Of these interfaces of wasi-nn:ext. A component in C imports those of them that its code calls, one in Python or
    JavaScript all."""
    return "".join(f"\n  import {extension_name(it)};" for it in extensions)


def write_wit(file: Path, *extensions: str) -> Path:
    """Write the WIT of the world of the guests here, with these interfaces of wasi-nn:ext; gives the file."""
    others = [it for it in extensions if it != "requests"]
    unknown = [it for it in others if it not in EXTENSIONS]
    if unknown:
        sys.exit(f"wasi-nn:ext has no interface {unknown[0]!r}: it has {', '.join(EXTENSIONS)}")
    file.write_text(guest_wit(extensions=others, serves="requests" in extensions))
    return file


def build_c(name: str, directory: Path) -> Path:
    """Build a component guest in C into a directory; gives the built file."""
    wit = guest_wit(extensions=EXTENSIONS if name in EXTENDED_C_GUESTS else (), serves=name in SERVING_C_GUESTS)
    return componentize(COMPONENTS / f"{name}.c", _NEWEST, "guest", wit, directory / f"{name}.wasm")


def script_wit(app: str, wasi: str) -> tuple[str, str]:
    """The WIT for a script that calls this WASI itself, and the name of its world."""
    if app == HTTP_SCRIPT:
        return http_wit(), "http-guest"
    return guest_wit(wasi, extensions=EXTENSIONS if app in EXTENDED_SCRIPTS else ()), "guest"


def python_wit(app: str) -> str:
    """The WIT for a guest in Python, whose WASI is CPython's."""
    return script_wit(app, "")[0]


def build_python(built: Path, app: str = "app") -> Path:
    """Build a guest in Python from `guests/component/python/APP.py`; gives the built file."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "world.wit")
        wit, world = script_wit(app, "")
        file.write_text(wit)
        command = [
            str(Path(sys.executable).with_name("componentize-py")),
            "-d",
            str(file),
            "-w",
            world,
            "componentize",
            app,
        ]
        subprocess.run([*command, "-p", str(COMPONENTS / "python"), "-o", str(built)], check=True)
    return built


def build_js(built: Path, app: str = "app") -> Path:
    """Build a guest in JavaScript, with QuickJS in it, from `guests/component/js/APP.js`; gives the built file."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "world.wit")
        wit, world = script_wit(app, WASI)
        file.write_text(wit)
        command = [str(_quickjs()), "--wit", str(file), "-n", world, "--sync", "--opt-size"]
        subprocess.run([*command, "--js", str(COMPONENTS / "js" / f"{app}.js"), "-o", str(built)], check=True)
    return built


def _quickjs() -> Path:
    """The command that puts QuickJS around a script, from npm."""
    folder = HERE.parent / "build" / "npm"
    command = folder / "node_modules" / ".bin" / "componentize-qjs"
    if not command.exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), COMPONENTIZE_QJS], check=True)
    return command


def build_driver(version: str, directory: Path) -> Path:
    """Build the tests' driver for a version of wasi:nn into a directory; gives the built file."""
    context = _NAMED if date(version) >= 20241028 else _IN_STEPS
    context += _ERROR if date(version) < 20240819 else ""
    wit = DRIVER.with_suffix(".wit").read_text().replace("{version}", version).replace("{context}", context)
    built = directory / f"driver-{version.partition('-rc-')[2]}.wasm"
    return componentize(DRIVER, version, "driver", wit + nn_wit(version), built)


def build_extended_driver(directory: Path) -> Path:
    """Build the tests' driver with the functions of wasi-nn:ext into a directory; gives the built file."""
    source = DRIVER.with_name("driver_ext.c")
    wit = DRIVER.with_suffix(".wit").read_text().replace("{version}", _NEWEST).replace("{context}", _NAMED)
    wit = wit.rstrip().removesuffix("}") + _imports(EXTENSIONS) + _OF_EXTENSIONS + "}\n"
    return componentize(source, _NEWEST, "driver", wit + nn_wit(_NEWEST) + ext_wit(), directory / "driver-ext.wasm")


def build_requests(directory: Path) -> Path:
    """Build the tests' component that answers requests into a directory; gives the built file."""
    source = DRIVER.with_name("requests.c")
    return componentize(source, _NEWEST, "guest", guest_wit(serves=True), directory / "requests.wasm")


def componentize(source: Path, version: str, world: str, wit: str, built: Path) -> Path:
    """Build a freestanding component from one file of C and its WIT."""
    with tempfile.TemporaryDirectory() as scratch:
        module, text = Path(scratch, "module.wasm"), Path(scratch, "world.wit")
        text.write_text(wit)
        options = ("-fno-builtin", "-I", str(HERE / "include"), f"-DWASI_NN_VERSION={date(version)}")
        build_bridge.run_tool(
            "ziglang", "cc", *C_FLAGS, *LINK_FLAGS, *options, source.name, "-o", str(module), cwd=source.parent
        )
        build_bridge.wasm_tools("component", "embed", "--world", world, str(text), str(module), "-o", str(module))
        build_bridge.componentize(module, built)
    return built


def main() -> None:
    """Build what the command line says."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--wit"] and len(arguments) > 1:
        built = [write_wit(Path(arguments[1]), *arguments[2:])]
    elif arguments[:1] == ["--http-wit"] and len(arguments) > 1:
        built = [Path(arguments[1])]
        built[0].write_text(http_wit())
    elif arguments[:1] in (["--python"], ["--js"]):
        build_other = build_python if arguments[0] == "--python" else build_js
        built = [build_other(Path(arguments[1]), *arguments[2:])]
    else:
        elsewhere = Path(arguments[0]).absolute() if arguments else None
        built = [build_driver(version, elsewhere or DRIVER.parent) for version in VERSIONS]
        built.append(build_extended_driver(elsewhere or DRIVER.parent))
        built.append(build_requests(elsewhere or DRIVER.parent))
        built += [build_http(elsewhere or it.parent, it) for it in (HTTP_GUEST, HTTP_SENDER, HTTP_KEEPER)]
        built += [build_c(name, elsewhere or COMPONENTS) for name in (*C_GUESTS, *EXTENDED_C_GUESTS, *SERVING_C_GUESTS)]
    for path in built:
        print(f"{path} {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
