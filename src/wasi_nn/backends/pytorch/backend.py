"""PyTorch models, run by torch: TorchScript archives and exported programs (`torch.export.save`, .pt2).

A graph has one builder, the archive; its content decides between the two kinds. A named graph is a file, or a directory
with `model.pt` or `model.pt2`. Options: `device` (a device by torch's name, such as `cuda:1`; it takes precedence over
the target), `signature` (the method or program to run, where the model has several).

A TorchScript model doesn't store the element types and dimensions of its tensors. It accepts any, and fails in the
compute if they don't fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import CPU, Device, choose_device
from wasi_nn.backends.options import check_options, is_text, only_builder
from wasi_nn.backends.pytorch.archive import Kind, kind_of, open_bounded, require_harmless_script, require_loadable
from wasi_nn.backends.pytorch.export import open_exported
from wasi_nn.backends.pytorch.script import open_script
from wasi_nn.backends.pytorch.tensors import plain_errors
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.process.files import mapped_file
from wasi_nn.types import ExecutionTarget, GraphEncoding

_GPUS = ("cuda", "mps", "xpu")  # ROCm's devices are cuda's to torch
_ACCEPTS = {"device": is_text, "signature": is_text}
_DEVICE_NAME = re.compile(rf"(cpu|{'|'.join(_GPUS)})(:\d+)?")


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
        device = self._device(target, options)
        with plain_errors():
            reader = open_bounded(model)
            if kind is Kind.TORCHSCRIPT:
                require_harmless_script(reader)
            return _OPEN[kind](model, device, options.get("signature"), trusted=False)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        with mapped_file(path) as content:
            kind = require_loadable(kind_of(content))
        device = self._device(target, options)
        with plain_errors():
            return _OPEN[kind](path, device, options.get("signature"), trusted=True)

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(self.encoding, options, _ACCEPTS)

    def list_devices(self) -> Sequence[Device]:
        import torch

        counts = {kind: getattr(torch, kind).device_count() for kind in _GPUS if hasattr(torch, kind)}
        return as_devices(counts)

    def _device(self, target: ExecutionTarget, options: Mapping[str, Any]) -> str:
        self.check_options(options)
        name = options.get("device")
        if name is not None and not _DEVICE_NAME.fullmatch(name):
            message = (
                f"{name!r} is no device: give cpu, or one of {', '.join(_GPUS)}, also with a number, such as cuda:0"
            )
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return choose_device(self.list_devices(), target, self.runtime, "cpu" if name == "cpu:0" else name).name


def as_devices(counts: Mapping[str, int]) -> list[Device]:
    """torch's devices: the CPU, and the GPUs of each kind, from their numbers."""
    names = [f"{kind}:{number}" for kind, count in counts.items() for number in range(count)]
    return [CPU, *(Device(name, ExecutionTarget.GPU, name) for name in names)]


_OPEN: dict[Kind, Callable[..., Graph]] = {Kind.TORCHSCRIPT: open_script, Kind.EXPORTED: open_exported}
