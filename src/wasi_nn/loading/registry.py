"""The registry of named graphs, for `load-by-name`.

The operator gives the names. A name from a guest is looked up in the registry, and never becomes a path. Each graph is
loaded at its first use, once for all guests. Graphs can be added and removed while guests run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from wasi_nn.backends import Buffer
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, one_line, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.limits.stopping import turn
from wasi_nn.loading.choose import choose, files_at
from wasi_nn.loading.load import load
from wasi_nn.loading.named_graph import NamedGraph, Source
from wasi_nn.loading.rules import LoadRules, require_runtime
from wasi_nn.process import forks
from wasi_nn.process.files import files_in, read_regular
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum


class GraphSource(Protocol):
    """Where a session gets its named graphs from. `Registry` is one; any object with this method will do."""

    def get(self, name: str) -> Graph:
        """The graph of this name. Raises `NNError`: `not-found`, or whatever loading it raises."""


_FileState = tuple[str, int, int, int, int]


Graphs = GraphSource | Mapping[str, NamedGraph | Source] | str | os.PathLike[str] | None
"""The named graphs of a host or a session: a `Registry` (or anything with its `get`), or what makes one: a mapping of
names to models, or the path of a file of graphs."""


def registry_of(graphs: Graphs, rules: LoadRules | None) -> GraphSource:
    """A registry of these graphs, with these rules; itself, if it is one already."""
    if graphs is None or isinstance(graphs, Mapping | str | os.PathLike):
        return Registry(graphs, rules=rules)
    return graphs


class _Entry:
    def __init__(self, named: NamedGraph) -> None:
        self.named = named
        self.lock = threading.Lock()
        self.graph = named.source if isinstance(named.source, Graph) else None
        self._files: Sequence[Path] = []
        self._state: list[_FileState] = []  # of the files, when the graph was loaded

    def note_files(self, files: Sequence[Path]) -> None:
        """Note how these files are, which the graph is about to be loaded from."""
        self._files, self._state = files, _state_of(files)

    def still_is(self, named: NamedGraph) -> bool:
        """Whether this is that graph and, if it is loaded, its files are as they were."""
        return self.named == named and (self.graph is None or self._state == _state_of(self._files))


class Registry:
    """Graphs by name, loaded lazily, each once. Safe to use from any number of threads.

    `graphs` maps names to graphs, or is the path of a file that does (`wasi_nn.loading.graphs_file`), which `reload`
    reads again. Raises `NNError` as `add` does, or for what is wrong with the file.
    """

    def __init__(
        self,
        graphs: Mapping[str, NamedGraph | Source] | str | os.PathLike[str] | None = None,
        *,
        rules: LoadRules | None = None,
    ) -> None:
        self.rules = rules or LoadRules()
        self._entries: dict[str, _Entry] = {}
        self._file: Path | None = None
        self._is_closed = False
        self._of_file: set[str] = set()
        self._reloading = threading.Lock()
        forks.reset_in_child(self)
        if isinstance(graphs, str | os.PathLike):
            self._file = Path(graphs).absolute()
            self.reload()
            return
        for name, graph in (graphs or {}).items():
            self.add(name, graph)

    def reload(self) -> list[str]:
        """Read the file of graphs again; gives the names that were added, changed or taken away.

        A graph whose description and files are what they were stays loaded; guests that have an old one keep it. If
        anything is wrong with the file, that is raised, and all stays as it was. Without a file, nothing changes.
        """
        if self._file is None:
            return []
        from wasi_nn.loading import graphs_file

        with self._reloading:
            graphs = {name: _validated(name, graph, self.rules) for name, graph in graphs_file.read(self._file).items()}
            taken = [name for name in graphs if name in self._entries and name not in self._of_file]
            if taken:
                raise NNError(ErrorCode.INVALID_ARGUMENT, f"two graphs are named {taken[0]!r}")
            gone = sorted(self._of_file - set(graphs))
            new = {name: graph for name, graph in graphs.items() if not self._has_still(name, graph)}
            for name in gone:
                self._entries.pop(name, None)
            self._entries.update({name: _Entry(graph) for name, graph in new.items()})
            self._of_file = set(graphs)
        return [*gone, *new]

    def _has_still(self, name: str, graph: NamedGraph) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.still_is(graph)

    def add(self, name: str, graph: NamedGraph | Source, *, overwrite: bool = False) -> None:
        """Give a graph a name. It isn't loaded yet, but a path must exist.

        With `overwrite`, a name in use is given to the new graph; guests that have the old one keep it. Raises
        `NNError`: `invalid-argument` for a name that is empty or in use, or an encoding, target or option that doesn't
        exist, `not-found` for a path that doesn't exist.
        """
        named = graph if isinstance(graph, NamedGraph) else NamedGraph(graph)
        entry = _Entry(_validated(name, named, self.rules))
        if overwrite:
            self._entries[name] = entry
        elif self._entries.setdefault(name, entry) is not entry:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"two graphs are named {name!r}")

    def remove(self, name: str) -> None:
        """Take a name away; guests that have its graph keep it. Raises `NNError` with `not-found` if there is none."""
        if self._entries.pop(name, None) is None:
            raise self._unknown(name)

    def named(self, name: str) -> NamedGraph:
        """What the operator said of a graph; it isn't loaded for that. Raises `NNError` with `not-found`."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        return entry.named

    def get(self, name: str) -> Graph:
        """The graph of this name, loaded now if it wasn't. A failed load raises, and is tried again the next time."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        with turn(entry.lock):
            if self._is_closed:
                raise NNError(ErrorCode.RUNTIME_ERROR, f"graph {name!r} can't be had: the registry is closed")
            if entry.graph is None:
                entry.note_files(self._files_of(entry.named))
                entry.graph = self._load(name, entry.named)
            return entry.graph

    def close(self) -> None:
        """Close the graphs that were loaded here, and load no more. Graphs that were given as such stay open."""
        self._is_closed = True
        for entry in list(self._entries.values()):
            with entry.lock:
                if entry.graph is not None and entry.graph is not entry.named.source:
                    entry.graph.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        graphs = (f"{name}{'' if entry.graph is None else ' (loaded)'}" for name, entry in self._entries.items())
        return f"<{type(self).__name__}: {', '.join(graphs) or 'no graphs'}>"

    def reset_in_child(self) -> None:
        """In a fork, where graphs that were loaded before can't be used: have them loaded anew when they are asked
        for."""
        self._reloading = threading.Lock()
        self._entries = {name: _Entry(entry.named) for name, entry in self._entries.items()}

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
        rules = self.rules
        if named.convert_types is not None:
            rules = replace(rules, convert_types=named.convert_types)
        return load(
            source,
            named.encoding,
            named.target,
            options=named.options,
            runtime=named.runtime,
            rules=rules,
        )

    def _files_of(self, named: NamedGraph) -> Sequence[Path]:
        source: Any = named.source
        if isinstance(source, Path) and named.sha256 is None:
            return files_at(source, parse_enum(GraphEncoding, named.encoding), named.runtime, self.rules)
        return [path for path in (source if isinstance(source, list | tuple) else [source]) if isinstance(path, Path)]

    def _unknown(self, name: str) -> NNError:
        shown = name if len(name) <= 80 else name[:80] + "..."
        names = ", ".join(map(repr, self)) or "none"
        return NNError(ErrorCode.NOT_FOUND, f"no graph is named {shown!r}; the names here: {names}")


def _is_paths(source: Source) -> bool:
    return isinstance(source, list | tuple) and all(isinstance(part, str | os.PathLike) for part in source)


def _state_of(paths: Sequence[Path]) -> list[_FileState]:
    """What tells whether files were changed, and those in folders: each with its size, times and number."""
    state = []
    for path in paths:
        for file in files_in(path):
            try:
                stat = file.stat()
            except OSError:  # gone: loading will say so
                continue
            state.append((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return state


def _validated(name: str, graph: NamedGraph, rules: LoadRules) -> NamedGraph:
    """The graph with its paths made absolute, so that a later change of directory means nothing; or an `NNError`."""
    if not name:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph's name can't be empty")
    source: Any = graph.source
    try:
        if isinstance(source, str | os.PathLike):
            source = _existing(source)
            if graph.sha256 is not None and source.is_dir():
                raise NNError(ErrorCode.INVALID_ARGUMENT, f"{source} is a directory, which has no sha256")
        elif _is_paths(source):
            source = [_existing(path) for path in source]
        encoding, target = parse_enum(GraphEncoding, graph.encoding), parse_enum(ExecutionTarget, graph.target)
        if graph.runtime is not None:
            require_runtime(encoding, graph.runtime)
        if graph.options:
            _check_options(source, encoding, graph, rules)
    except NNError as error:
        raise error.told_as(f"graph {name!r}: {error}") from error
    return replace(graph, source=source, encoding=encoding, target=target)


def _check_options(source: Any, encoding: GraphEncoding, graph: NamedGraph, rules: LoadRules) -> None:
    """Raise `NNError` for options that the graph's backend doesn't take. Those of a model for which there is no backend
    aren't checked: loading the model raises."""
    if isinstance(source, Graph):
        return
    try:
        backend = choose(source[0] if _is_paths(source) else source, encoding, graph.runtime, rules).backend
    except NNError:
        return
    backend.check_options(graph.options)


def _existing(path: str | os.PathLike[str]) -> Path:
    absolute = Path(path).absolute()
    try:
        if absolute.exists():
            return absolute
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise ModelNotFound(f"no such file or directory: {one_line(error)}") from error
    raise ModelNotFound(printable(f"no such file or directory: {path}"))


def _builders(name: str, source: Any) -> list[Buffer]:
    """The bytes of a source that isn't a graph, read once."""
    if isinstance(source, Buffer):
        return [source]
    try:
        parts = source if isinstance(source, list | tuple) else [source]
        return [part if isinstance(part, Buffer) else read_regular(part) for part in parts]
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
