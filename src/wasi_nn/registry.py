"""Named graphs: what `load-by-name` finds.

The names are the operator's, and mean only what the operator said: a name that a guest sends is looked up, never
opened. Each graph is loaded when it is first asked for, once for all guests, and may be added and removed while
guests run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from wasi_nn import backends
from wasi_nn.backends import Buffer, Options
from wasi_nn.graph import Graph, one_line
from wasi_nn.types import ErrorCode, ExecutionTarget, GraphEncoding, NNError, word

Source = backends.Source | Sequence[str | os.PathLike[str]] | Graph
"""A model as `wasi_nn.load` takes it, a list of paths (one for each builder), or a `Graph` that is loaded already."""


class GraphSource(Protocol):
    """Where a session gets its named graphs from. `Registry` is one; any object with this method will do."""

    def get(self, name: str) -> Graph:
        """The graph of this name. Raises `NNError`: `not-found`, or whatever loading it raises."""


@dataclass(frozen=True)
class NamedGraph:
    """A graph as the operator gives it: a model and how to load it.

    `sha256` (hexadecimal), if given, must be that of the model's file, or of its builders one after another. The
    bytes that were checked are the bytes that are loaded, so that such a graph can't be a directory or have data in
    other files.
    """

    source: Source
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT
    target: ExecutionTarget | str = ExecutionTarget.CPU
    options: Options = field(default_factory=dict)
    sha256: str | None = None


class _Entry:
    def __init__(self, named: NamedGraph) -> None:
        self.named = named
        self.lock = threading.Lock()
        self.graph = named.source if isinstance(named.source, Graph) else None


class Registry:
    """Graphs by name, loaded lazily, each once. Safe to use from any number of threads.

    `target_fallback` is as in `wasi_nn.load`, for every graph.
    """

    def __init__(
        self,
        graphs: Mapping[str, NamedGraph | Source] | None = None,
        *,
        target_fallback: ExecutionTarget | str | None = None,
    ) -> None:
        self.target_fallback = target_fallback
        self._entries: dict[str, _Entry] = {}
        for name, graph in (graphs or {}).items():
            self.add(name, graph)

    def add(self, name: str, graph: NamedGraph | Source, *, overwrite: bool = False) -> None:
        """Give a graph a name. It isn't loaded yet, but a path must exist.

        With `overwrite`, a name in use is given to the new graph; guests that have the old one keep it. Raises
        `NNError`: `invalid-argument` for a name that is empty or in use, or an encoding or target that doesn't exist,
        `not-found` for a path that doesn't exist.
        """
        if not name:
            raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph's name can't be empty")
        entry = _Entry(_validated(name, graph if isinstance(graph, NamedGraph) else NamedGraph(graph)))
        if overwrite:
            self._entries[name] = entry
        elif self._entries.setdefault(name, entry) is not entry:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"two graphs are named {name!r}")

    def remove(self, name: str) -> None:
        """Take a name away; guests that have its graph keep it. Raises `NNError` with `not-found` if there is none."""
        if self._entries.pop(name, None) is None:
            raise self._unknown(name)

    def get(self, name: str) -> Graph:
        """The graph of this name, loaded now if it wasn't. A failed load raises, and is tried again the next time."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        with entry.lock:
            if entry.graph is None:
                entry.graph = self._load(name, entry.named)
            return entry.graph

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def _load(self, name: str, named: NamedGraph) -> Graph:
        source: Any = named.source
        if named.sha256 is not None or _is_paths(source):
            source = _builders(name, source)
        if named.sha256 is not None:
            _check_digest(name, source, named.sha256)
        return backends.load(
            source,
            named.encoding,
            named.target,
            options=named.options,
            target_fallback=self.target_fallback,
        )

    def _unknown(self, name: str) -> NNError:
        shown = name if len(name) <= 80 else name[:80] + "..."
        names = ", ".join(map(repr, self)) or "none"
        return NNError(ErrorCode.NOT_FOUND, f"no graph is named {shown!r}; the names here: {names}")


def _is_paths(source: Source) -> bool:
    return isinstance(source, list | tuple) and all(isinstance(part, str | os.PathLike) for part in source)


def _validated(name: str, graph: NamedGraph) -> NamedGraph:
    """The graph with its paths made absolute, so that a later change of directory means nothing; or an `NNError`."""
    source: Any = graph.source
    if isinstance(source, str | os.PathLike):
        source = _existing(name, source)
        if graph.sha256 is not None and source.is_dir():
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"graph {name!r}: {source} is a directory, which has no sha256")
    elif _is_paths(source):
        source = [_existing(name, path) for path in source]
    encoding, target = word(GraphEncoding, graph.encoding), word(ExecutionTarget, graph.target)
    return replace(graph, source=source, encoding=encoding, target=target)


def _existing(name: str, path: str | os.PathLike[str]) -> Path:
    absolute = Path(path).absolute()
    if not absolute.exists():
        raise NNError(ErrorCode.NOT_FOUND, f"graph {name!r}: no such file or directory: {path}")
    return absolute


def _builders(name: str, source: Any) -> list[Buffer]:
    """The bytes of a source that isn't a graph, read once."""
    if isinstance(source, Buffer):
        return [source]
    try:
        parts = source if isinstance(source, list | tuple) else [source]
        return [part if isinstance(part, Buffer) else Path(part).read_bytes() for part in parts]
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"graph {name!r} can't be read: {one_line(error)}") from error


def _check_digest(name: str, builders: Sequence[Buffer], expected: str) -> None:
    import hashlib

    digest = hashlib.sha256()
    for builder in builders:
        digest.update(builder)
    if digest.hexdigest() != expected.strip().lower():
        raise NNError(
            ErrorCode.SECURITY, f"graph {name!r} has sha256 {digest.hexdigest()}, not {expected}: it won't be loaded"
        )
