"""Devices: each backend lists those of its runtime, and `choose_device` chooses one for a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wasi_nn.errors import TargetUnavailable
from wasi_nn.types import ExecutionTarget


@dataclass(frozen=True)
class Device:
    """A device that a runtime can use on this machine."""

    name: str
    """The runtime's own name, such as `CUDAExecutionProvider`: in options and error messages."""
    target: ExecutionTarget | None
    """The target that the device serves; None if it is used only by its name."""
    label: str
    """The name in `Graph.device`, such as `cuda:0`."""


CPU = Device("cpu", ExecutionTarget.CPU, "cpu")
REMOTE = Device("remote", ExecutionTarget.CPU, "remote")
"""The device of all models on other servers, which choose their own devices."""


def choose_device(
    devices: Sequence[Device], target: ExecutionTarget, runtime: str, name: str | None = None, kind: str = "device"
) -> Device:
    """The device with a name, or the first of its kind (`cuda` for `cuda:0`, `GPU` for `GPU.0`); without a name, the
    first that serves the target. Raises `TargetUnavailable`, with the names of all devices, if there is none."""
    if name is None:
        chosen = device_for(devices, target)
    else:
        chosen = next((it for it in devices if it.name == name or it.name.startswith((f"{name}:", f"{name}."))), None)
    if chosen is None:
        names = ", ".join(device.name for device in devices) or "none"
        wanted = f"for {target.value}" if name is None else name
        raise TargetUnavailable(f"{runtime} has no {kind} {wanted} here (it has {names})")
    return chosen


def device_for(devices: Sequence[Device], target: ExecutionTarget) -> Device | None:
    """The first device that serves a target."""
    return next((device for device in devices if device.target is target), None)
