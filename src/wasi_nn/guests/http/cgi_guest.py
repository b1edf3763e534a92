"""`CgiGuest`: a core module that answers HTTP requests by CGI (RFC 3875), each in a fresh sandbox.

The request's body is the guest's standard input, its head is in the environment. The guest writes the answer to its
standard output: lines of headers, with `Status` among them, an empty line, and the body. `CgiHead` reads the headers.
"""

from __future__ import annotations

from contextlib import closing

from wasmtime import Engine, Linker, Module, Store

from wasi_nn import __version__
from wasi_nn.abi.core.dialects import Dialect, abi_of, imports_of
from wasi_nn.abi.core.extensions import interfaces_of
from wasi_nn.abi.http.exchange import Exchange, RequestHead, ResponseHead
from wasi_nn.abi.http.fields import Field, HeaderError, checked_name, checked_value
from wasi_nn.errors import GuestError
from wasi_nn.guests import guest_file
from wasi_nn.guests.http.sandbox import Sandbox, opened
from wasi_nn.guests.linking import link_module, run_linked
from wasi_nn.guests.run_stats import StatsRecorder
from wasi_nn.guests.store_limits import MemoryCounts
from wasi_nn.guests.wasi import Wasi
from wasi_nn.limits.limits import Limits
from wasi_nn.session.session import Session

_NOT_PASSED = ("content-length", "content-type", "proxy")  # HTTP_PROXY would be taken for a setting of clients
_STATUSES = range(200, 600)


class CgiGuest:
    """A compiled module. Several threads may use it at once. Raises `GuestError` for one that isn't a command, or that
    lacks an import here."""

    def __init__(self, name: str, module: Module, engine: Engine, counts: MemoryCounts) -> None:
        self.name = name
        self._module = module
        self._engine = engine
        self._counts = counts
        self._abi = abi = abi_of(Dialect.AUTO, module)
        linker, store = Linker(engine), Store(engine)
        with closing(store), Session() as session:
            Wasi([name], {}, {}, None, None, Limits()).add_to(linker, store, module)
            abi(session).add_to_linker(linker, interfaces_of(imports_of(module)))
            guest_file.require_command(name, module, abi, linker, store)

    def answer(self, exchange: Exchange, sandbox: Sandbox) -> None:
        """Have the guest answer a request, in a sandbox of its own, on this thread. Returns when the guest has ended.

        Raises `GuestTrap` if it traps, also when it is stopped, and `GuestError` if it can't be run or fails.
        """
        environment = {**variables(exchange.request), **sandbox.arguments.env}
        with opened(self.name, self._engine, self._module, self._counts, sandbox, environment) as (store, wasi, clock):
            session = sandbox.session
            start = link_module(self.name, self._module, self._engine, store, wasi, session, self._abi, StatsRecorder())
            result = run_linked(self.name, start, session, wasi, clock)
        if result.exit_code:
            raise GuestError(f"{self.name} ended with the exit code {result.exit_code}")
        exchange.listener.finished(())


def variables(request: RequestHead) -> dict[str, str]:
    """The variables by which CGI describes a request."""
    _, _, query = request.path.partition("?")
    host, port = _host_and_port(request.authority or "")
    fields: dict[str, list[str]] = {}
    for name, value in request.headers:
        fields.setdefault(name, []).append(value.decode("utf-8", "replace"))
    own = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": f"wasi-nn/{__version__}",
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": port or ("443" if request.scheme == "https" else "80"),
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.prefix,
        "PATH_INFO": request.decoded_path,
        "REQUEST_URI": f"{request.prefix}{request.path}",
        "QUERY_STRING": query,
        "REMOTE_ADDR": request.client,
        "REMOTE_HOST": request.client,
    }
    if request.scheme == "https":
        own["HTTPS"] = "on"
    for name, variable in (("content-length", "CONTENT_LENGTH"), ("content-type", "CONTENT_TYPE")):
        if name in fields:
            own[variable] = fields[name][-1]
    for name, values in fields.items():
        if name not in _NOT_PASSED and "_" not in name:  # a name with _ would pass for another one with -
            own[f"HTTP_{name.upper().replace('-', '_')}"] = ", ".join(values)
    return own


def _host_and_port(authority: str) -> tuple[str, str]:
    host, colon, port = authority.rpartition(":")
    return (host, port) if colon and port.isdecimal() else (authority, "")


class CgiHead:
    """Reads the headers of an answer from the beginning of what a guest writes. `most` is the most bytes of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin = bytearray()
        self._line_at = self._looked_at = 0  # where the first incomplete line begins, and how far it was looked at
        self._lines: list[bytes] = []
        self.rest = b""
        """The beginning of the body, once the head is whole."""

    def add(self, content: bytes) -> ResponseHead | None:
        """Take more bytes; gives the head once it is whole. Raises `GuestError` for one that isn't CGI's."""
        self._begin += content
        while (end := self._begin.find(b"\n", self._looked_at)) >= 0:
            line = bytes(self._begin[self._line_at : end]).removesuffix(b"\r")
            self._line_at = self._looked_at = end + 1
            if not line:
                self.rest = bytes(self._begin[end + 1 :])
                return _head_of(self._lines)
            self._lines.append(line)
        self._looked_at = len(self._begin)
        if self._looked_at > self._most:
            raise GuestError(f"the guest's answer has no end of its headers within {self._most} bytes")
        return None


def _head_of(lines: list[bytes]) -> ResponseHead:
    status, fields, length = 0, list[Field](), None
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if name.lower() == b"status":
            digits = value[:3].decode("latin-1")
            if not (digits.isdecimal() and int(digits) in _STATUSES):
                raise GuestError("the guest's answer has a Status that isn't one of HTTP, from 200 to 599")
            status = int(digits)
            continue
        try:
            field = checked_name(name.decode("latin-1")), checked_value(value)
        except HeaderError as error:
            raise GuestError(f"the guest's answer has a header that can't be ({error.args[0]})") from None
        if not colon:
            raise GuestError("the guest's answer has a line without a colon among its headers")
        if field[0] == "content-length":
            if not value.isdigit() or len(value) > 18 or length is not None:
                raise GuestError("the guest's answer has a Content-Length that is no number of bytes")
            length = int(value)
        fields.append(field)
    names = {name for name, _ in fields}
    if not names & {"content-type", "location"} and not status:
        raise GuestError("the guest's answer has neither a Content-Type, a Location nor a Status")
    return ResponseHead(status or (302 if "location" in names else 200), tuple(fields), length)
