"""Counts of a process's resources: memory, descriptors, threads and objects that a guest's run should give back."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import wasmtime

from wasi_nn import ExecutionContext, Graph, Session
from wasi_nn.abi import wasmtime_c_api as engine

_PAGE = os.sysconf("SC_PAGE_SIZE")
_KINDS: set[type] = {wasmtime.Store, Session, ExecutionContext, Graph}


@dataclass(frozen=True)
class Footprint:
    """The counts after a garbage collection, and the resident memory in bytes."""

    memory: int
    descriptors: int
    threads: int
    native_threads: int
    """Threads of the runtimes and of the engine too."""
    objects: int
    stores: int
    sessions: int
    contexts: int
    graphs: int
    host_functions: int
    """Host functions that the engine may still call."""

    @classmethod
    def now(cls) -> Footprint:
        gc.collect()
        objects = gc.get_objects()
        kinds = Counter(
            kind for one in objects for kind in _KINDS & {*type(one).__mro__}
        )  # `isinstance` would call methods of the objects' classes
        return cls(
            memory=int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            native_threads=len(os.listdir("/proc/self/task")),
            objects=len(objects),
            stores=kinds[wasmtime.Store],
            sessions=kinds[Session],
            contexts=kinds[ExecutionContext],
            graphs=kinds[Graph],
            host_functions=len(engine.kept),
        )


MEASURES = [field.name for field in fields(Footprint)]
