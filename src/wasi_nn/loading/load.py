"""Loading a model in three steps: choose a backend, ask the policy, open the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wasi_nn.arguments import as_options
from wasi_nn.backends import Backend, Options, RemoteModel, Source, choose_device, load_errors
from wasi_nn.backends.remote.addresses import as_remote_model
from wasi_nn.errors import NNError, TargetUnavailable
from wasi_nn.graph.graph import Graph
from wasi_nn.loading.choose import ChosenModel, choose
from wasi_nn.loading.rules import LoadRules, as_rules, known_runtime
from wasi_nn.loading.slow import log_if_slow
from wasi_nn.process import forks
from wasi_nn.settings import how_to_set
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

logger = logging.getLogger("wasi_nn")


def load(
    source: Source | RemoteModel,
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT,
    target: ExecutionTarget | str = ExecutionTarget.CPU,
    *,
    options: Options | None = None,
    runtime: str | None = None,
    rules: LoadRules | None = None,
) -> Graph:
    """Load the operator's own model into a graph. A `source` that is the text of an address (`grpc://HOST:PORT/MODEL`
    and others), or a list of such, is a model on other servers.

    `options` are options of the backend (`wasi_nn.backends.onnx.backend` lists those for ONNX). `runtime` names the ML
    runtime, if several can run the encoding: its Python module, or its extra of this package. It takes precedence over
    `rules`. `Graph.runtime` and `Graph.device` say where the graph runs.

    Raises `NNError`: `invalid-argument` for an option, encoding, target or runtime that doesn't exist; `not-found` for
    a path that doesn't exist; `invalid-encoding` if no backend fits, or its runtime isn't installed;
    `unsupported-operation` (as `TargetUnavailable`) for the target; `runtime-error` if the runtime refuses the model.
    """
    encoding, target = parse_enum(GraphEncoding, encoding), parse_enum(ExecutionTarget, target)
    rules, options = as_rules(rules), as_options("options", {} if options is None else options)
    if runtime is not None:
        runtime = known_runtime(encoding, runtime, as_remote_model(source))
    return open_model(choose(source, encoding, runtime, rules), target, options, rules)


def open_model(
    chosen: ChosenModel, target: ExecutionTarget, options: Options, rules: LoadRules, *, untrusted: bool = False
) -> Graph:
    """Open a model by its chosen backend, according to the rules. An `untrusted` model is isolated if its runtime is
    unsafe for untrusted models. Raises as `load` does."""
    backend = chosen.backend
    try:
        model = chosen.model
        isolation = None if isinstance(model, RemoteModel) else rules.isolation_of(backend, untrusted=untrusted)
        load_on: Callable[[ExecutionTarget, Options], Graph]
        if isolation is None and not backend.works_in_forks:
            forks.start(backend.runtime)
        if isinstance(model, RemoteModel):
            load_on = partial(_load_remote, backend, model)
        elif isolation is not None:
            from wasi_nn.isolation import isolated_graph

            load_on = partial(isolated_graph.load, backend, model, isolation, convert_types=rules.convert_types)
        else:
            load_on = partial(backend.load_path, model) if isinstance(model, Path) else partial(backend.load, model)
        with load_errors(backend), log_if_slow(model):
            graph = _load_on(load_on, target, options, rules)
    except NNError as error:
        cause = _explained(error, chosen)
        if cause is error:
            raise
        raise cause from error
    if not graph.runtime:  # a graph of another package's backend, which doesn't name its runtime
        graph.runtime = backend.runtime
    if rules.convert_types and isolation is None:  # a worker converts by itself: not everything crosses to the host
        from wasi_nn.graph.conversion import converted

        graph = converted(graph)
    return graph


def _load_remote(backend: Backend, model: RemoteModel, target: ExecutionTarget, options: Options) -> Graph:
    choose_device(backend.list_devices(), target, backend.runtime)  # the server chooses; only the default fits
    return backend.load_remote(model, options)


def _explained(error: NNError, chosen: ChosenModel) -> NNError:
    if isinstance(chosen.model, RemoteModel):
        return error
    try:
        from wasi_nn.loading.explanation import explained
    except OSError:  # no descriptor is free to read the module, and that is the likely cause of the error
        return error
    return explained(error, chosen.backend, chosen.model)


def _load_on(
    load_on: Callable[[ExecutionTarget, Options], Graph], target: ExecutionTarget, options: Options, rules: LoadRules
) -> Graph:
    try:
        return load_on(target, options)
    except TargetUnavailable as error:
        fallback = None if rules.target_fallback is None else parse_enum(ExecutionTarget, rules.target_fallback)
        if fallback is None:
            how = how_to_set("LoadRules(target_fallback='cpu')", "--target-fallback cpu")
            raise error.with_message(f"{error}; another target can take its place ({how})") from error
        if fallback is target:
            raise
        logger.warning("%s; %s is used instead", error, fallback.value)
        return load_on(fallback, options)
