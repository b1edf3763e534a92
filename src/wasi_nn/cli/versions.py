"""The versions of this package, of Python, of the engine and of the runtimes (`wasi-nn --version --json`).

Nothing is imported but the packages' metadata, so that a broken runtime is listed too.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

ENGINE = "wasmtime"
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorflow": ("tensorflow-cpu", "tensorflow"),
    "torch": ("torch",),
    "ai_edge_litert": ("ai-edge-litert",),
    "xllamacpp": ("xllamacpp",),
}
"""The packages that may bring each runtime, the one of this package's extra first."""
TESTED: Mapping[str, str] = {
    "ai-edge-litert": "2.3",
    "numpy": "2.4",
    "onnxruntime": "1.32",
    "openvino": "2026.4",
    "tensorflow-cpu": "2.21",
    "torch": "2.13",
    "wasmtime": "50.0",
    "xllamacpp": "2026.10",
}
"""The versions that this package was tested with, as far as they count here."""

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,.-]*\])?\s*(?:[^;]*>=\s*([\d.]+))?")
_EXTRA = re.compile(r"extra == ['\"]([\w.-]+)['\"]")


def installed(*names: str) -> str | None:
    """The version of the first of these packages that is installed; None if none is."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


@cache
def requirements() -> Mapping[str, Mapping[str, str]]:
    """The packages that each extra needs, with the least version of each; those of no extra are under an empty name.
    Empty if this package isn't installed, but only on the path."""
    try:
        metadata = distribution("wasi-nn")
    except PackageNotFoundError:
        return {}
    extras: dict[str, dict[str, str]] = {"": {}}
    for text in metadata.requires or ():
        needed = _REQUIREMENT.match(text)
        extra = _EXTRA.search(text)
        if needed is not None and needed[1] != "wasi-nn":
            extras.setdefault(extra[1] if extra else "", {})[needed[1]] = needed[2] or ""
    extras.pop("dev", None)
    return extras


def versions() -> dict[str, Any]:
    """What a report of a bug needs. docs/reference/command.md has the keys."""
    from wasi_nn import __version__

    extras = {name: all(map(_is_met, needed)) for name, needed in requirements().items() if name}
    return {
        "wasi_nn": __version__,
        "engine": {"name": ENGINE, "version": installed(ENGINE)},
        "runtimes": {runtime: installed(*names) for runtime, names in DISTRIBUTIONS.items()},
        "numpy": installed("numpy"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "extras": extras,
    }


def _is_met(name: str) -> bool:
    alike = next((names for names in DISTRIBUTIONS.values() if name in names), (name,))
    return installed(*alike) is not None


def numbers(text: str, count: int = 3) -> tuple[int, ...]:
    """The first numbers of a version, for comparisons."""
    return tuple(map(int, re.findall(r"\d+", text.partition("+")[0])[:count]))


def least(name: str) -> str:
    """The least version of a package that this one takes; empty if any will do."""
    return next((needed[name] for needed in requirements().values() if name in needed), "")
