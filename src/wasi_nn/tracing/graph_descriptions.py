"""Descriptions of graphs in a trace: the text of each field, which a replay compares.

Nothing is parsed again: a hostile trace can only make the texts differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wasi_nn.graph.description import GraphDescription
    from wasi_nn.graph.tensor_info import TensorInfo

OF_RUNTIME = ("encoding", "runtime", "device", "metadata")
"""The fields in which runtimes differ that run the same network."""

_BEFORE, _SHOWN = 40, 160  # bytes of a text before the place where it differs, and all that is shown


def field_texts(description: GraphDescription) -> dict[str, bytes]:
    """The text of each field, as JSON."""
    outputs = description.outputs
    fields: dict[str, Any] = {
        "encoding": description.encoding.value,
        "runtime": description.runtime,
        "device": description.device,
        "signature": description.signature,
        "signatures": description.signatures,
        "inputs": _tensors(description.inputs),
        "outputs": None if outputs is None else _tensors(outputs),
        "metadata": description.metadata,
    }
    return {name: _text(value) for name, value in fields.items()}


def tensor_text(info: TensorInfo) -> bytes:
    """The text of an output, as JSON."""
    return _text(_tensors([info])[0])


def _tensors(infos: Iterable[TensorInfo]) -> list[Any]:
    return [
        {
            "name": info.name,
            "type": info.type_name,
            "dims": None if info.dims is None else list(info.dims),
            "optional": info.optional,
        }
        for info in infos
    ]


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def text_difference(was: memoryview, now: bytes) -> str | None:
    """The difference between a text and the recorded one, as one line with the place; None if they are equal."""
    if was == now:
        return None
    both = min(len(was), len(now))
    differs = np.frombuffer(was[:both], np.uint8) != np.frombuffer(now, np.uint8, both)
    place = int(differs.argmax()) if differs.any() else both
    start = max(place - _BEFORE, 0)
    shown = (bytes(text[start : start + _SHOWN]).decode("utf-8", "replace") for text in (memoryview(now), was))
    beginning = "..." if start else ""
    return "it is {}, was {}".format(*(f"{beginning}{text}" for text in shown))
