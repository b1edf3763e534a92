"""`wasi-nn graphs`: lists the graphs that a guest can load by name and the guests of a server, and checks them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import FAILURE, PROGRAM, UsageError, graph_options, graphs_guests, json_output
from wasi_nn.cli.steps import report_steps

if TYPE_CHECKING:
    from wasi_nn.cli.parser import Parser
    from wasi_nn.graph.graph import Graph
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry

_EPILOG = """\
With the model of the example that wasi-nn sdk names:

  wasi-nn graphs --graph colours=colours.onnx --check

A file of graphs is checked alike: wasi-nn graphs --graphs graphs.toml --check
"""


def add_parser(subcommands: argparse._SubParsersAction[Parser]) -> None:
    """Add `graphs` to the command's parser."""
    parser = subcommands.add_parser(
        "graphs",
        usage=f"{PROGRAM} graphs [OPTIONS]",
        help="list named graphs and the guests beside them, and check them",
        description="List the graphs that a guest can load by name, and the guests of a file of\ngraphs, which a "
        "server runs. The exit code is 1 if one fails --check.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    graph_options.add(parser)
    parser.add_argument(
        "--check", action="store_true", help="load each graph, and run it once on zeros; compile each guest"
    )
    json_output.add_option(parser)
    parser.first_options = ("--graph", "--graphs", "--check", "--json", "--graph-option")
    parser.set_defaults(main=main, module="wasi_nn.loading.registry")


def main(options: argparse.Namespace) -> int:
    """List the graphs; returns the exit code."""
    if not (options.graphs or options.graph or options.nn_graph or options.nn_preload):
        raise UsageError("there are no graphs to list: name some by --graphs FILE or --graph NAME=PATH")
    rules = graph_options.rules(options)
    report_steps()
    registry = graph_options.registry(options, rules)
    rows = [_row(name, registry.named(name), is_isolated=bool(rules.isolate)) for name in registry]
    guests = [graphs_guests.row_of(name, guest) for name, guest in registry.guests.items()]
    checks = graphs_guests.GuestChecks(registry)
    if options.json:
        if options.check:
            rows = [row | _check(registry, row) for row in rows]
            guests = [row | checks.check(row) for row in guests]
        json_output.print_json(rows + guests)
    else:
        if rows or not guests:
            longest = [_LONGEST] if options.check else []
            check = partial(_check, registry) if options.check else None
            rows = _print(_HEADINGS, rows, _cells, longest, check)
        if guests:
            if rows:
                print()
            cells = partial(graphs_guests.cells, failed=_FAILED)
            guests = _print(graphs_guests.HEADINGS, guests, cells, [], checks.check if options.check else None)
    return FAILURE if any("error" in row for row in rows + guests) else 0


def _print(
    headings: tuple[str, ...],
    rows: list[dict[str, Any]],
    cells: Callable[[dict[str, Any]], tuple[str, ...]],
    longest: Sequence[tuple[str, ...]],
    check: Callable[[dict[str, Any]], dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """Print a table, each row as soon as it is checked; returns the rows. `longest` has cells that a check may give."""
    from wasi_nn.cli.colours import Colours
    from wasi_nn.cli.table import Columns, terminal_width

    columns = Columns([headings, *map(cells, rows), *longest], width=terminal_width())
    print(*columns.lines([headings]))
    red = Colours().painted(_FAILED, "red")
    checked = []
    for row in rows:
        whole = row if check is None else row | check(row)
        checked.append(whole)
        lines = "\n".join(columns.lines([cells(whole)]))
        print(lines.replace(_FAILED, red, 1) if "error" in whole else lines, flush=True)
    return checked


def _row(name: str, named: NamedGraph, *, is_isolated: bool) -> dict[str, Any]:
    from wasi_nn.backends import RemoteModel
    from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

    source = named.source
    paths: Any = source if isinstance(source, list | tuple) else [source]
    is_remote = isinstance(source, RemoteModel)
    if isinstance(source, RemoteModel):
        paths = source.addresses
    return {
        "name": name,
        "paths": [str(path) for path in paths],
        "encoding": parse_enum(GraphEncoding, named.encoding).value,
        "target": parse_enum(ExecutionTarget, named.target).value,
        "runtime": named.runtime,
        "options": dict(named.options),
        "sha256": named.sha256,
        "convert_types": named.convert_types,
        "share_variables": named.share_variables,
        "remote": is_remote,
        "isolated": is_isolated and not is_remote,
        "max_batch": named.max_batch,
        "max_delay": named.max_delay,
    }


def _check(registry: Registry, row: dict[str, Any]) -> dict[str, Any]:
    """Load a graph and run it once: the entries of its row with the times, or with the error."""
    from time import perf_counter

    from wasi_nn.errors import NNError

    name, started = row["name"], perf_counter()
    try:
        graph = registry.get(name)
        if registry.named(name).max_batch is not None:
            from wasi_nn.serving.computing.batching import require_batchable

            require_batchable(graph)
        loaded = perf_counter()
        found: dict[str, Any] = {"encoding": graph.encoding.value, "runtime": graph.runtime, "device": graph.device}
        found["load_ms"] = round(1000 * (loaded - started), 1)
        inputs = _zeros(graph)
        if inputs is None:
            return found | {
                "run_ms": None,
                "why": "not run: the model doesn't declare the types and dims of its inputs",
            }
        graph.compute(inputs)
        return found | {"run_ms": round(1000 * (perf_counter() - loaded), 1)}
    except NNError as error:
        return {"error": str(error), "code": error.code.value}


def _zeros(graph: Graph) -> dict[str, Any] | None:
    """An array of zeros for each required input, with 1 for each dynamic dimension.

    None if the model doesn't declare an input's type or dimensions.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    for info in graph.inputs:
        if info.opaque:
            # A language model: it writes one token after a prompt of one.
            arrays[info.name] = b'{"n-predict": 1}' if info.optional else b"a"
        elif info.optional:
            continue
        elif info.dtype is None or info.dims is None:
            return None
        else:
            dims = [dim if isinstance(dim, int) else 1 for dim in info.dims]
            arrays[info.name] = np.full(dims, "", object) if info.dtype == object else np.zeros(dims, info.dtype)
    return arrays


_HEADINGS = ("graph", "encoding", "runtime", "device", "model")
_LONGEST = ("", "tensorflowlite", "ai_edge_litert", "cuda:0", "")  # names that a check may find

_FAILED = "FAILED"
_DIGITS_SHOWN = 12  # of a sha256: --json has all of them


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    paths = ", ".join(row["paths"])
    settings = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in row["options"].items()]
    if row["sha256"] is not None:
        settings.append(f"sha256={row['sha256'].strip()[:_DIGITS_SHOWN]}...")
    if row["convert_types"] is not None:
        settings.append(f"convert-types={json.dumps(row['convert_types'])}")
    if row["share_variables"]:
        settings.append("share-variables=true")
    if row["remote"]:
        settings.append("on another server, never isolated")
    if row["max_batch"] is not None:
        settings.append(f"max-batch={row['max_batch']}")
    if row["max_delay"]:
        settings.append(f"max-delay={row['max_delay']:g}")
    model = f"{paths} ({', '.join(settings)})" if settings else paths
    if "error" in row:
        model += f": {_FAILED}: {row['error']}"
    elif "load_ms" in row:
        model += f": loaded in {row['load_ms']} ms, " + (row.get("why") or f"ran in {row['run_ms']} ms")
    return (
        row["name"],
        row["encoding"],
        row["runtime"] or "",
        row.get("device") or ("remote" if row["remote"] else row["target"]),
        model,
    )
