"""Graphs: loaded models. A backend supplies one that describes its inputs and outputs and makes runners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Self

from wasi_nn.arguments import as_json
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.graph.fitting import require_rank
from wasi_nn.graph.named_tensors import OutputsByName, input_pairs, named_inputs
from wasi_nn.graph.runner import RunFunction, Runner, as_runner, run
from wasi_nn.process import forks
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.graph.variables import Variables
    from wasi_nn.types import Array


class Graph(ABC):
    """A loaded model, ready to be run from any number of threads.

    `inputs` and `outputs` are in the model's own order, which is the order of the core ABI's indexes. `encoding` is
    the model's. `device` is the device that the graph really runs on (`cpu`, `cuda:0` ...; `remote` on another server).
    `metadata` are texts that the model has about itself.
    `outputs_vary` is true for a model that doesn't declare its outputs: `outputs` is empty then, and runners return
    `Outputs.named(...)`.
    """

    encoding: GraphEncoding = GraphEncoding.AUTODETECT
    runtime: str = ""
    """The ML runtime that runs the graph: `Backend.runtime`."""
    device: str = "cpu"
    outputs_vary: bool = False
    keeps_state: bool = False
    """Whether a context's computes depend on those before: each context has state of its own."""
    signature: str = ""
    """The name of the signature that the graph runs; empty if the model has none with a name."""
    signatures: tuple[str, ...] = ()
    """The names of all signatures of the model."""

    def __init__(
        self,
        inputs: Iterable[TensorInfo],
        outputs: Iterable[TensorInfo],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        for info in (*self.inputs, *self.outputs):
            require_rank(info)
        self.metadata = dict(metadata or {})
        self._is_closed = False
        self._forks = forks.count
        forks.leak_in_child(self)

    @property
    def platform(self) -> str:
        """What runs the graph and what it is, as one word."""
        return f"{self.runtime}_{self.encoding.value}"

    def take_after(self, graph: Graph) -> None:
        """Be of the same encoding, runtime, device, signatures and kind of outputs and state as another graph."""
        self.encoding, self.runtime, self.device = graph.encoding, graph.runtime, graph.device
        self.outputs_vary, self.keeps_state = graph.outputs_vary, graph.keeps_state
        self.signature, self.signatures = graph.signature, graph.signatures

    def require_usable(self) -> None:
        """Raise `NNError` with `runtime-error` if the graph is closed, or this is a fork of the process that loaded
        it."""
        if self._forks != forks.count:
            raise forks.made_elsewhere("graph")
        if self._is_closed:
            raise NNError(ErrorCode.RUNTIME_ERROR, "the graph is closed")

    def close(self) -> None:
        """Begin nothing more with the graph, and end its worker if it is isolated. What contexts of it hold in this
        process goes with the last of them. Of no effect if it is closed."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def known_output_bytes(self) -> int:
        """The bytes of those outputs whose element type and dimensions are fixed."""
        return sum(
            prod(map(int, info.dims or ())) * info.dtype.itemsize
            for info in self.outputs
            if info.has_fixed_dims and info.dtype is not None and not info.dtype.hasobject
        )

    def configured(self, config: memoryview) -> Graph:
        """The same model with a guest's configuration; this graph itself if the configuration is empty.

        Raises `NNError`: `unsupported-operation` where graphs of this encoding take none, `invalid-encoding` for one
        that can't be read, `invalid-argument` for a value that doesn't fit.
        """
        if len(as_json("config", config)) == 0:
            return self
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"graphs of {self.encoding.value} take no configuration")

    def variables(self) -> Variables:
        """Optional: a new set of the model's variables, with the model's own values, and with it the graphs of all
        signatures. Raises `NNError` with `unsupported-operation` where the model has neither variables nor other
        signatures, as by default."""
        message = f"this graph of {self.encoding.value} has no variables and no other signatures"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)

    @abstractmethod
    def runner(self) -> Runner | RunFunction:
        """A new runner of this graph. Runners share no state that a compute changes."""

    def init_execution_context(self) -> ExecutionContext:
        """A new execution context, independent of every other one."""
        return ExecutionContext(self)

    def compute(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> dict[str, Array]:
        """Run once, without state: an array for each input's name gives an array for each output's name.

        Where only one input must be set, `inputs` may be its array. Arrays aren't cast: they must have the declared
        dtype. Numbers in lists take it. A name that no input has may be a decimal index. An output is found by an
        alias too (`TensorInfo.aliases`). Raises
        `NNError`: `invalid-argument` for what doesn't fit, `runtime-error` when the runtime fails.
        """
        self.require_usable()
        arrays = named_inputs(self, input_pairs(self, inputs))
        return OutputsByName(self, run(as_runner(self.runner()), arrays, None))

    def __repr__(self) -> str:
        tensors = f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs)) or '?'}"
        return f"<{type(self).__name__} of {self.encoding.value} on {self.runtime or '?'} ({self.device}): {tensors}>"
