"""ONNX Runtime's execution providers: those of a build of the runtime as devices, and the choice for a graph."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.types import ExecutionTarget

# The execution providers that serve a target, the most specific first. Others are used only by their names.
_PROVIDERS = (
    Device("CPUExecutionProvider", ExecutionTarget.CPU, "cpu"),
    Device("CUDAExecutionProvider", ExecutionTarget.GPU, "cuda:0"),
    Device("MIGraphXExecutionProvider", ExecutionTarget.GPU, "rocm:0"),
    Device("ROCMExecutionProvider", ExecutionTarget.GPU, "rocm:0"),
    Device("DmlExecutionProvider", ExecutionTarget.GPU, "directml:0"),
    Device("WebGpuExecutionProvider", ExecutionTarget.GPU, "webgpu:0"),
)
LABELS = {provider.name: provider.label for provider in _PROVIDERS}
"""The name in `Graph.device` for each of them."""


def devices(providers: Sequence[str]) -> list[Device]:
    """The execution providers of this build of the runtime, as devices."""
    known = [provider for provider in _PROVIDERS if provider.name in providers]
    return known + [Device(name, None, name) for name in providers if name not in LABELS]


def choose_providers(
    target: ExecutionTarget, available: Sequence[str], names: Sequence[str] | None = None
) -> list[str]:
    """The execution providers with these names; without names, those for a target. All are `available` in this build.

    A GPU's provider is followed by the CPU's, for the operators that the GPU's lacks: ONNX Runtime requires that of
    most models. Raises `TargetUnavailable` if one isn't available.
    """
    known = devices(available)
    if names is not None:
        return [choose_device(known, target, "onnxruntime", name, "execution provider").name for name in names]
    chosen = choose_device(known, target, "onnxruntime", kind="execution provider").name
    return [chosen] if target is ExecutionTarget.CPU else [chosen, "CPUExecutionProvider"]
