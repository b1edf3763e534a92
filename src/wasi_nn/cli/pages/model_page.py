"""The page of a model: its inputs, outputs, metadata and operators."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from wasi_nn.cli.pages.page import write_page
from wasi_nn.errors import printable, shortened
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.loading.model_operators import ModelOperators

_LONGEST = 4000  # characters of a text
_MOST_ROWS = 2000  # of each list


def write_model_page(out: str | os.PathLike[str], model: str, graph: Graph, operators: ModelOperators | None) -> None:
    """Write the page of a model. Raises `NNError` with `runtime-error` if the page can't be written."""
    counts = [] if operators is None else [[_text(name), count] for name, count in operators.counts.items()]
    header = {} if operators is None else operators.header
    notes = ["The outputs are known only after a run."] if graph.outputs_vary else []
    outputs = () if graph.outputs_vary else graph.outputs
    data = {
        "facts": [["encoding", graph.encoding.value], ["runtime", graph.runtime], ["device", graph.device]],
        "inputs": _tensors(graph.inputs, "inputs", notes),
        "outputs": _tensors(outputs, "outputs", notes),
        "metadata": _first([[_text(key), _text(value)] for key, value in graph.metadata.items()], "metadata", notes),
        "header": _first([[_text(key), _text(value)] for key, value in sorted(header.items())], "keys", notes),
        "noun": "operators" if operators is None else operators.noun,
        "operators": _first(counts, "operators", notes),
        "notes": notes,
    }
    write_page(out, f"Model {os.path.basename(os.path.normpath(model))}", ["model.js"], data)


def _tensors(infos: Iterable[TensorInfo], noun: str, notes: list[str]) -> list[Any]:
    rows = [[_text(info.name), info.type_name, _text(info.dims_text), info.optional] for info in infos]
    return _first(rows, noun, notes)


def _first(rows: list[Any], noun: str, notes: list[str]) -> list[Any]:
    if len(rows) > _MOST_ROWS:
        notes.append(
            f"The page shows the first {_MOST_ROWS:,} of {len(rows):,} {noun}; wasi-nn inspect --json shows all."
        )
    return rows[:_MOST_ROWS]


def _text(text: str) -> str:
    return printable(shortened(text, _LONGEST))
