"""What a server serves as models: the graphs of a registry, and the guests of its file that serve models."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from wasi_nn.errors import GuestError, nearest
from wasi_nn.loading.named_graph import NamedGraph
from wasi_nn.loading.served_guest import Serves
from wasi_nn.serving.guests.kinds import kind_of

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.loading.served_guest import ServedGuest
    from wasi_nn.serving.guests.guest_graph import GuestGraph

logger = logging.getLogger("wasi_nn.serving")


class ModelRegistry:
    """Graphs and guests by name, as `Registry` has graphs alone. `longest` is the time in seconds for trying a guest
    out. Safe to use from any number of threads."""

    def __init__(self, registry: Registry, longest: float) -> None:
        self._registry = registry
        self._longest = longest
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[ServedGuest, GuestGraph]] = {}
        self._guests: dict[str, ServedGuest] = {}
        self._described: dict[str, NamedGraph] = {}
        self._read_guests()

    @property
    def rules(self) -> LoadRules:
        """The rules by which graphs are loaded."""
        return self._registry.rules

    def __iter__(self) -> Iterator[str]:
        return iter([*self._registry, *self._guests])

    def __contains__(self, name: object) -> bool:
        return name in self._registry or name in self._guests

    def named(self, name: str) -> NamedGraph:
        """The operator's description of a graph; a guest's has its path only. Raises `NNError` with `not-found`."""
        return self._described.get(name) or self._registry.named(name)

    def get(self, name: str) -> Graph:
        """The graph of this name, or the guest as a graph, loaded at the first call. Raises as `Registry.get` and
        `GuestGraph` do."""
        guest = self._guests.get(name)
        if guest is None:
            return self._registry.get(name)
        from wasi_nn.serving.guests.guest_graph import GuestGraph  # with the engine, which graphs don't need

        with self._lock:
            loaded = self._loaded.get(name)
        if loaded is not None and loaded[0] is guest:
            return loaded[1]
        if not guest.outputs:
            reason = "a guest that serves a model declares its inputs and outputs"
            raise GuestError(f'the guest has no outputs: {reason}, and one that answers HTTP has serves = "http"')
        graph = GuestGraph(name, guest, self._registry, self._longest)
        with self._lock:
            self._loaded[name] = guest, graph
        return graph

    def add(self, name: str, named: NamedGraph, *, overwrite: bool) -> None:
        """Have the graph or the guest of this name loaded anew at its next use."""
        if name in self._guests:
            self._forget(name)
        else:
            self._registry.add(name, named, overwrite=overwrite)
            self._renew([name])

    def reload(self) -> list[str]:
        """Read the file again, as `Registry.reload` does. Guests that are used again are new too if one of their graphs
        has changed."""
        changed = self._registry.reload()
        before = set(self._guests)
        self._read_guests()
        for name, guest in self._registry.guests.items():
            if guest.reuse and _may_load(guest, changed) and name not in changed:
                changed.append(name)
        for name in (before | set(self._guests)) & set(changed):
            self._forget(name)
        self._renew(changed)
        return changed

    def _renew(self, changed: Collection[str]) -> None:
        """Have guests that may have loaded a changed graph begin anew."""
        with self._lock:
            loaded = list(self._loaded.values())
        for guest, graph in loaded:
            if _may_load(guest, changed):
                graph.renew()

    def _forget(self, name: str) -> None:
        with self._lock:
            self._loaded.pop(name, None)

    def _read_guests(self) -> None:
        self._guests = {name: guest for name, guest in self._registry.guests.items() if _serves_model(guest)}
        self._described = {name: NamedGraph(guest.path) for name, guest in self._guests.items()}
        for name, guest in self._registry.guests.items():
            for pattern in guest.graphs:
                if not any(fnmatchcase(graph, pattern) for graph in self._registry):
                    near = nearest(pattern, self._registry)
                    logger.warning("guest %r may load the graph %r, and no graph has this name%s", name, pattern, near)


def _may_load(guest: ServedGuest, graphs: Collection[str]) -> bool:
    """Whether a guest may load one of these graphs."""
    return any(fnmatchcase(name, pattern) for name in graphs for pattern in guest.graphs)


def _serves_model(guest: ServedGuest) -> bool:
    """Whether a guest serves a model. One that can't be read counts, so that clients see why it isn't ready."""
    try:
        return kind_of(guest) is Serves.MODEL
    except GuestError:
        return True
