"""Loading a model in three steps: choose a backend, ask the policy, open the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wasi_nn.arguments import as_options
from wasi_nn.backends import Options, Source, load_errors
from wasi_nn.errors import ErrorCode, NNError, TargetUnavailable
from wasi_nn.graph.graph import Graph
from wasi_nn.loading.choose import ChosenModel, choose, looks_like_another
from wasi_nn.loading.rules import LoadRules, as_rules, known_runtime
from wasi_nn.process import forks
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

logger = logging.getLogger("wasi_nn")


def load(
    source: Source,
    encoding: GraphEncoding | str = GraphEncoding.AUTODETECT,
    target: ExecutionTarget | str = ExecutionTarget.CPU,
    *,
    options: Options | None = None,
    runtime: str | None = None,
    rules: LoadRules | None = None,
) -> Graph:
    """Load the operator's own model into a graph.

    `options` are the backend's own (`wasi_nn.backends.onnx.backend` lists those for ONNX). `runtime` names the ML
    runtime to use, where several can run the encoding: its Python module, or its extra of this package. It comes before
    what `rules` say. `Graph.device` and
    `Graph.runtime` tell where it came to run.

    Raises `NNError`: `invalid-argument` for an option, encoding, target or runtime that doesn't exist; `not-found` for
    a path that doesn't exist; `invalid-encoding` where no backend fits, or its runtime isn't installed;
    `unsupported-operation` (as `TargetUnavailable`) for the target; `runtime-error` if the runtime refuses the model.
    """
    encoding, target = parse_enum(GraphEncoding, encoding), parse_enum(ExecutionTarget, target)
    rules, options = as_rules(rules), as_options("options", {} if options is None else options)
    if runtime is not None:
        runtime = known_runtime(encoding, runtime)
    return open_model(choose(source, encoding, runtime, rules), target, options, rules)


def open_model(
    chosen: ChosenModel, target: ExecutionTarget, options: Options, rules: LoadRules, *, untrusted: bool = False
) -> Graph:
    """Open a model by the backend that was chosen for it, as the rules want it. An `untrusted` model is isolated where
    its runtime is unsafe for it. Raises as `load` does."""
    backend = chosen.backend
    try:
        isolation = rules.isolation_of(backend, untrusted=untrusted)
        load_on: Callable[[ExecutionTarget, Options], Graph]
        if isolation is not None:
            from wasi_nn.isolation import isolated_graph

            load_on = partial(isolated_graph.load, backend, chosen.model, isolation)
        else:
            if not backend.works_in_forks:
                forks.start(backend.runtime)
            model = chosen.model
            load_on = partial(backend.load_path, model) if isinstance(model, Path) else partial(backend.load, model)
        with load_errors(backend):
            graph = _load_on(load_on, target, options, rules)
    except NNError as error:
        other = looks_like_another(chosen) if error.code is ErrorCode.RUNTIME_ERROR else None
        if other is None:
            raise
        raise error.told_as(f"{error} (it looks like a model of {other.value})") from error
    if not graph.runtime:  # another package's, which doesn't say
        graph.runtime = backend.runtime
    if rules.convert_types:
        from wasi_nn.graph.conversion import converted

        graph = converted(graph)
    return graph


def _load_on(
    load_on: Callable[[ExecutionTarget, Options], Graph], target: ExecutionTarget, options: Options, rules: LoadRules
) -> Graph:
    try:
        return load_on(target, options)
    except TargetUnavailable as error:
        fallback = None if rules.target_fallback is None else parse_enum(ExecutionTarget, rules.target_fallback)
        if fallback in (None, target):
            raise
        logger.warning("%s; %s is used instead", error, fallback.value)
        return load_on(fallback, options)
