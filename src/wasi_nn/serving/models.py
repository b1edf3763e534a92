"""The graphs of a registry as a server's models: which are loaded, which aren't and why."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.errors import WasiNNError, nearest, one_line, shortened
from wasi_nn.graph.graph import Graph
from wasi_nn.serving.computing.batching import Batching, require_batchable
from wasi_nn.serving.computing.served_graph import ServedGraph
from wasi_nn.serving.computing.thread_calls import in_thread
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.observing.statistics import ModelStatistics

if TYPE_CHECKING:
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.serving.guests.model_registry import ModelRegistry

logger = logging.getLogger("wasi_nn.serving")

VERSION = "1"
"""The version of every model: a registry has one graph of a name."""

_RETRY_AFTER = 10  # seconds from a failed load to the next try


class State(enum.Enum):
    """Whether a model can be used."""

    READY = "READY"
    LOADING = "LOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Model:
    """A named graph, loaded or not. `reason` says why it isn't ready, or why a newer one couldn't be loaded."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.served: ServedGraph | None = None
        self.reason = "not loaded yet"
        self.is_unloaded = False
        """Whether an operator has unloaded it: only an operator loads it again."""
        self.loading: asyncio.Task[str] | None = None
        self.retry_at = 0.0
        self.statistics = ModelStatistics()

    @property
    def state(self) -> State:
        """Whether it can be used now."""
        if self.served is not None:
            return State.READY
        return State.UNAVAILABLE if self.loading is None else State.LOADING


class Models:
    """The models of a server. All methods are called in the event loop; loads run on threads of their own.

    `longest` is the time in seconds that no compute may exceed.
    """

    def __init__(self, registry: ModelRegistry, longest: float) -> None:
        self._registry = registry
        self._longest = longest
        self._models = {name: Model(name) for name in registry}
        self._reloading = asyncio.Lock()

    def all(self) -> Iterable[Model]:
        """The models, by their names in alphabetical order."""
        return [self._models[name] for name in sorted(self._models)]

    def has(self, name: str) -> bool:
        """Whether there is a model of this name."""
        return name in self._models

    def find(self, name: str, version: str = "") -> Model:
        """The model of a name. Raises `ServingError` with `not-found` for a name or a version that it doesn't have."""
        model = self._models.get(name)
        if model is None:
            near = nearest(name, self._models) if len(name) < 200 else ""
            raise ServingError(Reason.NOT_FOUND, f"no model is named {shortened(name)!r}{near}")
        if version not in ("", VERSION):
            message = f"model {name!r} has no version {shortened(version)!r}: its only one is {VERSION!r}"
            raise ServingError(Reason.NOT_FOUND, message)
        return model

    def description(self, model: Model) -> NamedGraph:
        """The operator's description of a model. Raises `NNError` if it was removed."""
        return self._registry.named(model.name)

    @property
    def rules(self) -> LoadRules:
        """The rules by which models are loaded."""
        return self._registry.rules

    @property
    def are_ready(self) -> bool:
        """Whether every model can be used that no operator has unloaded."""
        return all(model.served is not None or model.is_unloaded for model in self._models.values())

    async def load_all(self) -> None:
        """Load all models, one after another. What fails is logged, and is the model's `reason`."""
        for model in self.all():
            if model.served is None and not model.is_unloaded:
                await asyncio.wait([self._load(model)])

    async def served(self, model: Model, until: float) -> ServedGraph:
        """The graph of a model, which is loaded if it isn't yet.

        Raises `ServingError`: `unavailable` where it isn't there or can't be loaded, `late` if it isn't loaded by
        `until`, a time of the event loop.
        """
        if model.served is not None and not model.served.is_lost:
            return model.served
        loop = asyncio.get_running_loop()
        if model.loading is None and (model.is_unloaded or loop.time() < model.retry_at):
            raise self._unavailable(model)
        loading = self._load(model)
        done, _ = await asyncio.wait([loading], timeout=until - loop.time())
        if not done:
            raise ServingError(Reason.LATE, f"model {model.name!r} wasn't loaded within the request's time")
        if model.served is None:
            raise self._unavailable(model)
        return model.served

    async def load(self, name: str) -> None:
        """Load a model, also one that is loaded, in case its files were changed; the old graph serves meanwhile, and
        stays if the load fails. Raises `ServingError`."""
        model = self.find(name)
        if model.loading is not None:
            await asyncio.wait([model.loading])
        self._forget(name)
        model.is_unloaded = False
        failure = await self._loaded(model)
        if failure:
            raise ServingError(Reason.INVALID, f"model {name!r} can't be loaded: {failure}")

    async def unload(self, name: str) -> None:
        """Unload a model. Requests that have its graph go on; there are no further ones until it is loaded again.
        Raises `ServingError`."""
        model = self.find(name)
        model.is_unloaded = True
        if model.loading is not None:
            await asyncio.wait([model.loading])
        self._retire(model, "unloaded")
        self._forget(name)

    async def reload(self) -> list[str]:
        """Read the registry's file again, and load what was changed; the old graphs serve meanwhile. Returns the names
        that were added, changed or removed. Raises `NNError` for an error in the file, and changes nothing then."""
        async with self._reloading:
            loading = [model.loading for model in self._models.values() if model.loading is not None]
            if loading:  # of files that may be older: only a graph that is loaded is compared with its files
                await asyncio.wait(loading)
            names = await in_thread(self._registry.reload)
            for name in set(self._models) - set(self._registry):
                self._retire(self._models.pop(name), "removed")
            for name in names:
                if name in self._registry:
                    model = self._models.setdefault(name, Model(name))
                    if not model.is_unloaded:
                        await self._loaded(model)
            return names

    def close(self) -> None:
        """Retire all models."""
        for model in self._models.values():
            self._retire(model, "the server is ending")

    def _unavailable(self, model: Model) -> ServingError:
        retry_after = 0 if model.is_unloaded else _RETRY_AFTER
        return ServingError(Reason.UNAVAILABLE, f"model {model.name!r} isn't ready: {model.reason}", retry_after)

    def _forget(self, name: str) -> None:
        """Have the registry load the graph anew at its next use."""
        self._registry.add(name, self._registry.named(name), overwrite=True)

    def _retire(self, model: Model, reason: str) -> None:
        served, model.served, model.reason = model.served, None, reason
        if served is not None:
            served.retire()

    def _load(self, model: Model) -> asyncio.Task[str]:
        if model.loading is None:
            model.loading = asyncio.get_running_loop().create_task(self._do_load(model))
        return model.loading

    async def _loaded(self, model: Model) -> str:
        """Load a model as the registry has it now; returns why that failed, or nothing."""
        while model.loading is not None:  # it may have begun before the change that is to be loaded
            await asyncio.wait([model.loading])
        return await asyncio.shield(self._load(model))

    async def _do_load(self, model: Model) -> str:
        try:
            graph, named = await in_thread(partial(self._loaded_graph, model.name))
            if named.max_batch is not None:
                require_batchable(graph)
        except Exception as error:
            message = str(error) if isinstance(error, WasiNNError) else one_line(error)
            model.reason, model.retry_at = message, asyncio.get_running_loop().time() + _RETRY_AFTER
            logger.error("model %r can't be loaded: %s", model.name, message)
            return message
        finally:
            model.loading = None
        before = model.served
        if before is None or before.graph is not graph:
            batching = None if named.max_batch is None else Batching(named.max_batch, named.max_delay)
            is_ours = not isinstance(named.source, Graph)  # else the operator closes it
            model.served = ServedGraph(graph, self._longest, is_ours=is_ours, batching=batching)
            if before is not None:
                before.retire()
        model.reason = ""
        if model.is_unloaded or self._models.get(model.name) is not model:
            self._retire(model, "unloaded")
        return ""

    def _loaded_graph(self, name: str) -> tuple[Graph, NamedGraph]:
        """A graph, and its description."""
        named = self._registry.named(name)
        while True:
            graph, before, named = self._registry.get(name), named, self._registry.named(name)
            if named is before:  # else it was changed meanwhile
                return graph, named
