"""Guests in a file of graphs: the keys, the errors for mistakes in them, and `reload`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import onnx_models as models
import pytest
from checks import refused

from wasi_nn import ErrorCode, Limits, Registry
from wasi_nn.loading.http_out import HttpOut, Place
from wasi_nn.loading.served_guest import GUEST_LIMITS, DeclaredTensor, GuestDirectory, ServedGuest, Serves

Write = Callable[[str, bytes], Path]

GUEST = b"(module)"
OUTPUTS = 'outputs = [{ name = "y", datatype = "BYTES", shape = [1] }]'


def _registry(write: Write, text: str) -> Registry:
    write("guest.wat", GUEST)
    return Registry(write("graphs.toml", text.encode()))


def test_all_that_can_be_said_of_a_guest(write: Write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write("net.onnx", models.relu())
    registry = _registry(
        write,
        """
        [graphs.net]
        path = "net.onnx"

        [guests.short]
        path = "guest.wat"

        [guests."a name: with spaces"]
        path = "guest.wat"
        serves = "model"
        graphs = ["net", "test-*"]
        limits = { run-time = "500ms", compute-time = 2.5, guest-memory = "1.5M", fuel = 1000, files = "none" }
        directories = { "/data" = "data", "/out" = { path = "data", writable = true } }
        environment = { LANG = "C", EMPTY = "" }
        arguments = ["--top", "3"]
        reuse = true
        inputs = [
            { name = "picture", datatype = "UINT8", shape = [-1, -1, 3] },
            { name = "top", datatype = "INT32", shape = [], optional = true },
        ]
        outputs = [{ name = "label", datatype = "BYTES", shape = [1] }]
        """,
    )
    assert list(registry) == ["net"]
    path = tmp_path / "guest.wat"
    assert registry.guests["short"] == ServedGuest(path)
    assert registry.guests["a name: with spaces"] == ServedGuest(
        path,
        Serves.MODEL,
        ("net", "test-*"),
        Limits(
            run_time=0.5,
            compute_time=2.5,
            guest_memory=3 * 2**19,
            fuel=1000,
            files=None,
            tensor_bytes=GUEST_LIMITS.tensor_bytes,
            output_bytes=GUEST_LIMITS.output_bytes,
        ),
        {"/data": GuestDirectory(tmp_path / "data"), "/out": GuestDirectory(tmp_path / "data", writable=True)},
        {"LANG": "C", "EMPTY": ""},
        ("--top", "3"),
        (DeclaredTensor("picture", "UINT8", (-1, -1, 3)), DeclaredTensor("top", "INT32", (), optional=True)),
        (DeclaredTensor("label", "BYTES", (1,)),),
        reuse=True,
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("pth = 'x'", "unknown key 'pth'; .*did you mean path"),
        ("serves = 'model'", "the key 'path' is missing"),
        ("path = ['a', 'b']", "path can't be .*it takes a text"),
        ("path = 'guest.wat'\nserves = 'grpc'", "serves can't be 'grpc': it takes one of model, http"),
        ("path = 'guest.wat'\nserves = 'model'", "a guest that serves a model needs outputs"),
        (f"path = 'guest.wat'\nserves = 'http'\n{OUTPUTS}", "belong to a guest that serves a model"),
        (f"path = 'guest.wat'\nhttp-out = ['http://a']\n{OUTPUTS}", "http-out is for a guest that serves http"),
        *(
            (f"path = 'guest.wat'\nhttp-out = {value}", f".*http-out.*{reason}")
            for value, reason in (
                ("'http://a'", "it takes a list of places"),
                ("[1]", "url can't be 1"),
                ("['a']", "'a' is no place of the form https://HOST"),
                ("['ftp://a']", "is no place"),
                ("['http://']", "is no place"),
                ("['http://a b']", "is no place"),
                ("['http://u@a']", "is no place"),
                ("['http://a:0']", "is no place"),
                ("['http://a:99999']", "is no place"),
                ("['http://*.a']", "is no place"),
                ("['http://[::g]']", "is no place"),
                ("['http://a/?b']", "is no place"),
                ("['http://a/#b']", "is no place"),
                ("[{ private = true }]", "the key 'url' is missing"),
                ("[{ url = 'http://a', private = 1 }]", "private can't be 1"),
                ("{ requests = 1 }", "the key 'to' is missing"),
                ("{ to = ['http://a'], request = 1 }", "unknown key 'request'; .*did you mean requests"),
                ("{ to = ['http://a'], requests = 0 }", "requests can't be 0: it takes a positive number"),
                ("{ to = ['http://a'], requests = 1.5 }", "requests can't be 1.5"),
                ("{ to = ['http://a'], answer-bytes = 'x' }", "'x' is no size"),
                ("{ to = ['http://a'], connect-time = true }", "connect-time can't be True"),
                ("{ to = ['http://a'], connect-time = inf }", "connect-time can't be inf"),
            )
        ),
        (f"path = 'guest.wat'\nmount = '/a'\n{OUTPUTS}", "mount is the path of a guest that serves http"),
        *(
            (
                f"path = 'guest.wat'\nmount = '{mount}'",
                f"mount can't be {re.escape(repr(mount))}: it takes a path such as /labels",
            )
            for mount in (
                "",
                "/",
                "a",
                "/a/",
                "//a",
                "/a//b",
                "/a b",
                "/a?b",
                "/%61",
                "/..",
                "/a/../b",
                "/v2/x",
                "/metrics",
            )
        ),
        ("path = 'guest.wat'\ninputs = [{ name = 'x', datatype = 'FP32', shape = [] }]", "needs outputs"),
        ("path = 'guest.wat'\ngraphs = 'net'", "graphs can't be 'net': it takes a list of texts"),
        ("path = 'guest.wat'\nlimits = { run-tim = 1 }", "no limit is named 'run-tim'; .*did you mean run-time"),
        ("path = 'guest.wat'\nlimits = { run-time = '5 parsecs' }", "the limit run-time: '5 parsecs' is no time"),
        ("path = 'guest.wat'\nlimits = { files = true }", "the limit files can't be True"),
        ("path = 'guest.wat'\nlimits = { files = 1.5 }", "Limits.files must be a positive whole number"),
        ("path = 'guest.wat'\nlimits = { guest-memory = -1 }", "Limits.guest_memory must be a positive whole number"),
        ("path = 'guest.wat'\ndirectories = { '/d' = 3 }", "directory '/d': path can't be 3"),
        ("path = 'guest.wat'\ndirectories = { '/d' = { path = '.', writeable = true } }", "did you mean writable"),
        ("path = 'guest.wat'\nenvironment = { A = 1 }", "variable 'A' can't be 1"),
        ("path = 'guest.wat'\nenvironment = { 'A=B' = '1' }", "'A=B' is no name"),
        ('path = "guest.wat"\nenvironment = { A = "\\u0000" }', "'A' has a zero byte"),
        ('path = "guest.wat"\narguments = ["\\u0000"]', "an argument has a zero byte"),
        ("path = 'guest.wat'\noutputs = { y = 'BYTES' }", "outputs can't be .*a list of tables"),
        ("path = 'guest.wat'\noutputs = ['y']", "outputs 0: it can't be 'y': it takes a table"),
        ("path = 'guest.wat'\noutputs = [{ name = 'y', datatype = 'BYTES' }]", "outputs 0: the key 'shape' is missing"),
        (
            "path = 'guest.wat'\noutputs = [{ name = 'y', datatype = 'float', shape = [] }]",
            "datatype can't be 'float': it takes one of BOOL, ",
        ),
        ("path = 'guest.wat'\noutputs = [{ name = 'y', datatype = 'FP32', shape = [-2] }]", "shape can't be"),
        ("path = 'guest.wat'\noutputs = [{ name = 'y', datatype = 'FP32', shape = [true] }]", "shape can't be"),
        (
            "path = 'guest.wat'\noutputs = [{ name = 'y', datatype = 'FP32', shape = [], optional = true }]",
            "unknown key 'optional'",
        ),
        (f"path = 'guest.wat'\n{OUTPUTS[:-1]}, {OUTPUTS[11:]}", "two of the outputs are named 'y'"),
    ],
)
def test_a_mistake_in_a_guest_is_an_error_that_names_it(write: Write, lines: str, message: str) -> None:
    text = f"[guests.net]\n{lines}"
    refused(ErrorCode.INVALID_ARGUMENT, f"(?s)graphs.toml, guest 'net'.*{message}", _registry, write, text)


def test_a_guest_and_its_directories_must_exist(write: Write) -> None:
    for lines in ("path = 'gone.wasm'", "directories = { '/d' = 'gone' }", "http-out = { to = [], ca-file = 'gone' }"):
        lines = lines if lines.startswith("path") else f"path = 'guest.wat'\n{lines}"
        refused(ErrorCode.NOT_FOUND, r"guest 'net'.*gone", _registry, write, f"[guests.net]\n{lines}")
    refused(ErrorCode.INVALID_ARGUMENT, "can't be empty", _registry, write, "[guests.'']\npath = 'guest.wat'")


def test_a_graph_and_a_guest_have_names_of_their_own(write: Write, tmp_path: Path) -> None:
    net = write("net.onnx", models.relu())
    both = "[graphs.net]\npath = 'net.onnx'\n[guests.net]\npath = 'guest.wat'"
    refused(ErrorCode.INVALID_ARGUMENT, "a graph and a guest are both named 'net'", _registry, write, both)
    registry = _registry(write, "[guests.other]\npath = 'guest.wat'")
    registry.add("net", net)
    write("graphs.toml", b"[guests.net]\npath = 'guest.wat'")
    refused(ErrorCode.INVALID_ARGUMENT, "a graph and a guest are both named 'net'", registry.reload)
    assert list(registry.guests) == ["other"]


def test_reload_tells_which_guests_have_changed(write: Write) -> None:
    guests = "".join(f"[guests.{name}]\npath = '{name}.wat'\n" for name in "abc")
    for name in "abcd":
        write(f"{name}.wat", GUEST)
    registry = _registry(write, guests)
    assert registry.reload() == []
    write("new.wat", b"(module )")
    os.replace(registry.guests["a"].path.parent / "new.wat", registry.guests["a"].path)
    changed = guests.replace("[guests.c]\npath = 'c.wat'", "reuse = true\n[guests.d]\npath = 'd.wat'")
    write("graphs.toml", changed.encode())
    assert registry.reload() == ["a", "b", "c", "d"]
    assert registry.guests["b"].reuse
    write("graphs.toml", b"[guests.a]\npath = 'gone.wat'")
    refused(ErrorCode.NOT_FOUND, "gone.wat", registry.reload)
    assert list(registry.guests) == ["a", "b", "d"]


def test_where_a_guest_may_send_requests(write: Write, tmp_path: Path) -> None:
    write("ca.pem", b"")
    registry = _registry(
        write,
        """
        [guests.short]
        path = "guest.wat"
        http-out = ["HTTPS://API.example.com/v1/", "http://[0:0::1]:8080", "http://10.0.0.7"]

        [guests.long]
        path = "guest.wat"
        [guests.long.http-out]
        to = [{ url = "http://a.lan", private = true }]
        requests = 2
        request-bytes = 10
        answer-bytes = "1K"
        connect-time = "500ms"
        first-byte-time = 1.5
        between-time = 2
        ca-file = "ca.pem"

        [guests.none]
        path = "guest.wat"
        http-out = []
        """,
    )
    places = (
        Place("https", "api.example.com", 443, "/v1"),
        Place("http", "::1", 8080, private=True),
        Place("http", "10.0.0.7", 80, private=True),
    )
    assert registry.guests["short"].http_out == HttpOut(places)
    own = Place("http", "a.lan", 80, private=True)
    assert registry.guests["long"].http_out == HttpOut((own,), 2, 10, 1024, 0.5, 1.5, 2, tmp_path / "ca.pem")
    assert registry.guests["none"].http_out is None
