"""Sets of variables of a TensorFlow Lite model: one interpreter for each, which the graphs of all signatures use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from wasi_nn.backends.tflite.interpreters import SignatureCall, TfliteModel
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import RunFunction, failure
from wasi_nn.graph.variables import Variables, arrays_of, require_fitting, require_signature
from wasi_nn.limits.stopping import turn
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.backends.tflite.variable_access import VariableAccess
    from wasi_nn.types import Array

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def require_variables(model: TfliteModel) -> None:
    """Raise `NNError` with `unsupported-operation` if a model has variables that can't be read or set."""
    if model.has_variables and model.access is None:
        message = (
            "the variables of this model can't be read or set: it has weights behind its flatbuffer, the order of its "
            "operators, or parts that are newer than this host"
        )
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


class TfliteVariables(Variables):
    """See `Variables`. One thread at a time uses the interpreter."""

    def __init__(self, model: TfliteModel) -> None:
        super().__init__()
        self._model = model
        self._interpreter = model.interpreter()
        self._lock = Lock()
        access = model.access
        self._names = access.names if access is not None else ()
        if access is not None and access.names:
            self._read, self._assign = self._calls(access)
            self.nbytes = sum(array.nbytes for array in self.get().values())

    def _calls(self, access: VariableAccess) -> tuple[SignatureCall, SignatureCall]:
        places = [str(index) for index in range(len(access.names))]
        read = SignatureCall(self._interpreter, access.read, (), places)
        return read, SignatureCall(self._interpreter, access.assign, places, ())

    def graph(self, signature: str) -> Graph:
        require_signature(signature, self._model.names or ("",))
        return _GraphOnVariables(self, self._model, signature)

    def get(self) -> dict[str, Array]:
        require_variables(self._model)
        return dict(zip(self._names, self.run(self._read, ()), strict=True)) if self._names else {}

    def set(self, values: Mapping[str, Array]) -> None:
        require_variables(self._model)
        self.run(self._set_some, arrays_of(values))

    def _set_some(self, new: dict[str, Array]) -> None:
        old = dict(zip(self._names, self._read(()), strict=True)) if self._names else {}
        require_fitting(old, new)
        if new:
            self._assign([*(old | new).values()])

    def new_call(self, signature: str, inputs: Sequence[str], outputs: Sequence[str]) -> SignatureCall:
        """The call of a signature, for `run`."""
        return self.run(partial(SignatureCall, self._interpreter, signature, inputs), outputs)

    def run(self, call: Callable[[Argument], Result], argument: Argument) -> Result:
        """Make a call that uses the interpreter, while no other thread does. An exception of LiteRT becomes an
        `NNError`."""
        self.require_made_here()
        with turn(self._lock):
            try:
                return call(argument)
            except (RuntimeError, ValueError) as error:
                raise failure(error) from error


class _GraphOnVariables(Graph):
    """A signature of a model on a set of variables, which all of its contexts share."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "ai_edge_litert"
    keeps_state = True

    def __init__(self, variables: TfliteVariables, model: TfliteModel, signature: str) -> None:
        interface = model.interface(signature)
        super().__init__(interface.inputs, interface.outputs, interface.metadata)
        self.signature, self.signatures = signature, model.names
        self._set, self._model = variables, model

    def variables(self) -> Variables:
        return TfliteVariables(self._model)

    def runner(self) -> RunFunction:
        name = self.signature
        inputs, outputs = ([info.name for info in infos] for infos in (self.inputs, self.outputs))
        if not name:  # the main graph, whose tensors may have equal names
            assert self._model.access is not None
            name = self._model.access.main
            inputs, outputs = ([str(index) for index in range(len(names))] for names in (inputs, outputs))
        call = self._set.new_call(name, inputs, outputs)
        return lambda inputs, _: self._set.run(call, inputs)
