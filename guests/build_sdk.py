"""Writes the parts of the SDK that are made from others: WIT for tools that build components, and the example.

    python guests/build_sdk.py [DIRECTORY]     # into `guests/wit` and `guests/example`, or elsewhere

The SDK is what `wasi-nn sdk` shows: in a checkout the folder `guests`, in an installed package `wasi_nn/sdk`, with the
folders that `pyproject.toml` lists (`force-include`).
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import onnx
from build_bridge import SOURCES, nn_wit
from build_components import COMPONENTS, HTTP_WORLD, WASI
from onnx import TensorProto, helper

from wasi_nn.abi.component.bridge import EXTENSIONS_INTERFACES, VERSIONS, extension_name, serving_name

HERE = Path(__file__).parent
COLOURS = {
    "black": (-1, -1, -1),
    "white": (1, 1, 1),
    "red": (0.6, -0.8, -0.8),
    "green": (-0.8, 0.2, -0.6),
    "blue": (-0.8, -0.6, 0.6),
    "yellow": (0.8, 0.6, -0.8),
}
"""Names of colours, each with its red, green and blue from -1 to 1."""

_WORLD = """package wasi-nn:guest;

/// A guest that wasi-nn runs as a command. Its language may import more of WASI.
world guest {{
{imports}
  export wasi:cli/run@0.2.0;
}}

/// The imports alone, for a program with a library of C: the adapter of WASI preview 1 makes its main function `run`.
world imports {{
{imports}
}}

/// A guest in C without a library of C, with the WASI that `component/guest.h` calls.
world guest-in-c {{
  include guest;
{wasi}
}}
"""


def wit_folders() -> dict[str, str]:
    """The files of WIT by their paths: a folder for each version of wasi:nn, and one each with wasi-nn:ext,
    wasi-nn:serving and wasi:http too."""
    files = {}
    newest = VERSIONS[-1]
    for folder, version in {**{_date(it): it for it in VERSIONS}, "ext": newest, "serving": newest}.items():
        imports = [f"wasi:nn/{it}@{version}" for it in ("tensor", "graph", "inference", "errors")]
        if folder == "ext":
            imports += [extension_name(it) for it in EXTENSIONS_INTERFACES[1:]]
            files["ext/deps/wasi-nn-ext.wit"] = (SOURCES / "wasi-nn-ext.wit").read_text()
        if folder == "serving":
            imports.append(serving_name())
            files["serving/deps/wasi-nn-serving.wit"] = (SOURCES / "wasi-nn-serving.wit").read_text()
        nn = "\n".join(f"  import {it};" for it in imports)
        files[f"{folder}/guest.wit"] = _WORLD.format(imports=nn, wasi=WASI.strip("\n"))
        files[f"{folder}/deps/wasi-nn.wit"] = _one_package(nn_wit(version))
        files |= _dependencies(folder, (COMPONENTS / "wasi.wit").read_text())
    files["http/guest.wit"] = HTTP_WORLD.format(version=newest).rstrip() + "\n"
    files["http/deps/wasi-nn.wit"] = _one_package(nn_wit(newest))
    files |= _dependencies("http", (COMPONENTS / "http.wit").read_text())
    return files


def _dependencies(folder: str, text: str) -> dict[str, str]:
    """A file for each package of WASI in a text of WIT."""
    packages = [f"package wasi:{it}" for it in text.split("package wasi:")[1:]]
    names = [it.partition("package wasi:")[2].partition("@")[0] for it in packages]
    return {f"{folder}/deps/wasi-{name}.wit": _one_package(it) for name, it in zip(names, packages, strict=True)}


def _date(version: str) -> str:
    return version.partition("-rc-")[2]


def _one_package(text: str) -> str:
    """A package of WIT as the only one of its file: without the braces around it."""
    head, _, body = text[text.index("package ") :].partition(" {\n")
    lines = [line for line in textwrap.dedent(body.rstrip().removesuffix("}")).splitlines() if not line.isspace()]
    return head + ";\n\n" + "\n".join(lines).rstrip() + "\n"


def colours_model() -> bytes:
    """An ONNX model that scores the colours of `COLOURS` for an f32 picture [1, 3, height, width] from -1 to 1:
    minus four times the squared distance of each colour from the picture's mean."""
    palette = [part for colour in COLOURS.values() for part in colour]
    constants = [
        helper.make_tensor("palette", TensorProto.FLOAT, [len(COLOURS), 3], palette),
        helper.make_tensor("colours", TensorProto.INT64, [1], [1]),
        helper.make_tensor("scale", TensorProto.FLOAT, [1], [-4]),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "palette"], ["differences"]),
        helper.make_node("Mul", ["differences", "differences"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "colours"], ["distances"], keepdims=0),
        helper.make_node("Mul", ["distances", "scale"], ["scores"]),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [len(COLOURS)])
    graph = helper.make_graph(nodes, "colours", [picture], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def picture() -> bytes:
    """A red apple with a green leaf before white, 48 pixels high and wide, as a binary PPM."""
    size, pixels = 48, bytearray()
    for y in range(size):
        for x in range(size):
            if (x - 24) ** 2 + (y - 27) ** 2 < 20**2:
                pixels += b"\xcc\x1a\x1a"
            elif (x - 30) ** 2 + 4 * (y - 5) ** 2 < 6**2:
                pixels += b"\x1a\x99\x33"
            else:
                pixels += b"\xff\xff\xff"
    return b"P6 %d %d 255\n" % (size, size) + pixels


def example() -> dict[str, bytes]:
    """The files of the example by their names."""
    labels = "".join(f"{name}\n" for name in COLOURS)
    return {"colours.onnx": colours_model(), "colours.txt": labels.encode(), "apple.ppm": picture()}


def main() -> None:
    """Write all files."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    files = {f"wit/{name}": text.encode() for name, text in wit_folders().items()}
    files |= {f"example/{name}": content for name, content in example().items()}
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{path} {len(content)} bytes")


if __name__ == "__main__":
    main()
