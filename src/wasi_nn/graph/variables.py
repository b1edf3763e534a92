"""`Variables`: one set of a model's variables, which graphs of all its signatures share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.arguments import as_mapping, as_text
from wasi_nn.errors import ErrorCode, NNError, shortened
from wasi_nn.process import forks
from wasi_nn.types import dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.types import Array


class Variables(ABC):
    """A set of a model's variables, such as weights that a signature `train` improves. It begins with the model's own
    values. `Graph.variables` makes one.

    Graphs that this object gives, and all contexts of these graphs, read and change this one set; every other context
    has variables of its own. Any number of threads may use the set: the backend makes its computes and changes one
    after another where the runtime needs that.
    """

    def __init__(self) -> None:
        self._forks = forks.count
        forks.leak_in_child(self)

    def require_made_here(self) -> None:
        """Raise `NNError` with `runtime-error` in a fork of the process that made the set: its runtime, and the threads
        that have its locks, don't exist there."""
        if self._forks != forks.count:
            raise forks.made_elsewhere("set of variables")

    nbytes: int = 0
    """The memory in bytes that the set takes, beside what the graph takes itself."""

    @property
    def state_bytes(self) -> int:
        """Optional: the bytes of all arrays that `get` gives, for a check before they are copied. The default:
        `nbytes`."""
        return self.nbytes

    @property
    def is_lost(self) -> bool:
        """Whether the set is gone for good, as with the worker of an isolated graph. Every use of it is an error
        then."""
        return False

    @abstractmethod
    def graph(self, signature: str) -> Graph:
        """The graph that runs a signature on these variables. The name is one of `Graph.signatures`, or that of the
        graph itself, which is empty for a model without named signatures; any other is `NNError` with `not-found`."""

    @abstractmethod
    def get(self) -> dict[str, Array]:
        """Copies of the variables by name; empty for a model that has none. Each has one of wasi-nn's types, or another
        type of numbers that numpy has."""

    def templates(self) -> Mapping[str, Array]:
        """Optional: an array for each variable with its type and dimensions, and with any elements. The default: `get`,
        which copies all elements."""
        return self.get()

    @abstractmethod
    def set(self, values: Mapping[str, Array]) -> None:
        """Set some of the variables to copies of these arrays, which are valid during the call only. The names, types
        and dimensions are those that `get` gives; others are `NNError` with `invalid-argument`, and change nothing."""


class OtherVariables(Variables):
    """Another set, for a subclass that changes something of it. The default of `nbytes`, none, isn't the other's."""

    def __init__(self, variables: Variables) -> None:
        super().__init__()
        self._variables = variables

    @property
    def state_bytes(self) -> int:
        return self._variables.state_bytes

    @property
    def is_lost(self) -> bool:
        return self._variables.is_lost

    def graph(self, signature: str) -> Graph:
        return self._variables.graph(signature)

    def get(self) -> dict[str, Array]:
        return self._variables.get()

    def templates(self) -> Mapping[str, Array]:
        return self._variables.templates()

    def set(self, values: Mapping[str, Array]) -> None:
        self._variables.set(values)


def arrays_of(values: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a mapping by name. Raises `NNError` with `invalid-argument` for anything else."""
    wanted = "a mapping of names to arrays, such as Variables.get gives"
    return {name: np.asarray(array) for name, array in as_mapping("values", values, wanted).items()}


def require_signature(name: str, names: Collection[str]) -> None:
    """Raise `NNError` with `not-found` unless a signature has this name. `names` are those of all signatures; that of a
    graph without named signatures is empty."""
    if as_text("signature", name) not in names:
        known = ", ".join(repr(it) for it in dict.fromkeys(names) if it) or "none"
        message = f"no signature is named {shortened(name)!r}; the graph's signatures: {known}"
        raise NNError(ErrorCode.NOT_FOUND, message)


def require_fitting(variables: Mapping[str, Array], values: Mapping[str, Array]) -> None:
    """Raise `NNError` with `invalid-argument` unless each value has the name, the type and the dimensions of a
    variable."""
    for name, value in values.items():
        variable = variables.get(name)
        if variable is None:
            names = ", ".join(map(repr, list(variables)[:20]))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no variable is named {name!r}; the graph's variables: {names}")
        if (value.dtype, value.shape) != (variable.dtype, variable.shape):
            wanted, got = (f"{dtype_name(item.dtype)}{dims_text(item.shape)}" for item in (variable, value))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"variable {name!r} is {wanted}, got {got}")
