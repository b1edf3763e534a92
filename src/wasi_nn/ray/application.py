"""`app`: the models of a file of graphs as an application of Ray Serve, with a deployment for each."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from wasi_nn.arguments import as_mapping, require_kind, shown
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.loading.registry import Registry
from wasi_nn.ray.ingress import Ingress, RemoteModel
from wasi_nn.ray.model_app import DeployedModel, ModelApp, models_of
from wasi_nn.serving.settings import ServingLimits

if TYPE_CHECKING:
    from ray.serve import Application

    from wasi_nn.loading.named_graph import NamedGraph, Source
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.ray.messages import HttpAnswer, HttpRequest

_INGRESS = "ingress"
_AUTOSCALING = {"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 2}


class _Model:
    """The deployment of a model: each replica loads its graph in its own process."""

    async def __init__(self, model: DeployedModel, limits: ServingLimits, log_json: bool) -> None:  # type: ignore[misc]
        # In the event loop of the requests: Ray Serve waits for it.
        self._app = ModelApp(model, limits, log_json=log_json)
        await self._app.load()

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request over HTTP."""
        return await self._app.answer(request)


@serve.ingress()
class _Ingress:
    """The deployment that clients reach over HTTP."""

    def __init__(
        self,
        handles: Mapping[str, Any],
        unrepeatable: tuple[str, ...],
        limits: ServingLimits,
        token_file: Path | None,
        log_json: bool,
    ) -> None:
        models = {name: RemoteModel(handle, name not in unrepeatable) for name, handle in handles.items()}
        self._ingress = Ingress(models, limits, token_file, log_json)

    def __serve_build_asgi_app__(self) -> Any:  # Ray's name
        return self._ingress.application()


def app(
    graphs: Mapping[str, NamedGraph | Source] | str | os.PathLike[str],
    *,
    deployments: Mapping[str, Mapping[str, Any]] | None = None,
    ingress: Mapping[str, Any] | None = None,
    rules: LoadRules | None = None,
    limits: ServingLimits | None = None,
    token_file: str | os.PathLike[str] | None = None,
    log_json: bool = False,
) -> Application:
    """The named graphs, and the guests of a file that serve models, as an application of Ray Serve. It speaks the Open
    Inference Protocol over HTTP.

    graphs       a mapping of names to models, or the path of a file of graphs. It is read here; the files of models and
                 guests are read by each replica, at the same paths
    deployments  options of Ray Serve for the deployments of models, by their names; those of `*` are for all. Without
                 any, a model has 1 to 8 replicas, as many as it takes for 2 requests each, with one processor each
    ingress      options of Ray Serve for the deployment that takes the requests
    rules        how models are loaded. None: `LoadRules()`
    limits       the limits of each replica. None: `ServingLimits()` with a compute at a time for each processor of it
    token_file   the file of the tokens that requests need, at this path on each node. None: they need none
    log_json     whether each replica logs its requests as lines of JSON on stderr

    Raises `NNError` as `Registry` does, and with `invalid-argument` for options of a model that there isn't.
    """
    models = models_of(Registry(graphs, rules=rules), (limits or ServingLimits()).request_time)
    if not models:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "there are no graphs to serve")
    names = [model.name for model in models]
    options, labels = _options(names, deployments), _labels(names)
    token_path = None if token_file is None else Path(token_file).absolute()
    handles = {}
    for model in models:
        chosen = options[model.name]
        own = limits or ServingLimits(computes=_processors_of(chosen))
        waiting = own.computes + own.queue
        settings = {
            "max_ongoing_requests": waiting,
            "max_queued_requests": waiting,
            "name": labels[model.name],
            **chosen,
        }
        deployment = serve.deployment(_Model).options(**settings)
        handles[model.name] = deployment.bind(model, own, log_json)
    unrepeatable = tuple(model.name for model in models if not model.can_repeat)
    settings = {"num_replicas": 1, "max_ongoing_requests": 1000, "name": _INGRESS, **(ingress or {})}
    arguments = (handles, unrepeatable, limits or ServingLimits(), token_path, log_json)
    application: Application = serve.deployment(_Ingress).options(**settings).bind(*arguments)
    return application


def build(arguments: dict[str, Any]) -> Application:
    """`app` with its arguments in a mapping, for the files of `serve deploy` and KubeRay: `limits` is a mapping of
    fields of `ServingLimits`. Raises `NNError` as `app` does, also for an argument that there isn't."""
    _require_known("argument", arguments, ("graphs", "deployments", "ingress", "limits", "token_file", "log_json"))
    if "graphs" not in arguments:
        raise NNError(ErrorCode.INVALID_ARGUMENT, "the argument graphs is missing: the path of a file of graphs")
    given = dict(arguments)
    if "limits" in given:
        limits = as_mapping("limits", given["limits"], "a mapping of fields of ServingLimits to numbers")
        _require_known("limit", limits, [field.name for field in fields(ServingLimits)])
        given["limits"] = ServingLimits(**limits)
    return app(**given)


def _require_known(kind: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            message = f"no {kind} is named {shown(name)}; there are {', '.join(known)}{nearest(str(name), known)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def _options(names: list[str], given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """The options of each graph's deployment."""
    given = as_mapping("deployments", given or {}, "a mapping of graphs' names to options of Ray Serve")
    for name, options in given.items():
        if name not in (*names, "*"):
            message = (
                f"deployments: no model is named {shown(name)}; there are {', '.join(names)}{nearest(name, names)}"
            )
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        require_kind(f"deployments[{name!r}]", options, Mapping, "a mapping of options of Ray Serve")
    chosen = {}
    for name in names:
        options = {**given.get("*", {}), **given.get(name, {})}
        if "num_replicas" not in options:
            options.setdefault("autoscaling_config", dict(_AUTOSCALING))
        chosen[name] = options
    return chosen


def _processors_of(options: Mapping[str, Any]) -> int:
    processors: float = (options.get("ray_actor_options") or {}).get("num_cpus", 1)
    return max(1, math.floor(processors))


def _labels(names: list[str]) -> dict[str, str]:
    """Names of deployments: those of the graphs, with only such characters as stand in names of metrics and files."""
    labels: dict[str, str] = {}
    taken = {_INGRESS}
    for name in names:
        label = base = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        number = 1
        while label in taken:
            number += 1
            label = f"{base}_{number}"
        taken.add(label)
        labels[name] = label
    return labels
