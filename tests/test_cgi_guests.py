"""Core modules that answer HTTP requests by CGI (RFC 3875)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from serving import RunningServer

from wasi_nn.errors import GuestError
from wasi_nn.guests.http.cgi_guest import CgiHead
from wasi_nn.serving.settings import ServingLimits

LIMITS = ServingLimits(body_bytes=2_000_000, header_bytes=4096, body_time=1, idle_time=1)

# Answers with its environment, each variable with a zero byte after it, and the request's body.
TELLS_ALL = r"""(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 32) "Content-Type: text/plain\r\nX-Own: 1\n\n")
  (func $put (param $at i32) (param $size i32)
    (loop $more
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $size))
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
      (local.set $size (i32.sub (local.get $size) (i32.load (i32.const 8))))
      (br_if $more (local.get $size))))
  (func (export "_start")
    (call $put (i32.const 32) (i32.const 36))
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $environ (i32.const 1024) (i32.const 65536)))
    (call $put (i32.const 65536) (i32.load (i32.const 12)))
    (block $end (loop $more
      (i32.store (i32.const 0) (i32.const 131072))
      (i32.store (i32.const 4) (i32.const 65536))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (br_if $end (i32.eqz (i32.load (i32.const 8))))
      (call $put (i32.const 131072) (i32.load (i32.const 8)))
      (br $more)))))"""

SAYS = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "{text}")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const {size}))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    {end}))"""

ANSWERS: Mapping[str, tuple[bytes, str]] = {
    "status": (b"Status: 404 Not here\nX-A: 1\nX-A: 2\n\nnot here", ""),
    "origin": (b"Status: 200\nAlt-Svc: clear\nClear-Site-Data: *\nNEL: {}\nX-Trace-File: a\nX-B: 1\n\n", ""),
    "location": (b"Location: https://example.org/\n\n", ""),
    "length": (b"Content-Type: a/b\nContent-Length: 4\n\nfour", ""),
    "short": (b"Content-Type: a/b\nContent-Length: 9\n\nfour", ""),
    "failing": (b"Content-Type: a/b\n\nbegun", "(call $exit (i32.const 3))"),
    "exiting": (b"Content-Type: a/b\n\nwhole", "(call $exit (i32.const 0))"),
    "trapping": (b"Content-Type: a/b\n\nbegun", "unreachable"),
    "nothing": (b"", ""),
    "no end": (b"Content-Type: a/b\n", ""),
    "no type": (b"X-A: 1\n\n", ""),
    "no name": (b"X A: 1\n\n", ""),
    "no colon": (b"Content-Type: a/b\nabc\n\n", ""),
    "no status": (b"Status: 99 \n\n", ""),
    "hop": (b"Content-Type: a/b\nConnection: close\n\n", ""),
    "return": (b"Content-Type: a/b\rSet-Cookie: c\n\n", ""),
    "no length": (b"Content-Type: a/b\nContent-Length: 1, 2\n\n", ""),
    "two lengths": (b"Content-Type: a/b\nContent-Length: 1\nContent-Length: 1\n\na", ""),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("cgi")
    (folder / "all.wat").write_text(TELLS_ALL)
    lines = [
        '[guests.all]\npath = "all.wat"\nserves = "http"\nenvironment = { OWN = "x", HTTP_X_SET = "by the operator" }\n'
    ]
    for name, (text, end) in ANSWERS.items():
        data = "".join(f"\\{byte:02x}" for byte in text)
        (folder / f"{name}.wat").write_text(SAYS.format(text=data, size=len(text), end=end))
        lines.append(f'[guests."{name}"]\npath = "{name}.wat"\nserves = "http"\n')
    (folder / "graphs.toml").write_text("".join(lines))
    with RunningServer(str(folder / "graphs.toml"), limits=LIMITS) as running:
        running.wait_for_guests()
        yield running


def test_fields_about_all_paths_of_the_server_are_dropped(server: RunningServer) -> None:
    status, _, headers = server.ask("GET", "/guests/origin")
    assert (status, headers["x-b"]) == (200, "1")
    assert not {"alt-svc", "clear-site-data", "nel", "x-trace-file"} & set(headers)


def test_a_request_in_the_environment(server: RunningServer) -> None:
    headers = {"X-Set": "by a client", "X_Set": "by a client", "Proxy": "evil", "X-More": "1", "Content-Type": "a/b"}
    status, content, answered = server.ask("PUT", "/guests/all/a%20b/c?d=%20e", b"body", headers)
    assert (status, answered["content-type"], answered["x-own"]) == (200, "text/plain", "1")
    *variables, body = content.split(b"\0")
    environment = dict(variable.decode().split("=", 1) for variable in variables)
    host, port = server.address
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "/guests/all",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "d=%20e",
        "REQUEST_URI": "/guests/all/a%20b/c?d=%20e",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "4",
        "CONTENT_TYPE": "a/b",
        "HTTP_X_MORE": "1",
        "HTTP_X_SET": "by the operator",
        "OWN": "x",
    }
    assert expected.items() <= environment.items()
    assert "HTTP_PROXY" not in environment
    assert "HTTP_HOST" not in environment
    assert body == b"body"


def test_a_large_body(server: RunningServer) -> None:
    body = bytes(range(256)) * 7000
    status, content, _ = server.ask("POST", "/guests/all", body)
    assert (status, content.endswith(b"\0" + body)) == (200, True)


def test_a_path_with_a_zero_byte(server: RunningServer) -> None:
    assert server.ask("GET", "/guests/all/%00")[:2] == (400, {"error": "the path has a zero byte in it"})


def test_answers(server: RunningServer) -> None:
    status, content, headers = server.ask("GET", "/guests/status")
    assert (status, content, headers["x-a"]) == (404, b"not here", "2")
    status, content, headers = server.ask("GET", "/guests/location")
    assert (status, content, headers["location"]) == (302, b"", "https://example.org/")
    status, content, headers = server.ask("GET", "/guests/length")
    assert (status, content, headers["content-length"]) == (200, b"four", "4")
    assert server.ask("GET", "/guests/exiting")[:2] == (200, b"whole")


@pytest.mark.parametrize("name", [name for name in ANSWERS if name.startswith(("no", "hop", "return", "two"))])
def test_no_answer(server: RunningServer, name: str) -> None:
    status, content, headers = server.ask("GET", f"/guests/{name.replace(' ', '%20')}")
    assert (status, content) == (500, {"error": "the guest gave no answer"})
    assert "set-cookie" not in headers


@pytest.mark.parametrize("name", ["short", "failing", "trapping"])
def test_an_answer_that_breaks_off(server: RunningServer, name: str) -> None:
    """It is cut if a part of it was sent, and an error otherwise."""
    answer = server.say(f"GET /guests/{name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 500 ") or not answer.endswith((b"0\r\n\r\n", b"length: 4\r\n\r\nfour"))


def test_a_head_in_many_pieces() -> None:
    reader = CgiHead(100)
    text = b"Status: 201\r\nX-A: 1\r\n\r\nbody"
    heads = [reader.add(text[at : at + 1]) for at in range(len(text) - 4)]
    assert heads[:-1] == [None] * (len(text) - 5)
    assert heads[-1] is not None
    assert (heads[-1].status, heads[-1].headers, reader.rest) == (201, (("x-a", b"1"),), b"")
    with pytest.raises(GuestError, match="no end of its headers within 100 bytes"):
        CgiHead(100).add(b"a" * 101)
