"""Schemathesis makes requests of the server's own description, and finds that the server keeps to it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import serving
from conftest import need
from hypothesis import HealthCheck, given, settings, strategies
from serving import RunningServer

from wasi_nn.serving.oip.openapi import description
from wasi_nn.serving.settings import ServingLimits

OPERATIONS = [
    (path, method) for path, methods in description()["paths"].items() for method in methods if path != "/metrics"
]
MODELS = {name: content for name, content in serving.models().items() if name in ("net", "two", "text", "int8", "fp64")}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(MODELS, has_admin=True, limits=ServingLimits(request_time=20)) as running:
        yield running


@pytest.fixture(scope="module")
def schema(server: RunningServer) -> Any:
    need("schemathesis", "'wasi-nn[dev]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis.openapi
    host, port = server.address
    return schemathesis.openapi.from_url(f"http://{host}:{port}/openapi.json")


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value)
def test_the_server_keeps_to_its_description(schema: Any, path: str, method: str) -> None:
    # A schema can't say that tensors fit a model.
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    operation = schema[path][method.upper()]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=strategies.data())
    def check(data: Any) -> None:
        case = data.draw(operation.as_strategy())
        if "name" in case.path_parameters and data.draw(strategies.booleans()):
            case.path_parameters["name"] = data.draw(strategies.sampled_from(sorted(MODELS)))
            case.path_parameters |= {"version": "1"} if "version" in case.path_parameters else {}
        response = case.call()
        # A model that this test has unloaded isn't ready; that is all that the server may say of itself.
        if response.status_code == 503:
            assert "isn't ready: unloaded" in response.text or '"ready": false' in response.text
        assert response.status_code < 500 or response.status_code == 503, response.text
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    check()
