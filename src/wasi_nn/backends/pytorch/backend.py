"""PyTorch models, run by torch: TorchScript archives and exported programs (`torch.export.save`, .pt2).

A graph has one builder, the archive; its content decides which of the two kinds it is. By name it is a file, or a
directory with `model.pt` or `model.pt2`. Options: `device` (a device by torch's name, such as `cuda:1`, whatever the
target is).

A TorchScript model doesn't store the element types and dimensions of its tensors. It accepts any, and fails in the
compute if they don't fit.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.options import check_options, is_text, only_builder
from wasi_nn.backends.pytorch.archive import (
    Kind,
    kind_of,
    open_bounded,
    require_harmless_script,
    require_loadable,
)
from wasi_nn.backends.pytorch.export import open_exported
from wasi_nn.backends.pytorch.script import open_script
from wasi_nn.backends.pytorch.tensors import plain_errors
from wasi_nn.errors import ErrorCode, NNError, TargetUnavailable
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

_GPUS = ("cuda", "mps", "xpu")  # ROCm's devices are cuda's to torch


class PyTorchBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.PYTORCH
    runtime = "torch"
    extra = "pytorch"
    model_files = ("model.pt", "model.pt2")
    withstands_hostile_bytes = False  # a model is a program, and torch's operators trust their arguments
    works_in_forks = False

    def sniff(self, model: memoryview) -> bool:
        return kind_of(model) is not None

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        model = only_builder(self.encoding, builders)
        kind = require_loadable(kind_of(memoryview(model)))
        device = device_for(target, options)
        with plain_errors():
            reader = open_bounded(model)
            if kind is Kind.TORCHSCRIPT:
                require_harmless_script(reader)
            return _OPEN[kind](model, device, trusted=False)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with memoryview(data) as view:
                kind = require_loadable(kind_of(view))
        device = device_for(target, options)
        with plain_errors():
            return _OPEN[kind](path, device, trusted=True)

    def devices(self) -> Mapping[ExecutionTarget, str]:
        there = devices_here()
        found = {ExecutionTarget.CPU: "cpu"}
        gpu = next((kind for kind in _GPUS if there.get(kind)), None)
        return found if gpu is None else found | {ExecutionTarget.GPU: f"{gpu}:0"}


def devices_here() -> dict[str, int]:
    """How many devices of each kind torch can use here."""
    import torch

    counts = {kind: getattr(torch, kind).device_count() for kind in _GPUS if hasattr(torch, kind)}
    return {"cpu": 1} | {kind: count for kind, count in counts.items() if count}


def choose_device(target: ExecutionTarget, wanted: str | None, there: Mapping[str, int]) -> str:
    """The device for a target, or the one that an operator wants, out of how many there are of each kind.

    Raises `TargetUnavailable` where there is none, `NNError` with `invalid-argument` for what is no device's name.
    """
    has = ", ".join(f"{kind}:{number}" if kind != "cpu" else kind for kind, n in there.items() for number in range(n))
    if wanted is None:
        kinds = {ExecutionTarget.CPU: ("cpu",), ExecutionTarget.GPU: _GPUS, ExecutionTarget.TPU: ()}[target]
        kind = next((kind for kind in kinds if there.get(kind)), None)
        if kind is None:
            raise TargetUnavailable(f"torch has no device for {target.value} here (it has {has})")
        return kind if kind == "cpu" else f"{kind}:0"
    kind, _, number = wanted.partition(":")
    if not (number or "0").isdecimal() or kind not in ("cpu", *_GPUS) or wanted.endswith(":"):
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"{wanted!r} is no device; it is cpu, or one of {', '.join(_GPUS)} and a number"
        )
    if int(number or 0) >= there.get(kind, 0):
        raise TargetUnavailable(f"torch has no device {wanted} here (it has {has})")
    return kind if kind == "cpu" else f"{kind}:{number or 0}"


def device_for(target: ExecutionTarget, options: Mapping[str, Any]) -> str:
    """The device for a target and options, on this machine."""
    check_options(GraphEncoding.PYTORCH, options, {"device": is_text})
    return choose_device(target, options.get("device"), devices_here())


_OPEN: dict[Kind, Callable[..., Graph]] = {Kind.TORCHSCRIPT: open_script, Kind.EXPORTED: open_exported}
