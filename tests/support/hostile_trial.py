"""Loads hostile models in a session, as a guest would, and records their outcomes. It is run in a separate process.

    python hostile_trial.py FOLDER ENCODING IN-PROCESS|ISOLATED

Each directory in FOLDER is a model; its builders are the files `0`, `1` and so on. The model `good` is harmless. The
file `endless` has the names of models that compute until they are interrupted. For
each model, a line is written to the file `outcomes` when it is begun, and another one, in JSON, when it is done.
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
from wasi_nn.isolation import Isolation, spares
from wasi_nn.isolation.wire.protocol import Request, request
from wasi_nn.isolation.worker_process import Worker

_ROOM = 1 << 30  # bytes of memory for models, in addition to those of a process that has run a good one; some fill it
_ROOM_OF_GGML = 4 << 30  # with less, the host would refuse some models before the runtime does
_PATIENCE = 3  # seconds until a compute is interrupted
_PATIENCE_WITH_ENDLESS = 0.5
_LOOKED_AT = 1 << 20  # bytes of an output that are recorded
_USES = 100  # models per worker
_MAX_RANK = 64  # of a numpy array


def attempt(
    builders: Sequence[bytes], encoding: str, rules: LoadRules, patience: float = _PATIENCE
) -> Mapping[str, Any]:
    """Load a model, run it on ones and read its outputs; returns the outcome."""
    stage = "load"
    # Without a limit for tensors: it would refuse some outputs before the runtimes make them.
    limits = wasi_nn.Limits(tensor_bytes=None)
    with wasi_nn.Session(allow_load=[encoding], rules=rules, limits=limits) as session:
        try:
            views = [memoryview(builder) for builder in builders]
            graph = session.load(views, GraphEncoding(encoding), ExecutionTarget.CPU)
            stage = "compute"
            context = session.context(session.init_execution_context(graph))
            for index, info in enumerate(context.graph.inputs):
                context.set_input(index, _ones(info))
            for _ in range(2):  # the second time, into the outputs of the first
                with _interrupted(context, patience):
                    context.compute()
            outputs = [_shown(context, index) for index in range(len(context._outputs or ()))]
        except NNError as error:
            return {"stage": stage, "code": error.code.value, "message": str(error)}
    return {"stage": "ran", "outputs": b" ".join(outputs).decode(errors="replace")}


def _ones(info: TensorInfo) -> np.ndarray[Any, Any]:
    if info.opaque:  # valid as a prompt and as options
        return np.frombuffer(b'{"n-predict": 1}', np.uint8)
    dims = [4] if info.dims is None else [dim if isinstance(dim, int) else 1 for dim in info.dims]
    dtype = np.dtype(np.float32) if info.dtype is None else info.dtype
    if len(dims) > _MAX_RANK or np.prod(dims, dtype=object) > _LOOKED_AT:
        dims = [1]  # is refused
    return np.full(dims, "1", object) if dtype.kind == "O" else np.ones(dims, dtype)


def _shown(context: ExecutionContext, index: int) -> bytes:
    array = context.get_output(index).reshape(-1)
    return str(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()[:_LOOKED_AT]


@contextmanager
def _interrupted(context: ExecutionContext, patience: float) -> Iterator[None]:
    """Interrupt a compute that takes too long, if its runtime can be interrupted."""
    timer = threading.Timer(patience, context.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _KeptWorker(Worker):
    """A worker that stays alive after it has refused a model."""

    def close(self) -> None:
        if not self.is_alive:
            super().close()

    def end(self) -> None:
        super().close()


class _Workers:
    """Workers that are used for several models one after another: to start a worker takes longer than most models."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], _KeptWorker] = {}
        self._uses: Counter[Worker] = Counter()

    def worker(self, settings: Isolation, readable: Sequence[str], *, model: int, sockets: bool) -> Worker:
        """Replaces `Worker`. All models are small, so that a worker for one has enough memory for another."""
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
    """Whether a worker has most of its memory left: a former model's memory may not be released yet."""
    return _data_of(worker.process.pid) < settings.memory // 2


def _data_of(process: int) -> int:
    return int(Path(f"/proc/{process}/status").read_text().partition("VmData:")[2].split()[0]) << 10


def _bound_memory(room: int) -> None:
    has = _data_of(os.getpid())
    resource.setrlimit(resource.RLIMIT_DATA, (has + room, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path, encoding: str, mode: str) -> None:
    """Try each model that has no outcome yet, and the good model first and last."""
    room = _ROOM_OF_GGML if encoding == "ggml" else _ROOM
    rules = LoadRules(isolate=Isolation(memory=room) if mode == "ISOLATED" else False)
    if encoding == "ggml":  # its threads wait for each other by spinning, and take most of a machine that is busy
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    if mode == "ISOLATED":
        setattr(spares, "Worker", _Workers().worker)  # noqa: B010  a type checker would refuse an assignment
    outcomes = folder / "outcomes"
    done = {line.split()[0] for line in outcomes.read_text().splitlines()} if outcomes.exists() else set()
    endless = (folder / "endless").read_text().split()
    models = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in {"good", *done})
    with open(outcomes, "a", buffering=1) as file:
        for place, model in enumerate((folder / "good", *models, folder / "good")):
            print(model.name, file=file)
            builders = [(model / str(number)).read_bytes() for number in range(len(list(model.iterdir())))]
            began = time.monotonic()
            outcome = attempt(builders, encoding, rules, _PATIENCE_WITH_ENDLESS if model.name in endless else _PATIENCE)
            print(model.name, json.dumps({**outcome, "seconds": time.monotonic() - began}), file=file)
            if place == 0:
                _bound_memory(room)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
