"""The metrics of a server are those of the documentation's table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import ggml_models
import pytest
import serving
from conftest import REPOSITORY, SUPPORT
from prometheus_client.parser import text_string_to_metric_families
from serving import RunningServer

INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}


DESCRIBED = f"""
[graphs]
net = {{ path = "net.onnx" }}
many = {{ path = "many.onnx", max-batch = 8 }}
letters = {{ path = "letters.gguf" }}
[guests]
web = {{ path = "{SUPPORT / "http" / "guest.wasm"}" }}
out = {{ path = "{SUPPORT / "http" / "sender.wasm"}", http-out = ["http://127.0.0.1:1"] }}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder, models = tmp_path_factory.mktemp("served"), serving.models()
    (folder / "net.onnx").write_bytes(models["net"])
    (folder / "many.onnx").write_bytes(models["fp32"])
    (folder / "letters.gguf").write_bytes(ggml_models.steady())
    (folder / "graphs.toml").write_text(DESCRIBED)
    with RunningServer(str(folder / "graphs.toml")) as running:
        running.wait_for_guests()
        yield running


def metrics(server: RunningServer) -> dict[str, Any]:
    """The metrics by the names that they have in Prometheus, but for the times at which each began."""
    families = text_string_to_metric_families(server.ask("GET", "/metrics")[1].decode())
    named = {f"{each.name}_total" if each.type == "counter" else each.name: each for each in families}
    return {name: family for name, family in named.items() if not name.endswith("_created")}


def table() -> dict[str, tuple[str, set[str]]]:
    """The metrics of the documentation: each with its type and its labels."""
    page = (REPOSITORY / "docs" / "how-to" / "observe.md").read_text()
    section = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|[^|]*\|[^|]*\|$", section, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_table_has_every_metric_with_its_type_and_labels(server: RunningServer) -> None:
    server.ask("POST", "/v2/models/net/infer", INPUTS)
    rows = {"inputs": [INPUTS["inputs"][0] | {"shape": [2, 2]}]}
    assert server.ask("POST", "/v2/models/many/infer", rows)[0] == 200
    assert server.ask("GET", "/guests/web")[0] == 200
    assert server.ask("GET", "/guests/out/get", None, {"to": "GET http 127.0.0.1:2 /"})[0] == 200  # which is denied
    server.ask("POST", "/v1/completions", {"model": "letters", "prompt": "a", "max_tokens": 3})
    served = {
        name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for name, family in metrics(server).items()
    }
    assert served == table()


def test_every_metric_of_the_server_says_what_it_is(server: RunningServer) -> None:
    for name, family in metrics(server).items():
        assert family.documentation
        assert name.startswith(("wasi_nn_", "process_"))


def test_names_that_clients_make_up_become_no_labels(server: RunningServer) -> None:
    server.ask("POST", "/v2/models/made-up/infer", INPUTS)
    server.ask("GET", "/guests/made-up/")
    server.ask("GET", "/page/made-up")
    assert b"made-up" not in server.ask("GET", "/metrics")[1]


def test_requests_under_way_are_counted(server: RunningServer) -> None:
    (sample,) = metrics(server)["wasi_nn_running_requests"].samples
    assert sample.value == 1  # the one that asks
