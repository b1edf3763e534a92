"""Computes that come again and again with inputs of the same dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.graph.runner import Runner, run
from wasi_nn.process import forks

if TYPE_CHECKING:
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.types import Array


class BoundCompute:
    """Computes of an execution context on the same arrays, `inputs`, in the graph's order. The caller changes their
    elements in between.

    The runtime may keep the arrays bound, and write into the outputs of the last compute. The inputs and outputs that
    the context has by `set_input` and `compute` stay as they are.
    """

    def __init__(self, runner: Runner, guard: ComputeGuard | None, inputs: list[Array]) -> None:
        self.inputs = inputs
        self._runner = runner
        self._guard = guard
        self._forks = forks.count
        self._outputs: Sequence[Array] = ()
        self._run = partial(run, runner, inputs, ())

    def __call__(self) -> Sequence[Array]:
        """Compute. The outputs are valid until the next compute; they are the same object as the last ones if they are
        in the same arrays. Raises `NNError` as `ExecutionContext.compute` does."""
        if self._forks != forks.count:
            raise forks.made_elsewhere("execution context")
        try:
            outputs = self._run() if self._guard is None else self._guard.run(self._runner, self._run)
        except BaseException:
            self._reuse(())
            raise
        if outputs is not self._outputs:
            self._reuse(outputs)
        return outputs

    def replace(self, place: int, array: Array) -> None:
        """Take another array of the same type and dimensions for an input."""
        # In a new list, since a runner may have returned the former one as its outputs.
        self.inputs = [*self.inputs[:place], array, *self.inputs[place + 1 :]]
        self._reuse(self._outputs)

    def _reuse(self, outputs: Sequence[Array]) -> None:
        self._outputs = outputs
        self._run = partial(run, self._runner, self.inputs, outputs)
