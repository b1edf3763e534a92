"""`wasi-nn inspect`: shows a model's inputs and outputs, or a guest's imports."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasi_nn.cli import ENCODINGS, PROGRAM, TARGETS, UsageError, graph_options, json_output, registry_options
from wasi_nn.cli.steps import report_steps
from wasi_nn.cli.table import Columns, hanging, table, terminal_width
from wasi_nn.settings import how_to_set_option

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser
    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.loading.model_operators import ModelOperators

_LONGEST_VALUE = 100  # characters of a model's metadata that are shown
_MOST_OPERATORS = 50  # kinds of operators that are shown
_REFUSED = "does not run here"

_EPILOG = """\
With the files of the example that wasi-nn sdk names:

  wasi-nn inspect colours.onnx
  wasi-nn inspect classify.wasm
  wasi-nn inspect --calls classify.wasm
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `inspect` to the command's parser."""
    parser = subcommands.add_parser(
        "inspect",
        usage=f"{PROGRAM} inspect [OPTIONS] MODEL [WEIGHTS]",
        help="show a model's inputs and outputs, or a guest's imports",
        description="Load a model, and show its inputs and outputs. Or read a guest (a .wasm\nor .wat file) without "
        "running it, and show its imports, its dialect, and the\nproblems that keep it from running on this host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="a model: its file (OpenVINO: its .xml and .bin file), or a directory with one; or a guest, also oci://HOST/NAME:TAG",
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
    registry_options.add(parser)
    json_output.add_option(parser)
    parser.add_argument(
        "--calls", action="store_true", help="show each nn function that a guest imports, with its parameters"
    )
    parser.add_argument("--html", metavar="OUT", help="write a page of a model for browsers that needs no other file")
    parser.first_options = ("--encoding", "--target", "--runtime", "--option", "--json", "--calls", "--html")
    parser.set_defaults(main=main, module="wasi_nn.guests.inspection")


def main(options: argparse.Namespace) -> int:
    """Show the model or the guest; returns the exit code."""
    if options.json and options.html:
        raise UsageError("--json and --html: give one of them")
    if len(options.model) == 1:
        options.model = [registry_options.file_of(options.model[0], options)]
    else:
        for model in options.model:
            registry_options.require_registry(model, options)
    if len(options.model) == 1 and _is_guest(options.model[0]):
        if options.html:
            raise UsageError(f"--html writes the page of a model, and {options.model[0]} is a guest")
        return _show_guest(options)
    if options.calls and os.path.exists(options.model[0]):
        raise UsageError(f"--calls shows the nn functions of a guest, and {options.model[0]} isn't one")
    from wasi_nn.errors import printable
    from wasi_nn.loading.model_operators import operators_at
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry

    report_steps()
    source = options.model[0] if len(options.model) == 1 else options.model
    named = NamedGraph(source, options.encoding, options.target)
    for text in options.option:
        key, equals, value = text.partition("=")
        named = graph_options.with_setting(f"--option {text}", named, key.rpartition(":")[2] + equals + value)
    name = options.model[0]
    graph = Registry({name: named}, rules=graph_options.rules(options)).get(name)
    operators = operators_at(name, named, graph_options.rules(options))
    if options.html:
        from wasi_nn.cli.pages.model_page import write_model_page

        write_model_page(options.html, name, graph, operators)
        print(f"{printable(options.html)}: a page of {printable(name)}")
        return 0
    if options.json:
        description = {
            "encoding": graph.encoding.value,
            "runtime": graph.runtime,
            "device": graph.device,
            "inputs": [_as_json(info) for info in graph.inputs],
            "outputs": None if graph.outputs_vary else [_as_json(info) for info in graph.outputs],
            "metadata": graph.metadata,
            **dict.fromkeys(("operators", "tensor_types")),
            **({} if operators is None else {operators.key: operators.counts}),
        }
        json_output.print_json(description)
        return 0
    _print_model(graph, operators)
    return 0


def _print_model(graph: Graph, operators: ModelOperators | None) -> None:
    from wasi_nn.errors import printable, shortened

    width = terminal_width()
    facts = [("encoding", graph.encoding.value), ("runtime", graph.runtime), ("device", graph.device)]
    facts += [("outputs", "known only after a run")] if graph.outputs_vary else []
    print(*table(facts, width=width), sep="\n")
    tensors = {"inputs": graph.inputs} if graph.outputs_vary else {"inputs": graph.inputs, "outputs": graph.outputs}
    rows = {heading: list(map(_cells, range(len(infos)), infos)) for heading, infos in tensors.items()}
    columns = Columns([row for part in rows.values() for row in part], indent=2, width=width)
    for heading, part in rows.items():
        print(heading, *columns.lines(part), sep="\n")
    if graph.metadata:
        values = [(key, shortened(" ".join(value.split()), _LONGEST_VALUE)) for key, value in graph.metadata.items()]
        print("metadata", *table(values, indent=2, width=width), sep="\n")
    if operators is not None and operators.counts:
        shown = list(operators.counts.items())[:_MOST_OPERATORS]
        left = len(operators.counts) - len(shown)
        names = ", ".join(f"{shortened(operator, _LONGEST_VALUE)} {count:,}" for operator, count in shown)
        more = f" and {left:,} more kinds (--json has all)" if left else ""
        print(operators.noun, hanging(f"  {printable(names)}{more}", width), sep="\n")
    for reason in _unconverted(info for part in tensors.values() for info in part):
        print(hanging(reason, width))
    if "signatures" in graph.metadata and graph.encoding.value in ("tensorflow", "tensorflowlite", "pytorch"):
        how = how_to_set_option("signature", "SIGNATURE")
        print(hanging(f"another signature: --option signature=SIGNATURE here; {how}", width))


def _unconverted(infos: Iterable[TensorInfo]) -> list[str]:
    """What a guest can't use of these tensors: a sentence for the types that can be converted, and one for others."""
    from wasi_nn.graph.guest_types import guest_info, no_such_tensors

    kinds: dict[bool, dict[str, None]] = {}
    for info in infos:
        if info.dtype is not None and info.type is None:
            kinds.setdefault(guest_info(info) is not info, {})[info.type_name] = None
    return [no_such_tensors(" and ".join(names), is_convertible=convertible) for convertible, names in kinds.items()]


def _cells(index: int, info: TensorInfo) -> tuple[str, ...]:
    return str(index), info.name, info.type_name, info.dims_text, "(optional)" if info.optional else ""


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
        json_output.print_json(asdict(report))
        return 0
    from wasi_nn.cli.colours import Colours

    colours, width = Colours(), terminal_width()
    refused = colours.painted(_REFUSED, "red")
    if report.problems:
        print(
            hanging(f"{_REFUSED}: it {_in_short(printable(report.problems[0]))}", width).replace(_REFUSED, refused, 1)
        )
    facts = [("abi", "core module" if report.abi == "core" else report.abi)]
    facts += [] if report.dialect is None else [("dialect", report.dialect)]
    facts += [("wasi:nn", version) for version in report.versions]
    facts += [("extensions", ", ".join(report.extensions))] if report.extensions else []
    facts += [(field, printable(", ".join(values))) for field, values in report.producers.items()]
    print(*table(facts, width=width), sep="\n")
    if options.calls:
        print("calls")
        for interface, functions in report.calls.items():
            print(f"  {printable(interface)}", *(f"    {printable(it)}" for it in functions), sep="\n")
    for heading, imports in (
        ("nn", () if options.calls else report.nn),
        ("wasi", report.wasi),
        ("other imports", report.other),
    ):
        if imports:
            print(heading)
            for imported in imports:
                print(f"  {printable(imported)}")
    print(refused if report.problems else colours.painted("runs here", "green"))
    for problem in report.problems:
        print(hanging(f"  it {printable(problem)}", width))
    return 0


def _in_short(problem: str) -> str:
    """The beginning of a sentence: without the names in it, and without how to build the guest."""
    return re.split(r": | \(", problem, maxsplit=1)[0]


def _as_json(info: TensorInfo) -> dict[str, object]:
    dims = None if info.dims is None else list(info.dims)
    return {"name": info.name, "type": info.type_name, "dims": dims, "optional": info.optional}
