"""`TorchGraph` and `TorchVariables`: what the graphs of TorchScript and of exported programs share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.pytorch.tensors import as_array, as_tensor, named_leaves, plain_errors, template_of
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import RunFunction
from wasi_nn.graph.variables import Variables, arrays_of, require_fitting
from wasi_nn.limits.stopping import turn
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    import torch

    from wasi_nn.types import Array

ModuleCall = Callable[["Sequence[Array]", "Callable[[Array], torch.Tensor]"], Any]
"""Calls a module: takes the arrays of its inputs and a function that makes tensors of them; returns its result."""


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """The bytes of memory behind tensors. Memory that several of them share counts once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


class TorchVariables(Variables):
    """One set of the variables of a model: tensors of modules that the graphs of this set run.

    tensors  gives the tensors that are variables, by name. It may give others after a compute
    make     makes the graph of a signature on these variables
    nbytes   the bytes of memory of all tensors that were copied for the set
    takes_turns  whether computes must be made one after another, since they change the modules: also what is no tensor
    """

    def __init__(
        self,
        tensors: Callable[[], Mapping[str, torch.Tensor]],
        make: Callable[[str, TorchVariables], Graph],
        nbytes: int,
        *,
        takes_turns: bool,
    ) -> None:
        super().__init__()
        self._tensors = tensors
        self._make = make
        self.nbytes = nbytes
        self._lock = threading.Lock() if takes_turns else None

    @property
    def state_bytes(self) -> int:
        with self.turn():  # a compute may make variables larger, or of one element many
            return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors().values())

    def turn(self) -> AbstractContextManager[None]:
        """While no other thread uses the modules. Raises `NNError` in a fork, where such a thread doesn't exist."""
        self.require_made_here()
        return nullcontext() if self._lock is None else turn(self._lock)

    def graph(self, signature: str) -> Graph:
        return self._make(signature, self)

    def get(self) -> dict[str, Array]:
        import torch

        with self.turn(), torch.no_grad(), plain_errors():
            return {
                name: as_array(f"variable {name!r}", tensor, set(), kept=True)
                for name, tensor in self._tensors().items()
            }

    def templates(self) -> Mapping[str, Array]:
        with self.turn():
            return _templates(self._tensors())

    def set(self, values: Mapping[str, Array]) -> None:
        import torch

        with self.turn(), torch.no_grad(), plain_errors():
            tensors, new = self._tensors(), arrays_of(values)
            require_fitting(_templates(tensors), new)
            for name in new:
                _require_settable(name, tensors[name])
            for name, value in new.items():
                tensors[name].copy_(as_tensor(value, "cpu", copy=False))


def _templates(tensors: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: template_of(f"variable {name!r}", tensor) for name, tensor in tensors.items()}


def _require_settable(name: str, tensor: torch.Tensor) -> None:
    """Raise `NNError` for a variable that can't be set: so all of them are, or none is."""
    import torch

    if torch._debug_has_internal_overlap(tensor) == 1:
        message = f"variable {name!r} can't be set: some of its elements are one in memory"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


class TorchGraph(Graph):
    """A graph that is a module of torch.

    With `writes`, the module may write to its inputs, which are copied then. With `keeps_state` or `learns`, each
    context has its own copy of the module, since a compute changes the module's tensors or their gradients; unless the
    graph has `shared` variables.
    """

    encoding = GraphEncoding.PYTORCH
    runtime = "torch"
    writes = keeps_state = learns = False
    shared: TorchVariables | None = None
    weights: frozenset[int] = frozenset()
    """The addresses of the module's tensors, where reference counts don't show that the module has them."""

    def call(self) -> ModuleCall:
        """The function that calls the module, for one runner."""
        raise NotImplementedError

    def runner(self) -> RunFunction:
        return partial(self._run, self.call())

    def _mode(self) -> AbstractContextManager[Any]:
        import torch

        if self.learns:
            return torch.enable_grad()
        # Autograd takes no tensors that inference mode made, and another signature of the set may learn.
        return torch.inference_mode() if self.shared is None else torch.no_grad()

    def _run(self, call: ModuleCall, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        taken = set(self.weights)

        def tensor(array: Array) -> torch.Tensor:
            made = as_tensor(array, self.device, copy=self.writes)
            taken.add(made.untyped_storage().data_ptr())
            return made

        kept = self.keeps_state or self.shared is not None
        with nullcontext() if self.shared is None else self.shared.turn(), self._mode(), plain_errors():
            leaves = list(named_leaves(call(inputs, tensor)))
            outputs = [(name, as_array(f"output {name!r}", value, taken, kept=kept)) for name, value in leaves]
        if self.outputs_vary:
            return Outputs.named(outputs)
        if len(outputs) != len(self.outputs):
            message = (
                f"the number of outputs that the model returned is {len(outputs)}, not {len(self.outputs)} as declared"
            )
            raise NNError(ErrorCode.RUNTIME_ERROR, message)
        return [array for _, array in outputs]
