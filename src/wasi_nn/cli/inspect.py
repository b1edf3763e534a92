"""`wasi-nn inspect`: shows a model's inputs and outputs, or a guest's imports."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, TARGETS, graph_options

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `inspect` to the command's parser."""
    parser = subcommands.add_parser(
        "inspect",
        help="show a model's inputs and outputs, or a guest's imports",
        description="Load a model, and show its inputs and outputs. Or read a guest (a .wasm or .wat file) without "
        "running it, and show its imports, its dialect, and the problems that keep it from running on this host.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="a model: its file, its files (.xml .bin), or a directory with one; or a guest",
    )
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="autodetect",
        metavar="ENCODING",
        help=f"the model's encoding (default: autodetect, by its content): {', '.join(ENCODINGS)}",
    )
    parser.add_argument("--target", choices=TARGETS, default="cpu", help="where the model should run (default: cpu)")
    graph_options.add_rules(parser)
    parser.add_argument(
        "--option",
        "--graph-option",
        action="append",
        default=[],
        metavar="[NAME:]KEY=VALUE",
        help="a setting as in a file of graphs: an option of the backend, such as signature=NAME or "
        "'tags=[\"serve\"]', or runtime, sha256, convert-types; VALUE is JSON or plain text (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Show the model or the guest; returns the exit code."""
    if len(options.model) == 1 and _is_guest(options.model[0]):
        return _show_guest(options)
    from wasi_nn.errors import printable
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry

    source = options.model[0] if len(options.model) == 1 else options.model
    named = NamedGraph(source, options.encoding, options.target)
    for text in options.option:
        key, equals, value = text.partition("=")
        named = graph_options.with_setting("--option", named, key.rpartition(":")[2] + equals + value)
    name = options.model[0]
    graph = Registry({name: named}, rules=graph_options.rules(options)).get(name)
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
    for heading, infos in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if heading == "outputs" and graph.outputs_vary:
            print("outputs   known only after a run")
            continue
        print(heading)
        names = [printable(info.name) for info in infos]
        width = max(map(len, names), default=0)
        for index, (name, info) in enumerate(zip(names, infos, strict=True)):
            optional = "  (optional)" if info.optional else ""
            print(f"  {index}  {name:<{width}}  {info.type_name:<5} {info.dims_text}{optional}")
    for key, value in graph.metadata.items():
        text = printable(f"{key}: {' '.join(value.split())}")
        print(text if len(text) <= 100 else text[:97] + "...")
    return 0


def _is_guest(path: str) -> bool:
    from wasi_nn.process.files import open_regular

    try:
        with open_regular(path) as file:
            head = file.read(4096).lstrip()
    except OSError:
        return False  # the model is opened next, and the error says why
    return head.startswith((b"\0asm", b"(module", b"(component", b";;"))


def _show_guest(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from wasi_nn.errors import printable
    from wasi_nn.guests.inspection import report_on

    report = report_on(options.model[0])
    if options.json:
        import json

        print(json.dumps(asdict(report), indent=2))
        return 0
    print(f"abi       {'core module' if report.abi == 'core' else report.abi}")
    if report.dialect is not None:
        print(f"dialect   {report.dialect}")
    for version in report.versions:
        print(f"wasi:nn   {printable(version)}")
    for heading, imports in (("nn", report.nn), ("wasi", report.wasi), ("other imports", report.other)):
        if imports:
            print(heading)
            for imported in imports:
                print(f"  {printable(imported)}")
    print("runs here" if not report.problems else "does not run here")
    for problem in report.problems:
        print(f"  it {printable(problem)}")
    return 0


def _as_json(info: TensorInfo) -> dict[str, object]:
    dims = None if info.dims is None else list(info.dims)
    return {"name": info.name, "type": info.type_name, "dims": dims, "optional": info.optional}
