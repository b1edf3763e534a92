"""Guests that train: sessions on graphs of `variables_backend`, in this process or in a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from variables_backend import TARGET, TrainingBackend, X

from wasi_nn import ExecutionTarget, Graph, Registry, Session
from wasi_nn.isolation import Isolation, isolated_graph
from wasi_nn.session import state_files


def isolated(
    program: str = "", *, settings: Isolation | None = None, convert_types: bool = False, **options: Any
) -> Any:
    """A graph in a worker."""
    return isolated_graph.load(
        TrainingBackend(),
        [memoryview(program.encode())],
        settings or Isolation(),
        ExecutionTarget.CPU,
        options,
        convert_types=convert_types,
    )


class Guest:
    """A guest with one graph, in a session of its own or in a given one."""

    def __init__(self, graph: Graph | Registry, **session: Any) -> None:
        registry = graph if isinstance(graph, Registry) else Registry({"m": graph})
        self.session = Session(registry, **session)
        self.graph = self.session.load_by_name("m")

    def context(self, signature: str = "infer") -> int:
        return self.session.init_execution_context(self.session.use_signature(self.graph, signature))

    def inferred(self, context: int) -> list[float]:
        self.session.set_input(context, "x", X)
        self.session.compute(context)
        return self.session.get_output(context, 0).tolist()  # type: ignore[no-any-return]

    def train(self, context: int) -> float:
        self.session.set_input(context, "x", X)
        self.session.set_input(context, "target", TARGET)
        self.session.compute(context)
        return float(self.session.get_output(context, 0))

    def state(self) -> dict[str, Any]:
        content = memoryview(self.session.state_get(self.graph))
        return {name: value.tolist() for name, value in state_files.values_in(content).items()}


def state_of(**values: Any) -> bytes:
    """A state with values of f32."""
    return state_files.written({name: np.asarray(value, np.float32) for name, value in values.items()})
