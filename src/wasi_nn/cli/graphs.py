"""`wasi-nn graphs`: the graphs that guests would find by name, and whether they work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wasi_nn.cli import FAILURE, UsageError, graph_options

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.registry import Registry


def add_parser(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `graphs` to the command's parser."""
    parser = subcommands.add_parser(
        "graphs",
        help="list named graphs, and check them",
        description="List the graphs that a guest would find by name. Exit code 1 if --check finds one that fails.",
        allow_abbrev=False,
    )
    graph_options.add(parser)
    parser.add_argument("--check", action="store_true", help="load each, and run it once on zeros")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """List the graphs; gives the exit code."""
    from wasi_nn.errors import printable

    if not (options.graphs or options.graph or options.nn_graph or options.nn_preload):
        raise UsageError("there are no graphs to list: name some by --graphs FILE or --graph NAME=PATH")
    registry = graph_options.registry(options, graph_options.rules(options))
    rows = []
    for name in registry:
        row = _row(name, registry.named(name))
        if options.check:
            row |= _check(registry, name)
        rows.append(row)
        if not options.json:
            print(printable(_line(row)), flush=True)
    if options.json:
        import json

        print(json.dumps(rows, indent=2))
    return FAILURE if any("error" in row for row in rows) else 0


def _row(name: str, named: NamedGraph) -> dict[str, Any]:
    from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

    source = named.source
    paths = source if isinstance(source, list | tuple) else [source]
    return {
        "name": name,
        "paths": [str(path) for path in paths],
        "encoding": parse_enum(GraphEncoding, named.encoding).value,
        "target": parse_enum(ExecutionTarget, named.target).value,
        "runtime": named.runtime,
        "options": dict(named.options),
        "sha256": named.sha256,
    }


def _check(registry: Registry, name: str) -> dict[str, Any]:
    """What came of loading a graph and running it once."""
    from time import perf_counter

    from wasi_nn.errors import NNError

    started = perf_counter()
    try:
        graph = registry.get(name)
        loaded = perf_counter()
        found: dict[str, Any] = {"encoding": graph.encoding.value, "runtime": graph.runtime, "device": graph.device}
        found["load_ms"] = round(1000 * (loaded - started), 1)
        inputs = _zeros(graph)
        if inputs is None:
            return found | {"run_ms": None, "why": "not run: the model doesn't say what its inputs are"}
        graph.compute(inputs)
        return found | {"run_ms": round(1000 * (perf_counter() - loaded), 1)}
    except NNError as error:
        return {"error": str(error), "code": error.code.value}


def _zeros(graph: Graph) -> dict[str, Any] | None:
    """An array of zeros for each input that must be set, with 1 for each dynamic dimension; None if that can't be."""
    import numpy as np

    arrays: dict[str, Any] = {}
    for info in graph.inputs:
        if info.opaque:
            # Of a language model: one token more to a prompt of one.
            arrays[info.name] = b'{"n-predict": 1}' if info.optional else b"a"
        elif info.optional:
            continue
        elif info.dtype is None or info.dims is None:
            return None
        else:
            dims = [dim if isinstance(dim, int) else 1 for dim in info.dims]
            arrays[info.name] = np.full(dims, "", object) if info.dtype == object else np.zeros(dims, info.dtype)
    return arrays


def _line(row: dict[str, Any]) -> str:
    what = f"{row['name']}: {row['encoding']} on {row.get('device') or row['target']}"
    if row["runtime"]:
        what += f" by {row['runtime']}"
    what += f", {', '.join(row['paths'])}"
    if "error" in row:
        return f"{what}: FAILED: {row['error']}"
    if "load_ms" not in row:
        return what
    ran = row.get("why") or f"ran in {row['run_ms']} ms"
    return f"{what}: loaded in {row['load_ms']} ms, {ran}"
