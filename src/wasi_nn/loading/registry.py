"""The registry of named graphs, for `load-by-name`.

The operator gives the names. A name from a guest is looked up in the registry, and never becomes a path. Each graph is
loaded at its first use, once for all guests. Graphs can be added and removed while guests run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from wasi_nn.arguments import as_builders, as_flag, as_mapping, as_options, as_path, as_text, wrong_argument
from wasi_nn.backends.options import cannot_be
from wasi_nn.backends.remote.addresses import as_remote_model
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError, nearest, one_line, printable, shortened
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import failure
from wasi_nn.limits.stopping import turn
from wasi_nn.loading.choose import choose, files_at
from wasi_nn.loading.digest import bytes_of, require_digest
from wasi_nn.loading.file_states import FileState, state_of
from wasi_nn.loading.load import load
from wasi_nn.loading.named_graph import NamedGraph, Source, is_batch, is_delay, is_sha256
from wasi_nn.loading.rules import LoadRules, as_rules, known_runtime
from wasi_nn.loading.served_guest import ServedGuest
from wasi_nn.loading.shared_graph import SharedGraph
from wasi_nn.process import forks
from wasi_nn.settings import how_to_set
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum


class GraphSource(Protocol):
    """The source of a session's named graphs: a `Registry`, or any object with this method."""

    def get(self, name: str) -> Graph:
        """The graph of this name. Raises `NNError`: `not-found` for an unknown name, and those of loading the graph."""


_MOST_COMPARED = 1000  # names that are compared with a wrong one, which a guest may send again and again
_GRAPHS = "a wasi_nn.Registry, a mapping of names to models, or the path of a file of graphs"
_SOURCE = "a path, bytes, a list of either, or a wasi_nn.Graph"

Graphs = GraphSource | Mapping[str, NamedGraph | Source] | str | os.PathLike[str] | None
"""The named graphs of a host or a session: a `GraphSource`, or the argument to make a `Registry` of: a mapping of names
to models, or the path of a file of graphs. None: no graphs."""


def registry_of(graphs: Graphs, rules: LoadRules | None) -> GraphSource:
    """A `Registry` of these graphs with these rules, or the `GraphSource` itself."""
    if graphs is None or isinstance(graphs, Mapping | str | bytes | os.PathLike):
        return Registry(graphs, rules=rules)
    if callable(getattr(graphs, "get", None)):
        return graphs
    raise wrong_argument("graphs", _GRAPHS, graphs)


def loaded_in(source: GraphSource, name: str) -> Graph | None:
    """The graph of this name if the source has it loaded already, and says so."""
    loaded: Callable[[str], Graph | None] | None = getattr(source, "loaded", None)
    return None if loaded is None else loaded(name)


class _Entry:
    """A graph's description, and the graph once it is loaded."""

    def __init__(self, named: NamedGraph) -> None:
        self.named = named
        self.lock = threading.Lock()
        self.graph: Graph | None = None
        self.shared: SharedGraph | None = None  # the graph on the variables of all guests
        self._files: Sequence[Path] = []
        self._state: list[FileState] = []  # of the files before the graph was loaded

    @property
    def is_loaded(self) -> bool:
        """Whether the graph is there: it was loaded, or given as such."""
        return self.graph is not None or isinstance(self.named.source, Graph)

    def note_files(self, files: Sequence[Path]) -> None:
        """Note the state of the files from which the graph will be loaded now."""
        self._files, self._state = files, state_of(files)

    def is_current(self, named: NamedGraph) -> bool:
        """Whether this is the described graph. If it is loaded, its files must be unchanged too."""
        return self.named == named and (self.graph is None or self._state == state_of(self._files))


class Registry:
    """Graphs by name, loaded lazily, each once. Safe to use from any number of threads.

    `graphs` maps names to graphs, or is the path of a file that does (`wasi_nn.loading.graphs_file`), which `reload`
    reads again. `rules` say how the models are loaded. Raises `NNError` as `add` does, and for errors in the file.
    """

    def __init__(
        self,
        graphs: Mapping[str, NamedGraph | Source] | str | os.PathLike[str] | None = None,
        *,
        rules: LoadRules | None = None,
    ) -> None:
        self.rules = as_rules(rules)
        self._entries: dict[str, _Entry] = {}
        self._file: Path | None = None
        self._is_closed = False
        self._names_in_file: set[str] = set()
        self._reloading = threading.Lock()
        self.adjust: Callable[[Mapping[str, NamedGraph]], Mapping[str, NamedGraph]] | None = None
        """Changes the graphs of the file at each `reload`, as the options of the command do."""
        self.guests: Mapping[str, ServedGuest] = {}
        """The guests of the file, which a server runs; no guest can name them."""
        self._guest_files: dict[str, list[FileState]] = {}
        forks.reset_in_child(self)
        if isinstance(graphs, str | bytes | os.PathLike):
            self._file = Path(as_path("graphs", graphs)).absolute()
            self.reload()
            return
        for name, graph in ({} if graphs is None else as_mapping("graphs", graphs, _GRAPHS)).items():
            self.add(name, graph)

    def reload(self) -> list[str]:
        """Read the file of graphs again; returns the names of graphs and guests that were added, changed or removed.

        A graph stays loaded if its description and its files are unchanged. Guests keep the old graphs that they have.
        Raises `NNError` for any error in the file, and then changes nothing. Without a file, there is no change.
        """
        if self._file is None:
            return []
        from wasi_nn.loading import graphs_file

        with self._reloading:
            named = graphs_file.read(self._file)
            in_file = named.graphs
            if self.adjust is not None:
                in_file = self.adjust(in_file)
            graphs = {name: _validated(name, graph, self.rules) for name, graph in in_file.items()}
            others = [name for name in self._entries if name not in self._names_in_file]
            for kind, names in (("two graphs are", graphs), ("a graph and a guest are both", named.guests)):
                clashes = [name for name in names if name in others]
                if clashes:
                    raise NNError(ErrorCode.INVALID_ARGUMENT, f"{kind} named {clashes[0]!r}")
            removed = sorted(self._names_in_file - set(graphs))
            changed = {name: graph for name, graph in graphs.items() if not self._is_current(name, graph)}
            for name in removed:
                self._entries.pop(name, None)
            self._entries.update({name: _Entry(graph) for name, graph in changed.items()})
            self._names_in_file = set(graphs)
            changed_guests = self._change_guests(named.guests)
        return [*removed, *changed, *(name for name in changed_guests if name not in (*removed, *changed))]

    def _change_guests(self, guests: Mapping[str, ServedGuest]) -> list[str]:
        """Have these guests in place of those before; returns the names of those that differ, also by their files."""
        files = {name: state_of([guest.path]) for name, guest in guests.items()}
        before, files_before = self.guests, self._guest_files
        self.guests, self._guest_files = guests, files
        return [
            name
            for name in sorted({*before, *guests})
            if before.get(name) != guests.get(name) or files_before.get(name) != files.get(name)
        ]

    def _is_current(self, name: str, graph: NamedGraph) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.is_current(graph)

    def add(self, name: str, graph: NamedGraph | Source, *, overwrite: bool = False) -> None:
        """Give a graph a name. The graph is loaded at its first use, but its path must exist now.

        With `overwrite`, a name in use is given to the new graph; guests that have the old one keep it. Raises
        `NNError`: `invalid-argument` for a name that is empty or in use, or an encoding, target or option that doesn't
        exist, `not-found` for a path that doesn't exist.
        """
        entry = _Entry(_validated(name, graph if isinstance(graph, NamedGraph) else NamedGraph(graph), self.rules))
        if as_flag("overwrite", overwrite):
            self._entries[name] = entry
        elif self._entries.setdefault(name, entry) is not entry:
            message = f"two graphs are named {name!r}: give another name, or overwrite=True"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)

    def remove(self, name: str) -> None:
        """Remove a name; guests that have its graph keep it. Raises `NNError` with `not-found` for an unknown name."""
        if self._entries.pop(as_text("name", name), None) is None:
            raise self._unknown(name)

    def named(self, name: str) -> NamedGraph:
        """The operator's description of a graph; this doesn't load the graph. Raises `NNError` with `not-found`."""
        entry = self._entries.get(as_text("name", name))
        if entry is None:
            raise self._unknown(name)
        return entry.named

    def get(self, name: str) -> Graph:
        """The graph of this name, which is loaded at the first call. After a failed load, the next call tries again."""
        entry = self._entries.get(as_text("name", name))
        if entry is None:
            raise self._unknown(name)
        with turn(entry.lock):
            if self._is_closed:
                raise NNError(ErrorCode.RUNTIME_ERROR, f"graph {name!r} isn't available: the registry is closed")
            if entry.graph is None:
                entry.note_files(self._files_of(entry.named))
                entry.graph = self._load(name, entry.named)
            return self._shared(name, entry, entry.graph) if entry.named.share_variables else entry.graph

    def loaded(self, name: str) -> Graph | None:
        """The graph of this name if `get` would give it at once; else None."""
        entry = self._entries.get(as_text("name", name))
        if entry is None or self._is_closed or entry.named.share_variables:
            return None
        return entry.graph

    @staticmethod
    def _shared(name: str, entry: _Entry, graph: Graph) -> Graph:
        """The graph on the variables of all guests. If they are lost, guests that come now get the model's own."""
        shared = entry.shared
        if shared is None or shared.is_lost:
            try:
                shared = entry.shared = SharedGraph(graph)
            except Exception as error:
                known = error if isinstance(error, NNError) else failure(error)
                raise known.with_message(f"graph {name!r} can't share variables: {known}") from error
        return shared

    def close(self) -> None:
        """Close the graphs that the registry loaded; it loads no more. `Graph` objects that were added stay open."""
        self._is_closed = True
        for entry in list(self._entries.values()):
            with entry.lock:
                if entry.shared is not None:
                    entry.shared.close()
                if entry.graph is not None and not isinstance(entry.named.source, Graph):
                    entry.graph.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        graphs = (f"{name}{' (loaded)' if entry.is_loaded else ''}" for name, entry in self._entries.items())
        return f"<{type(self).__name__}: {', '.join(graphs) or 'no graphs'}>"

    def reset_in_child(self) -> None:
        """Forget the loaded graphs, which a fork can't use. Their next use in the fork loads them again."""
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
        rules = self.rules
        if named.convert_types is not None:
            rules = replace(rules, convert_types=named.convert_types)
        if isinstance(source, Graph):
            from wasi_nn.graph.conversion import converted

            return converted(source) if rules.convert_types else source
        if named.sha256 is not None or _is_paths(source):
            source = bytes_of(name, source)
        if named.sha256 is not None:
            require_digest(name, source, named.sha256)
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
        names = ", ".join(map(repr, self)) or "none"
        meant = nearest(name, islice(self, _MOST_COMPARED))
        return NNError(ErrorCode.NOT_FOUND, f"no graph is named {shortened(name)!r}; the names here: {names}{meant}")


def _is_paths(source: Source) -> bool:
    return (
        isinstance(source, list | tuple)
        and len(source) > 0
        and all(isinstance(part, str | os.PathLike) for part in source)
    )


def _validated(name: str, graph: NamedGraph, rules: LoadRules) -> NamedGraph:
    """The graph with absolute paths, so that a change of directory doesn't matter. Raises `NNError` as `add` does."""
    if not as_text("a graph's name", name):
        raise NNError(ErrorCode.INVALID_ARGUMENT, "a graph's name can't be empty")
    source: Any = graph.source
    runtime, convert_types = graph.runtime, graph.convert_types
    try:
        elsewhere = as_remote_model(source)
        if elsewhere is not None:
            source = elsewhere
            if graph.sha256 is not None:
                raise NNError(ErrorCode.INVALID_ARGUMENT, "a model on other servers has no sha256 here")
        elif isinstance(source, str | os.PathLike):
            source = _existing(source)
            if graph.sha256 is not None and source.is_dir():
                raise NNError(ErrorCode.INVALID_ARGUMENT, f"{source} is a directory, which has no sha256")
        elif _is_paths(source):
            source = [_existing(path) for path in source]
        elif not isinstance(source, Graph) and not as_builders("source", source, _SOURCE):
            raise wrong_argument("source", _SOURCE, source)
        encoding, target = parse_enum(GraphEncoding, graph.encoding), parse_enum(ExecutionTarget, graph.target)
        if runtime is not None:
            runtime = known_runtime(encoding, runtime, elsewhere)
        if convert_types is not None:
            convert_types = as_flag("convert_types", convert_types, also="or None")
        share_variables = as_flag("share_variables", graph.share_variables)
        if graph.sha256 is not None and not is_sha256(graph.sha256):
            raise wrong_argument("sha256", "64 hexadecimal digits", graph.sha256)
        if graph.max_batch is not None and not is_batch(graph.max_batch):
            raise NNError(ErrorCode.INVALID_ARGUMENT, cannot_be("max_batch", graph.max_batch, is_batch))
        if not is_delay(graph.max_delay):
            raise NNError(ErrorCode.INVALID_ARGUMENT, cannot_be("max_delay", graph.max_delay, is_delay))
        if graph.max_delay and graph.max_batch is None:
            how = how_to_set("max_batch=8", "--graph-option NAME:max-batch=8", "max-batch = 8")
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"max-delay is for graphs with a max-batch ({how})")
        options = as_options("options", graph.options)
        words: dict[str, Any] = {"encoding": encoding, "target": target, "runtime": runtime}
        words |= {"convert_types": convert_types, "share_variables": share_variables}
        checked = replace(graph, source=source, options=options, **words)
        if options:
            _check_options(checked, rules)
    except NNError as error:
        raise error.with_message(f"graph {name!r}: {error}") from error
    return checked


def _check_options(graph: NamedGraph, rules: LoadRules) -> None:
    """Raise `NNError` for options that the graph's backend doesn't take. Those of a model for which there is no backend
    aren't checked: loading the model raises."""
    source: Any = graph.source
    if isinstance(source, Graph):
        return
    encoding = parse_enum(GraphEncoding, graph.encoding)
    try:
        backend = choose(source[0] if _is_paths(source) else source, encoding, graph.runtime, rules).backend
    except NNError:
        return
    backend.check_options(graph.options)


def _existing(path: str | os.PathLike[str]) -> Path:
    absolute = Path(as_path("source", path)).absolute()
    try:
        if absolute.exists():
            return absolute
    except OSError as error:  # for example, the name is too long, or a folder may not be searched
        raise ModelNotFound(f"no such file or directory: {one_line(error)}") from error
    raise ModelNotFound(printable(f"no such file or directory: {path}"))
