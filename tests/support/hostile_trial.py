"""Gives hostile models to a session as a guest would, in a process made for it, and writes down what came of each.

    python hostile_trial.py FOLDER ENCODING IN-PROCESS|ISOLATED

Each directory in FOLDER is a model, whose builders are the files `0`, `1` ... in it; that named `good` is harmless. For
each there is a line in the file `outcomes` when it is begun, and another one, in JSON, when it is done.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import wasi_nn
from wasi_nn import ExecutionContext, ExecutionTarget, GraphEncoding, LoadRules, NNError, TensorInfo
from wasi_nn.isolation import Isolation, isolated_graph
from wasi_nn.isolation.wire.protocol import Request, request
from wasi_nn.isolation.worker_process import Worker

_ROOM = 4 << 30  # bytes that models may take beyond what the process has when it has run a good one
_PATIENCE = 3  # seconds until a compute is interrupted
_LOOKED_AT = 1 << 20  # bytes of an output
_USES = 40  # of a worker
_MAX_RANK = 64  # of an array of numpy's


def attempt(builders: Sequence[bytes], encoding: str, rules: LoadRules) -> Mapping[str, Any]:
    """Load a model, run it on ones, and read what comes out of it; what came of that."""
    stage = "load"
    # Without a limit for tensors, which would refuse some outputs before runtimes are asked for them.
    limits = wasi_nn.Limits(tensor_bytes=None)
    with wasi_nn.Session(allow_load=[encoding], rules=rules, limits=limits) as session:
        try:
            views = [memoryview(builder) for builder in builders]
            graph = session.load(views, GraphEncoding(encoding), ExecutionTarget.CPU)
            stage = "compute"
            context = session.context(session.init_execution_context(graph))
            for index, info in enumerate(context.graph.inputs):
                context.set_input(index, _ones(info))
            for _ in range(2):  # the second time, into what the first one made
                with _interrupted(context):
                    context.compute()
            outputs = [_shown(context, index) for index in range(len(context._outputs or ()))]
        except NNError as error:
            return {"stage": stage, "code": error.code.value, "message": str(error)}
    return {"stage": "ran", "outputs": b" ".join(outputs).decode(errors="replace")}


def _ones(info: TensorInfo) -> np.ndarray[Any, Any]:
    if info.opaque:  # what does for a prompt and for options
        return np.frombuffer(b'{"n-predict": 1}', np.uint8)
    dims = [4] if info.dims is None else [dim if isinstance(dim, int) else 1 for dim in info.dims]
    dtype = np.dtype(np.float32) if info.dtype is None else info.dtype
    if len(dims) > _MAX_RANK or np.prod(dims, dtype=object) > _LOOKED_AT:
        dims = [1]  # which is refused
    return np.full(dims, "1", object) if dtype.kind == "O" else np.ones(dims, dtype)


def _shown(context: ExecutionContext, index: int) -> bytes:
    array = context.get_output(index).reshape(-1)
    return str(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()[:_LOOKED_AT]


@contextmanager
def _interrupted(context: ExecutionContext) -> Iterator[None]:
    """Interrupt what runs for too long, where the runner can be."""
    interrupt = getattr(context._runner, "interrupt", None)
    timer = threading.Timer(_PATIENCE, interrupt or (lambda: None))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _KeptWorker(Worker):
    """A worker that goes on when it has refused a model."""

    def close(self) -> None:
        if not self.is_alive:
            super().close()

    def end(self) -> None:
        super().close()


class _Workers:
    """Workers that models have one after the other, since it takes longer to start one than to try most models."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], _KeptWorker] = {}
        self._uses: Counter[Worker] = Counter()

    def worker(self, settings: Isolation, readable: Sequence[str], *, model: int, sockets: bool) -> Worker:
        """In the place of `Worker`. The models are small: one fits where another one did."""
        key = (*readable, sockets)
        worker = self._last.get(key)
        if worker is not None and not (worker.is_alive and self._uses[worker] < _USES and _has_room(worker, settings)):
            worker.end()
            worker = None
        if worker is None:
            worker = self._last[key] = _KeptWorker(settings, readable, model=model, sockets=sockets)
        for number in worker.graphs.values():
            worker.tell(request(Request.FORGET, graph=number))
        worker.graphs.clear()
        self._uses[worker] += 1
        return worker


def _has_room(worker: Worker, settings: Isolation) -> bool:
    """Whether a worker has most of its memory left: what a model took may still be on its way back."""
    return _data_of(worker.process.pid) < settings.memory // 2


def _data_of(process: int) -> int:
    return int(Path(f"/proc/{process}/status").read_text().partition("VmData:")[2].split()[0]) << 10


def _bound_memory() -> None:
    has = _data_of(os.getpid())
    resource.setrlimit(resource.RLIMIT_DATA, (has + _ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path, encoding: str, mode: str) -> None:
    """Try each model that has no outcome yet; the good one first, and again at the end."""
    rules = LoadRules(isolate=mode == "ISOLATED")
    if mode == "ISOLATED":
        setattr(isolated_graph, "Worker", _Workers().worker)  # noqa: B010  which a type checker would refuse
    outcomes = folder / "outcomes"
    done = {line.split()[0] for line in outcomes.read_text().splitlines()} if outcomes.exists() else set()
    models = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in {"good", *done})
    with open(outcomes, "a", buffering=1) as file:
        for place, model in enumerate((folder / "good", *models, folder / "good")):
            print(model.name, file=file)
            builders = [(model / str(number)).read_bytes() for number in range(len(list(model.iterdir())))]
            began = time.monotonic()
            outcome = attempt(builders, encoding, rules)
            print(model.name, json.dumps({**outcome, "seconds": time.monotonic() - began}), file=file)
            if place == 0:
                _bound_memory()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
