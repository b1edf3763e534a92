"""TensorFlow models, run by TensorFlow.

A graph has one builder: a SavedModel as a zip or tar file, or a frozen GraphDef. By name it is one of these, or the
folder of a SavedModel, or the `saved_model.pb` in it.

Options of a SavedModel: `signature` (default: that of `wasi_nn.backends.signature_choice`), `tags` (a list; default:
`["serve"]`). Options of a GraphDef: `inputs` and `outputs` (lists of tensor names; default: the placeholders, and the
nodes that no other node consumes). For both: `threads` (within an operation; default: 0, one for each core).

An untrusted model may only use operations that stay within it (`wasi_nn.backends.tensorflow.operations`). They are
checked before TensorFlow gets the graph, because it computes constant parts as soon as it reads them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import Device, choose_device
from wasi_nn.backends.options import check_options, is_names, is_text, is_thread_count, only_builder
from wasi_nn.backends.tensorflow.model import (
    SAVED_MODEL,
    ModelFolder,
    cut_short_tensorflow,
    files_of_saved_model,
    is_saved_model,
    is_saved_model_archive,
    is_tensorflow,
    unpacked_saved_model,
)
from wasi_nn.backends.tensorflow.operations import require_bounded_functions, require_harmless
from wasi_nn.backends.tensorflow.parts import import_parts
from wasi_nn.backends.tensorflow.plan import Plan, SavedModelPlans, graph_def_plan
from wasi_nn.backends.tensorflow.program import Entry, Program, SessionRunner
from wasi_nn.backends.tensorflow.variables import Signatures, can_be_copied
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import Runner
from wasi_nn.process.quiet import environment_with, extensions_of, no_collection
from wasi_nn.types import ExecutionTarget, GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.graph.variables import Variables

if TYPE_CHECKING:
    pass

# TensorFlow's types of devices, as devices of ours. A graph has to be rewritten to run on a TPU, which isn't done here.
_DEVICES = {"CPU": Device("CPU", ExecutionTarget.CPU, "cpu"), "GPU": Device("GPU", ExecutionTarget.GPU, "gpu:0")}


class TensorFlowBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"
    extra = "tensorflow"
    model_files = (SAVED_MODEL, "model.pb")
    withstands_hostile_bytes = False
    works_in_forks = False

    def sniff(self, model: memoryview) -> bool:
        return is_tensorflow(model)

    def cut_short(self, model: memoryview) -> str | None:
        return cut_short_tensorflow(model)

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return self._load(only_builder(self.encoding, builders), None, False, target, options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return self._load(path.read_bytes(), ModelFolder(path.parent), True, target, options)

    def files_of(self, path: Path) -> Sequence[Path]:
        return files_of_saved_model(path) if path.name == SAVED_MODEL else [path]

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_options(self.encoding, options, _SAVED_MODEL_ACCEPTS | _GRAPH_DEF_ACCEPTS)

    def list_devices(self) -> Sequence[Device]:
        devices = self._tensorflow().config.list_physical_devices()
        return as_devices(device.device_type for device in devices)

    def _tensorflow(self) -> Any:
        return import_tensorflow(only_parts=self.in_worker)

    def _load(
        self,
        model: bytes,
        folder: ModelFolder | None,
        trusted: bool,
        target: ExecutionTarget,
        options: Mapping[str, Any],
    ) -> Graph:
        """Load a model, which is `trusted` if it is the operator's own. `folder` has the variables of a SavedModel."""
        view = memoryview(model)
        if is_saved_model_archive(view):
            unpacked = unpacked_saved_model(view)
            try:
                return self._load((unpacked.path / SAVED_MODEL).read_bytes(), unpacked, trusted, target, options)
            finally:
                unpacked.done_with()
        saved = is_saved_model(view)
        check_options(GraphEncoding.TENSORFLOW, options, _SAVED_MODEL_ACCEPTS if saved else _GRAPH_DEF_ACCEPTS)
        tf = self._tensorflow()
        device = choose_device(self.list_devices(), target, "tensorflow").label
        plans = SavedModelPlans(tf, model, None if folder is None else folder.path, options) if saved else None
        plan = graph_def_plan(tf, model, options) if plans is None else plans.plan(plans.chosen)
        if not trusted:
            for reach in plan.reaches:
                require_harmless(reach.operations)
            require_bounded_functions(plan.definition)
        others = Signatures(plans, trusted) if plans is not None and plan.has_more else None
        return TensorFlowGraph(Program(tf, [plan], device, options.get("threads", 0)), plan, folder, others)


def as_devices(types: Iterable[str]) -> list[Device]:
    """TensorFlow's devices by their types: one of each type."""
    return [_DEVICES.get(name, Device(name, None, name)) for name in dict.fromkeys(types)]


_EVERYTHING, _NOTHING = "0", "3"  # values of TF_CPP_MIN_LOG_LEVEL


@cache
def import_tensorflow(*, only_parts: bool = False) -> Any:
    """Import TensorFlow without its notices and warnings; with its notices if the user set the log level to 0. With
    `only_parts`, import the parts that run models.

    Keras isn't needed to run models, and imports scikit-learn and SciPy where they are: 2 of 6 s. TensorFlow leaves it
    out if it was told to use the older Keras, which is hardly ever installed. `tensorflow.keras` still works: Keras is
    imported when that is first used.
    """
    shows_all = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == _EVERYTHING
    # Without a collection, which takes a fifth of the import's time: nearly all of its objects stay.
    with no_collection, warnings.catch_warnings(), nullcontext() if shows_all else extensions_of("tensorflow"):
        warnings.simplefilter("ignore")
        with environment_with(TF_CPP_MIN_LOG_LEVEL=_NOTHING, TF_USE_LEGACY_KERAS="1"):
            if only_parts:
                return import_parts()
            import tensorflow

            return tensorflow


_SAVED_MODEL_ACCEPTS = {"threads": is_thread_count, "signature": is_text, "tags": is_names}
_GRAPH_DEF_ACCEPTS = {"threads": is_thread_count, "inputs": is_names, "outputs": is_names}


class TensorFlowGraph(Graph):
    """A graph in a TensorFlow session, which all contexts share.

    If the graph keeps state, each context has its own session, which starts with the model's variables.
    """

    encoding = GraphEncoding.TENSORFLOW
    runtime = "tensorflow"

    def __init__(self, program: Program, plan: Plan, folder: ModelFolder | None, signatures: Signatures | None) -> None:
        self._program, self._first, self._signatures = program, plan.first, signatures
        self._entry = entry = Entry(program, plan)
        super().__init__(entry.inputs, entry.outputs, entry.metadata)
        self.device = program.device
        self.keeps_state = entry.keeps_state
        self.signature, self.signatures = plan.signature, plan.signatures
        run = SessionRunner(entry, program.session(plan.first))
        run.call_with(tuple(not info.optional for info in self.inputs))
        self._shared = None if self.keeps_state else run
        self._unused = [run] if self.keeps_state else []  # for the first context
        self._folder = folder
        # Else new sessions have the variables of the shared one, which no compute changes.
        self._needs_files = self.keeps_state or (signatures is not None and not can_be_copied(program.tf, plan))
        if folder is not None and self._needs_files:
            folder.keep_for(self)

    def runner(self) -> Runner:
        if self._shared is not None:
            return self._shared
        with suppress(IndexError):
            return self._unused.pop()
        self._require_unchanged_files()
        return SessionRunner(self._entry, self._program.session(self._first))

    def variables(self) -> Variables:
        if self._signatures is None:
            return super().variables()
        self._require_unchanged_files()
        session = None if self._shared is None or self._needs_files else self._shared.session
        return self._signatures.new_set(self._program, self._first, session, self.variables)

    def _require_unchanged_files(self) -> None:
        if self._folder is not None and self._needs_files:
            self._folder.require_unchanged()
