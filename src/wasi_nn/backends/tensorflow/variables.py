"""Sets of variables of a SavedModel: one session for each, which the graphs of all signatures use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.tensorflow.operations import changes, require_harmless
from wasi_nn.backends.tensorflow.plan import VARIABLES, Plan, SavedModelPlans, Step
from wasi_nn.backends.tensorflow.program import HANDLES, Entry, Program, SessionRunner, run_first, session_call
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import Runner, failure
from wasi_nn.graph.variables import Variables, arrays_of, require_fitting, require_signature
from wasi_nn.limits.stopping import turn
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.types import Array

# The types of numbers that numpy and safetensors have. A complex number or one of four bits isn't among them.
_NUMBERS = frozenset(
    [
        "bool",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ]
)
_ASSIGN = frozenset({"Assign", "AssignVariableOp"})


def can_be_copied(tf: Any, plan: Plan) -> bool:
    """Whether all that a new session reads from files are variables of the model's graph, so that they may be copied
    from another session instead."""
    definition = plan.definition
    if any(node.op in VARIABLES for function in definition.library.function for node in function.node_def):
        return False
    types = {tf.as_dtype(node.attr["dtype"].type) for node in definition.node if node.op in VARIABLES}
    return all(kind.name not in HANDLES and not kind.is_quantized for kind in types) and all(
        _ASSIGN.issuperset(changes(step.needed.operations)) if step.restores else not step.feeds for step in plan.first
    )


class VariableNode:
    """A variable of a program, with operations that read and set it."""

    def __init__(self, tf: Any, operation: Any) -> None:
        variable, kind = operation.outputs[0], operation.get_attr("dtype")
        self.dtype, self.is_numeric = np.dtype(kind.as_numpy_dtype), kind.name in _NUMBERS
        new = tf.compat.v1.placeholder(kind)
        if operation.type == "VarHandleOp":
            read = tf.raw_ops.ReadVariableOp(resource=variable, dtype=kind)
            is_set = tf.raw_ops.VarIsInitializedOp(resource=variable)
            assign = tf.raw_ops.AssignVariableOp(resource=variable, value=new)
        else:
            read, is_set = tf.identity(variable), tf.raw_ops.IsVariableInitialized(ref=variable)
            assign = tf.raw_ops.Assign(ref=variable, value=new).op
        self.read, self.is_set, self.new, self.assign = read.name, is_set.name, new.name, assign.name


def variable_nodes(program: Program) -> dict[str, VariableNode]:
    """The variables of a program by their names: each by its shared name, or by that of its node if it has none or
    another variable has the same."""
    nodes: dict[str, VariableNode] = {}
    shared = set()
    with program.graph.as_default():
        for operation in program.graph.get_operations():
            if operation.type not in VARIABLES:
                continue
            shared_name = operation.get_attr("shared_name").decode("utf-8", "replace")
            key = operation.type, operation.get_attr("container"), shared_name
            if shared_name and key in shared:
                continue  # another node of the same variable
            shared.add(key)
            name = operation.name if shared_name in ("", *nodes) else shared_name
            while name in nodes:
                name += "_"
            nodes[name] = VariableNode(program.tf, operation)
    return nodes


class SessionVariables:
    """Reads and sets the variables of a session."""

    def __init__(self, nodes: Mapping[str, VariableNode], session: Any) -> None:
        self.nodes, self.session = nodes, session
        self._calls: dict[tuple[str, ...], Callable[..., Sequence[Any]]] = {}

    def _fetched(self, tensors: Iterable[str]) -> Sequence[Any]:
        names = tuple(tensors)
        if not names:
            return ()
        if names not in self._calls:
            self._calls[names] = session_call(self.session, [], names)
        return self._calls[names]()

    def in_place(self) -> dict[str, Array]:
        """The variables that have values. The arrays may be their own memory."""
        are_set = self._fetched(node.is_set for node in self.nodes.values())
        nodes = {name: node for (name, node), is_set in zip(self.nodes.items(), are_set, strict=True) if is_set}
        values = self._fetched(node.read for node in nodes.values())
        return {name: np.asarray(value, node.dtype) for (name, node), value in zip(nodes.items(), values, strict=True)}

    def assign(self, values: Mapping[str, Array]) -> None:
        """Set variables to copies of these values."""
        if not values:
            return
        nodes = [self.nodes[name] for name in values]
        call = session_call(self.session, [it.new for it in nodes], [], [it.assign for it in nodes])
        call(*(array.copy() for array in values.values()))


NewSet = Callable[[], Variables]


class Signatures:
    """The signatures of a SavedModel, in one program that is made when it is first needed.

    A signature of an untrusted model that isn't harmless may not be run, and its operations are no part of the program.
    The functions of the model were checked before, and so was all that a new session runs first.
    """

    def __init__(self, plans: SavedModelPlans, trusted: bool) -> None:
        self._plans, self._is_trusted = plans, trusted
        self._lock = Lock()
        self._made: tuple[Program, Mapping[str, Entry | NNError], Mapping[str, VariableNode]] | None = None
        self._source: SessionVariables | None = None

    def new_set(self, program: Program, first: Sequence[Step], session: Any, another: NewSet) -> TensorFlowVariables:
        """A set of variables in a new session of the same device as a program's: with the values that are in a session
        of this program, or with those in the model's files if the session is None. `first` are the steps of any new
        session, and `another` makes another set."""
        with self._lock:
            if self._made is None:
                self._made = self._make(program)
            if self._source is None and session is not None:
                self._source = SessionVariables(variable_nodes(program), session)
        of_all, entries, nodes = self._made
        if self._source is None:
            variables = SessionVariables(nodes, of_all.session(first))
            return TensorFlowVariables(of_all, entries, variables, another)
        variables = SessionVariables(nodes, of_all.session([]))
        variables.assign({name: array for name, array in self._source.in_place().items() if name in nodes})
        run_first(variables.session, [step for step in first if not step.restores])
        return TensorFlowVariables(of_all, entries, variables, another)

    def _make(self, program: Program) -> tuple[Program, Mapping[str, Entry | NNError], Mapping[str, VariableNode]]:
        plans = self._plans.plans(self._require_usable)
        of_all = program.of([plan for plan in plans.values() if isinstance(plan, Plan)])
        entries = {name: plan if isinstance(plan, NNError) else _entry(of_all, plan) for name, plan in plans.items()}
        return of_all, entries, variable_nodes(of_all)

    def _require_usable(self, plan: Plan) -> None:
        from tensorflow.python.framework import op_def_registry

        if not self._is_trusted:
            require_harmless(plan.needed.operations)
        for operation, node in plan.needed.operations.items():
            if op_def_registry.get(operation) is None:
                message = f"this TensorFlow has no operation {operation!r}, which the signature needs (node {node!r})"
                raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


def _entry(program: Program, plan: Plan) -> Entry | NNError:
    try:
        return Entry(program, plan)
    except NNError as error:
        return error
    except Exception as error:  # such as a tensor that isn't there
        return failure(error)


class TensorFlowVariables(Variables):
    """See `Variables`. Computes and changes are made one after another."""

    def __init__(
        self,
        program: Program,
        entries: Mapping[str, Entry | NNError],
        variables: SessionVariables,
        another: NewSet,
    ) -> None:
        super().__init__()
        self._device, self._entries, self._variables = program.device, entries, variables
        self.another = another
        self._lock = Lock()
        values = variables.in_place()
        self.nbytes = program.nbytes + sum(array.nbytes for array in values.values())
        self._state_bytes = sum(array.nbytes for name, array in values.items() if variables.nodes[name].is_numeric)

    @property
    def state_bytes(self) -> int:
        return self._state_bytes  # without the program

    def graph(self, signature: str) -> Graph:
        require_signature(signature, self._entries)
        entry = self._entries[signature]
        if isinstance(entry, NNError):
            raise NNError(entry.code, str(entry))
        return _GraphOnVariables(self, entry, self._device)

    def get(self) -> dict[str, Array]:
        with self._turn():
            return {name: array.copy() for name, array in self._numbers().items()}

    def set(self, values: Mapping[str, Array]) -> None:
        new = arrays_of(values)
        with self._turn():
            require_fitting(self._numbers(), new)
            self._variables.assign(new)

    def _numbers(self) -> dict[str, Array]:
        values = self._variables.in_place()
        return {name: array for name, array in values.items() if self._variables.nodes[name].is_numeric}

    def runner(self, entry: Entry) -> Runner:
        """A runner of an entry on these variables."""
        return SessionRunner(entry, self._variables.session, self._lock)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """While the session isn't used elsewhere. An exception of TensorFlow's becomes an `NNError`."""
        self.require_made_here()
        with turn(self._lock):
            try:
                yield
            except NNError:
                raise
            except Exception as error:
                raise failure(error) from error


class _GraphOnVariables(Graph):
    """A signature of a model on a set of variables, which all of its contexts share."""

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"
    keeps_state = True

    def __init__(self, variables: TensorFlowVariables, entry: Entry, device: str) -> None:
        state = {"state": "kept from one compute to the next, by all contexts of one set of variables"}
        super().__init__(entry.inputs, entry.outputs, entry.metadata | (state if "state" in entry.metadata else {}))
        self.device, self.signature, self.signatures = device, entry.signature, entry.signatures
        self._set, self._entry = variables, entry

    def variables(self) -> Variables:
        return self._set.another()

    def runner(self) -> Runner:
        return self._set.runner(self._entry)
