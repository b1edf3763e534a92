"""`wasi-nn inspect`: what a model takes and gives."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, TARGETS

if TYPE_CHECKING:
    from wasi_nn.types import TensorInfo


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `inspect` to the command's parser."""
    parser = subcommands.add_parser(
        "inspect",
        help="show a model's inputs and outputs",
        description="Load a model and show what it takes and gives.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model file, or a directory that holds one")
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="autodetect",
        metavar="ENCODING",
        help="the model's encoding, if its bytes don't tell: " + ", ".join(ENCODINGS),
    )
    parser.add_argument("--target", choices=TARGETS, default="cpu", help="where to load it (default: cpu)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Show the model; gives the exit code."""
    from wasi_nn.backends import load
    from wasi_nn.types import printable

    graph = load(options.model, options.encoding, options.target)
    if options.json:
        import json

        description = {
            "encoding": graph.encoding.value,
            "device": graph.device,
            "inputs": [_as_json(info) for info in graph.inputs],
            "outputs": [_as_json(info) for info in graph.outputs],
            "metadata": graph.metadata,
        }
        print(json.dumps(description, indent=2))
        return 0
    print(f"encoding  {graph.encoding.value}")
    print(f"device    {graph.device}")
    for what, infos in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        print(what)
        names = [printable(info.name) for info in infos]
        width = max(map(len, names), default=0)
        for index, (name, info) in enumerate(zip(names, infos, strict=True)):
            print(f"  {index}  {name:<{width}}  {info.type_name:<5} {info.dims_text}")
    for key, value in graph.metadata.items():
        text = printable(f"{key}: {' '.join(value.split())}")
        print(text if len(text) <= 100 else text[:97] + "...")
    return 0


def _as_json(info: TensorInfo) -> dict[str, object]:
    dims = None if info.dims is None else list(info.dims)
    return {"name": info.name, "type": info.type_name, "dims": dims}
