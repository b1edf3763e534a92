"""`wasi-nn inspect`: what a model takes and gives."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import ENCODINGS, TARGETS, UsageError, graph_options

if TYPE_CHECKING:
    from wasi_nn.types import TensorInfo


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `inspect` to the command's parser."""
    parser = subcommands.add_parser(
        "inspect",
        help="show a model's inputs and outputs",
        description="Load a model and show what it takes and gives.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="a model's file, or its builders' (.xml .bin), or a directory that holds one",
    )
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="autodetect",
        metavar="ENCODING",
        help="the model's encoding, if its bytes don't tell: " + ", ".join(ENCODINGS),
    )
    parser.add_argument("--target", choices=TARGETS, default="cpu", help="where to load it (default: cpu)")
    graph_options.add_rules(parser)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the backend's, such as signature=NAME (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Show the model; gives the exit code."""
    from wasi_nn.registry import NamedGraph, Registry
    from wasi_nn.types import printable

    source = options.model[0] if len(options.model) == 1 else options.model
    named = NamedGraph(source, options.encoding, options.target, dict(map(_option, options.option)))
    graph = Registry({"model": named}, rules=graph_options.rules(options)).get("model")
    if options.json:
        import json

        description = {
            "encoding": graph.encoding.value,
            "runtime": graph.runtime,
            "device": graph.device,
            "inputs": [_as_json(info) for info in graph.inputs],
            "outputs": None if graph.outputs_vary else [_as_json(info) for info in graph.outputs],
            "metadata": graph.metadata,
        }
        print(json.dumps(description, indent=2))
        return 0
    print(f"encoding  {graph.encoding.value}")
    print(f"runtime   {graph.runtime}")
    print(f"device    {graph.device}")
    for what, infos in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if what == "outputs" and graph.outputs_vary:
            print("outputs   known only when it has run")
            continue
        print(what)
        names = [printable(info.name) for info in infos]
        width = max(map(len, names), default=0)
        for index, (name, info) in enumerate(zip(names, infos, strict=True)):
            optional = "  (optional)" if info.optional else ""
            print(f"  {index}  {name:<{width}}  {info.type_name:<5} {info.dims_text}{optional}")
    for key, value in graph.metadata.items():
        text = printable(f"{key}: {' '.join(value.split())}")
        print(text if len(text) <= 100 else text[:97] + "...")
    return 0


def _option(text: str) -> tuple[str, Any]:
    """An option with its value, as JSON if it is any."""
    import json

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--option {text}: it takes KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _as_json(info: TensorInfo) -> dict[str, object]:
    dims = None if info.dims is None else list(info.dims)
    return {"name": info.name, "type": info.type_name, "dims": dims, "optional": info.optional}
