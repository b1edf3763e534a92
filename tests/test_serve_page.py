"""The page of a server: its files, the clients that may use it, and the facts that it gets about the server."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import serving
from conftest import REPOSITORY, SUPPORT
from serving import HungGraph, RunningServer

import wasi_nn
from wasi_nn.hosts import is_this_machine
from wasi_nn.serving import page
from wasi_nn.serving.access import Tokens
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.front import Front
from wasi_nn.serving.http.origins import Origins
from wasi_nn.serving.observing.metrics import Metrics
from wasi_nn.serving.observing.request_log import FinishedRequest, RequestLog
from wasi_nn.serving.oip.rest import RestEndpoints
from wasi_nn.serving.openai.endpoints import OpenAIEndpoints
from wasi_nn.serving.page.activity import EVERY, Activity, percentiles
from wasi_nn.serving.page.advice import ADVICE
from wasi_nn.serving.page.endpoints import PageEndpoints
from wasi_nn.serving.request_bytes import RequestBytes
from wasi_nn.serving.service import InferenceService
from wasi_nn.serving.settings import ServingLimits

FILES = Path(page.__file__).parent / "files"
INFER = "/v2/models/net/infer"
INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}
TOKEN = "a-token-for-the-page"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    named = {name: content for name, content in serving.models().items() if name in ("net", "failing")}
    with RunningServer(named | {"broken": b"no model"}) as running:
        yield running


def status_of(server: RunningServer, **headers: str) -> Any:
    status, answer, _ = server.ask("GET", "/page/status", headers=headers)
    assert status == 200, answer
    return answer


# Files


def test_the_page_and_its_files(server: RunningServer) -> None:
    for name in ("", *(f"page/{file.name}" for file in FILES.iterdir() if file.name != "index.html")):
        status, content, headers = server.ask("GET", f"/{name}")
        assert status == 200
        assert content == (FILES / (Path(name).name or "index.html")).read_bytes()
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        kind = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", "": "text/html"}[
            Path(name).suffix
        ]
        assert headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "path", ["/page/", "/page/index.html", "/page/../access.py", "/page/..%2f..%2faccess.py", "/page/main.py"]
)
def test_there_are_no_other_files(server: RunningServer, path: str) -> None:
    assert server.ask("GET", path)[0] == 404


def test_the_page_has_no_scripts_in_its_text_and_nothing_from_elsewhere() -> None:
    page = (FILES / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=|\sstyle=|<style", page)
    for file in FILES.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//\w+\.\w+/", text), file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )


def test_a_server_without_a_page() -> None:
    with RunningServer({}, has_page=False) as bare:
        assert bare.ask("GET", "/")[0] == 404
        assert bare.ask("GET", "/page/status")[0] == 404
        status, answer, _ = bare.ask("POST", INFER, INPUTS, own_origin(bare))
        assert (status, answer["error"][:23]) == (403, "requests of pages in br")


# Who may use it


def own_origin(server: RunningServer) -> dict[str, str]:
    host, port = server.address
    return {"Origin": f"http://{host}:{port}"}


def test_the_pages_own_requests_are_answered(server: RunningServer) -> None:
    status, answer, headers = server.ask("POST", INFER, INPUTS, own_origin(server))
    assert (status, answer["outputs"][0]["data"]) == (200, [0, 2, 0, 4])
    assert not [name for name in headers if name.startswith("access-control")]


def checked(origins: Origins, *, host: str = "", origin: str | None = None, is_for_page: bool = False) -> str:
    """The reason for which a request is refused; empty if it isn't refused."""
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    try:
        origins.check(headers, is_for_page=is_for_page)
    except ServingError as error:
        assert error.reason is Reason.FORBIDDEN
        return error.message
    return ""


OURS = Origins(has_page=True)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("machine", "https://machine"),
        ("a.localhost:1", "http://a.localhost:1"),
        ("host.docker.internal:8000", "http://host.docker.internal:8000"),
        ("LocalHost:8000", "http://localhost:8000"),
    ],
)
def test_a_servers_own_origin(host: str, origin: str) -> None:
    assert checked(OURS, host=host, origin=origin, is_for_page=True) == ""


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://example.org", "http://localhost", "http://localhost:8001", "file://localhost:8000"),
        *("http://localhost:8000.example.org", "localhost:8000", "http://"),
    ],
)
def test_other_origins_are_refused(origin: str) -> None:
    assert "is" in checked(OURS, host="localhost:8000", origin=origin)
    assert "refused" in checked(OURS, host="localhost:8000", origin=origin)


def test_an_origin_without_a_host_is_refused() -> None:
    assert "refused" in checked(OURS, origin="http://")


def test_a_site_whose_name_means_this_machine_is_refused() -> None:
    """By DNS rebinding, a page of a site has the server's address, and is its own origin for a browser."""
    rebound: Any = {"host": "example.org:8000", "origin": "http://example.org:8000"}
    assert "isn't known by the name 'example.org:8000'" in checked(OURS, **rebound)
    assert "isn't known" in checked(OURS, host="example.org.:8000")  # a GET has no Origin
    assert checked(Origins(has_page=True, names={"example.org"}), **rebound) == ""
    for closed in (Origins(has_page=True, is_open=False), Origins(has_page=True, is_open=False, is_local=False)):
        assert checked(closed, **rebound) == ""  # tokens, or the name in the certificate
    public = Origins(has_page=True, is_local=False)
    assert "isn't known" in checked(public, **rebound)
    assert "isn't known" in checked(public, host="example.org", is_for_page=True)
    assert checked(public, host="example.org") == ""  # a client's, which may know the server by any name


def test_a_server_with_tls_has_an_origin_with_tls() -> None:
    with_tls = Origins(has_page=True, is_open=False, is_tls=True)
    assert checked(with_tls, host="a.example", origin="https://a.example") == ""
    assert "refused" in checked(with_tls, host="a.example", origin="http://a.example")


def test_addresses_of_this_machine() -> None:
    assert [is_this_machine(each) for each in ("127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "::", "10.0.0.1", "x")] == [
        *[True] * 3,
        *[False] * 4,
    ]


def test_a_request_under_a_sites_name_is_refused(server: RunningServer) -> None:
    for path in ("/", "/page/status", "/v2", "/metrics"):
        status, answer, _ = server.ask("GET", path, headers={"Host": "example.org"})
        assert (status, "isn't known by the name 'example.org'" in answer["error"]) == (403, True)


def test_a_name_that_the_operator_allows() -> None:
    with RunningServer({}, names=("Server.Example",)) as named:
        assert named.ask("GET", "/", headers={"Host": "server.example:80"})[0] == 200
        assert named.ask("GET", "/", headers={"Host": "other.example:80"})[0] == 403


def test_the_status_needs_a_token_and_the_files_dont(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    with RunningServer({}, token_file=tmp_path / "tokens") as closed:
        assert closed.ask("GET", "/")[0] == 200
        assert closed.ask("GET", "/page/main.js")[0] == 200
        assert closed.ask("GET", "/page/status")[0] == 401
        assert closed.ask("GET", "/page/status?token=" + TOKEN)[0] == 401
        assert status_of(closed, Authorization=f"Bearer {TOKEN}")["server"]["is_ready"] is True


def test_strangers_see_no_requests_of_others(tmp_path: Path) -> None:
    """A server that others reach shows who asked what, and what went wrong, to holders of a token only."""
    (tmp_path / "tokens").write_text(TOKEN)
    with RunningServer({}, host="0.0.0.0") as public:
        content = status_of(public)
        assert (content["requests"], content["errors"]) == (None, None)
    with RunningServer({}, host="0.0.0.0", token_file=tmp_path / "tokens") as public:
        content = status_of(public, Authorization=f"Bearer {TOKEN}")
        assert (content["requests"], content["errors"]) == ([], [])


# What it is told


def test_models_and_errors(server: RunningServer) -> None:
    for _ in range(3):
        server.ask("POST", INFER, INPUTS)
        server.ask("POST", INFER, {"inputs": [INPUTS["inputs"][0] | {"shape": [2, 2]}]})
    server.ask("GET", "/favicon.ico")
    content = status_of(server)
    models = {model["name"]: model for model in content["models"]}
    assert models["net"]["state"] == "READY"
    assert models["net"]["kind"] == "tensors"
    assert models["net"]["runtime"] == "onnxruntime"
    assert models["net"]["requests"] >= 6
    assert models["net"]["failed"] >= 3
    assert models["net"]["percentiles"] == sorted(models["net"]["percentiles"])
    assert models["broken"]["state"] == "UNAVAILABLE"
    assert "the model isn't in a format known here" in models["broken"]["reason"]
    assert content["server"]["is_ready"] is False
    first = content["errors"][0]
    assert (first["error"], first["requests"]) == ("input 'x' has dims [4], got [2, 2]", 3)
    assert (first["status"], first["model"], first["call"]) == (400, "net", "infer")
    assert first["advice"] == ADVICE[Reason.INVALID]
    assert not [error for error in content["errors"] if "favicon" in error["error"]]


def test_every_reason_has_advice() -> None:
    assert set(ADVICE) == set(Reason) - {Reason.CANCELLED}


def test_requests_that_are_under_way() -> None:
    hung = HungGraph()
    with RunningServer({"hung": hung}, limits=ServingLimits(computes=1)) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
        client = threading.Thread(
            target=server.ask, args=("POST", "/v2/models/hung/infer", body, {"X-Request-ID": "one"})
        )
        client.start()
        hung.began.acquire()
        content = status_of(server)
        hung.may_end.set()
        client.join()
        (request,) = content["requests"]
        assert (request["id"], request["model"], request["call"], request["protocol"]) == (
            "one",
            "hung",
            "infer",
            "http",
        )
        assert content["now"] == content["now"] | {"requests": 1, "running": 1, "waiting": 0}
        assert content["now"]["held_bytes"] > 0


def test_a_client_that_goes_is_no_error() -> None:
    hung = HungGraph()
    with RunningServer({"hung": hung}) as server:
        body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}'
        with socket.create_connection(server.address) as client:
            client.sendall(
                b"POST /v2/models/hung/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            hung.began.acquire()
        while status_of(server)["requests"]:
            pass
        content = status_of(server)
        assert content["errors"] == []
        assert content["models"][0]["failed"] == 1
        hung.may_end.set()


def finished(**changes: Any) -> FinishedRequest:
    facts: dict[str, Any] = {"id": "1", "protocol": "http", "call": "infer", "is_work": True}
    return FinishedRequest(**facts | changes)


def activity(names: list[str]) -> Activity:
    service = InferenceService(wasi_nn.Registry(dict.fromkeys(names, b"")), ServingLimits())
    return Activity(service, RequestBytes(1))


def follow(of: Activity, request: FinishedRequest) -> None:
    of.begun(request)
    of.ended(request)


def test_moments() -> None:
    followed = activity(["net"])
    for seconds in (1.0, 2.0, 3.0, 4.0):
        follow(followed, finished(model="net", seconds=seconds, outcome="ok" if seconds < 4 else "failed"))
    follow(followed, finished(model="net", call="model_metadata", is_work=False))
    followed.look()
    followed.look()
    first, second = followed.moments
    assert (first.ended, first.failed, first.seconds) == (4, 1, (2.0, 4.0, 4.0))
    assert (second.ended, second.failed, second.seconds) == (0, 0, None)
    for _ in range(1000):
        followed.look()
    assert EVERY * len(followed.moments) == 300


def test_percentiles() -> None:
    assert percentiles([]) is None
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)
    assert percentiles([float(n) for n in range(1000, 0, -1)]) == (500.0, 950.0, 990.0)


def test_what_is_kept_is_bounded() -> None:
    followed = activity(["net"])
    for number in range(5000):
        name = f"made up {number}" * 1000
        error = f"no model is named {number}" * 1000
        follow(followed, finished(model=name, outcome="not-found", status=404, error=error, id=str(number)))
        follow(followed, finished(model="net", seconds=0.1))
    assert list(followed.models) == ["net"]
    assert len(followed.models["net"].latest) == 1000
    failures = followed.failures()
    assert len(failures) == 50
    assert failures[0].id == "4999"
    assert max(len(failure.error) + len(failure.model) for failure in failures) <= 800
    assert followed.live() == []


def test_a_model_that_is_removed_is_forgotten() -> None:
    followed = activity(["net", "other"])
    follow(followed, finished(model="net"))
    follow(followed, finished(model="other"))
    followed._service.models._models.pop("other")
    followed.look()
    assert list(followed.models) == ["net"]


def test_the_status_of_many_models_is_bounded() -> None:
    registry = {f"model {number:04} {'long ' * 10}": b"" for number in range(700)}
    service = InferenceService(wasi_nn.Registry(registry), ServingLimits())
    from wasi_nn.serving.page.overview import overview

    content = overview(service, Activity(service, RequestBytes(1)), shows_requests=True)
    assert (len(content["models"]), content["more_models"]) == (500, 200)


# Guests that answer HTTP requests


def test_guests_over_http(tmp_path: Path) -> None:
    guest = SUPPORT / "http" / "guest.wasm"
    (tmp_path / "bad.wasm").write_bytes(b"no guest")
    described = f'[graphs]\n[guests."a b"]\npath = "{guest}"\n[guests.bad]\npath = "bad.wasm"\nserves = "http"\n'
    (tmp_path / "graphs.toml").write_text(described)
    with RunningServer(str(tmp_path / "graphs.toml")) as server:
        server.wait_for_guests()
        status, _, headers = server.ask("GET", "/guests/a%20b")
        assert status == 200
        # A page of the guest's has no origin: for a browser it isn't the server's own.
        assert headers["content-security-policy"].split()[0] == "sandbox"
        assert "allow-same-origin" not in headers["content-security-policy"]
        good, bad = status_of(server)["guests"]
        assert (good["name"], good["path"], good["reason"], good["requests"]) == ("a b", "/guests/a%20b/", "", 1)
        assert (bad["name"], bad["requests"]) == ("bad", 0)
        assert "WebAssembly" in bad["reason"]


def test_the_table_of_endpoints_has_every_path() -> None:
    """SECURITY.md says of each path what a stranger may do."""
    service, counted = InferenceService(wasi_nn.Registry({}), ServingLimits()), RequestBytes(1)
    front = Front(service, Tokens(None), RequestLog(is_on=False), Metrics(service, counted), counted)
    routes = [*RestEndpoints(front).routes(), *OpenAIEndpoints(front).routes()]
    routes += PageEndpoints(service, Activity(service, counted), shows_requests=True).routes()
    table = (REPOSITORY / "SECURITY.md").read_text().partition("\n| endpoint |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\S+?)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    known = [path.replace("...", "*") for row in rows for path in row if "/" in path]
    for route in routes:
        path = re.sub(r"\{\w+(:\w+)?\}", "NAME", route.path).replace("/versions/NAME", "")
        assert any(fnmatchcase(path, each) for each in known), path
