"""The outputs of a runner, where they are more than one array for each declared output."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wasi_nn.graph.tensor_info import TensorInfo

if TYPE_CHECKING:
    from wasi_nn.types import Array


class Outputs(list["Array"]):
    """A list of output arrays with facts about them.

    `infos` describes each array, for a model that doesn't declare its outputs; None for a model that does
    (`Graph.outputs`). `context_full` is true if the outputs end because a language model's context is full.
    """

    def __init__(
        self, arrays: Iterable[Array], infos: Sequence[TensorInfo] | None = None, *, context_full: bool = False
    ) -> None:
        super().__init__(arrays)
        self.infos = infos
        self.context_full = context_full

    @classmethod
    def named(cls, pairs: Iterable[tuple[str, Array]]) -> Outputs:
        """Outputs that the model doesn't declare, from pairs of name and array."""
        named = list(pairs)
        infos = [TensorInfo(name, array.dtype, array.shape) for name, array in named]
        return Outputs((array for _, array in named), infos)


class NamedOutputs(Outputs):
    """The earlier form of `Outputs.named(pairs)`, with a `DeprecationWarning`."""

    def __init__(self, named: Iterable[tuple[str, Array]]) -> None:
        _warn("NamedOutputs", "Outputs.named(pairs)")
        outputs = Outputs.named(named)
        super().__init__(outputs, outputs.infos)


class EndedEarly(Outputs):
    """The earlier form of `Outputs(arrays, context_full=True)`, with a `DeprecationWarning`."""

    def __init__(self, arrays: Iterable[Array]) -> None:
        _warn("EndedEarly", "Outputs(arrays, context_full=True)")
        super().__init__(arrays, context_full=True)


def _warn(name: str, instead: str) -> None:
    warnings.warn(f"wasi_nn.{name} is deprecated: use wasi_nn.{instead}", DeprecationWarning, stacklevel=3)
