"""Graphs and guests on a cluster of Ray: over a data set (`ComputeGraph`, `RunGuest`) and as a service (`app`).

    dataset.map_batches(wasi_nn.ray.ComputeGraph, fn_constructor_args=("graphs.toml", "net"), ...)
    serve.run(wasi_nn.ray.app("graphs.toml"))

The extra `ray` installs Ray Data and Ray Serve; nothing outside of this package imports them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as that of `typing`, without the time that its import takes
if TYPE_CHECKING:
    from typing import Any

    from wasi_nn.ray.application import app as app, build as build
    from wasi_nn.ray.graph_batches import ComputeGraph as ComputeGraph
    from wasi_nn.ray.guest_rows import RunGuest as RunGuest

_MODULE_OF = {"app": "application", "build": "application", "ComputeGraph": "graph_batches", "RunGuest": "guest_rows"}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
