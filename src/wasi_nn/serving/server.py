"""`Server`: listens for HTTP and gRPC, and ends without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvicorn
from starlette.routing import Router

from wasi_nn.errors import ErrorCode, NNError, WasiNNError, one_line, printable
from wasi_nn.hosts import is_this_machine
from wasi_nn.process.files import read_regular
from wasi_nn.serving.access import Tokens
from wasi_nn.serving.front import Front
from wasi_nn.serving.http.connection import bounded_protocol
from wasi_nn.serving.http.door import OPEN_PATHS, Door
from wasi_nn.serving.http.origins import Origins
from wasi_nn.serving.http_guests.handlers import Handlers
from wasi_nn.serving.observing.metrics import Metrics
from wasi_nn.serving.observing.observers import RequestObserver
from wasi_nn.serving.observing.request_log import RequestLog
from wasi_nn.serving.observing.request_traces import RequestTraces
from wasi_nn.serving.observing.telemetry import spans
from wasi_nn.serving.oip.grpc_service import GrpcService
from wasi_nn.serving.oip.rest import RestEndpoints
from wasi_nn.serving.openai.endpoints import OpenAIEndpoints
from wasi_nn.serving.openai.errors import error_content
from wasi_nn.serving.page.activity import Activity
from wasi_nn.serving.page.endpoints import PageEndpoints
from wasi_nn.serving.request_bytes import RequestBytes
from wasi_nn.serving.service import InferenceService
from wasi_nn.serving.settings import ServingLimits

if TYPE_CHECKING:
    from wasi_nn.loading.registry import Registry

logger = logging.getLogger("wasi_nn.serving")

Stop = Callable[[], Awaitable[None]]
"""Takes no more requests, and waits for the end of those that are under way, within their time."""

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ServerSettings:
    """Where and how a server listens.

    http_port, grpc_port  None: not at all; 0: any free port
    guests_port           a further port of HTTP, where guests answer pages of their own. None: none
    token_file            bearer tokens, of which a request has to have one; None: everybody may use the server
    tls                   the files of a certificate and of its key
    has_admin             whether clients may list, load and unload models
    log_json              whether each request is logged as a line of JSON
    has_page              whether there is a page for browsers
    names                 names by which browsers reach the server, beside those that no other site can have
    trace_dir             where traces of single requests are written for clients that ask for one; None: nowhere
    """

    host: str = _LOOPBACK
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    guests_port: int | None = None
    token_file: Path | None = None
    tls: tuple[Path, Path] | None = None
    has_admin: bool = False
    log_json: bool = False
    has_page: bool = True
    names: tuple[str, ...] = ()
    trace_dir: Path | None = None
    limits: ServingLimits = field(default_factory=ServingLimits)


class Server:
    """Serves the graphs of a registry. `run` serves until the server is asked to end.

    `addresses` are those that it listens on, by protocol (`http`, `grpc`, and `guests` for a port of their own), once
    it does.
    """

    def __init__(self, registry: Registry, settings: ServerSettings) -> None:
        self._registry = registry
        self._settings = settings
        self._tokens = Tokens(settings.token_file)
        self._traces = RequestTraces(settings.trace_dir, settings.limits.traces)
        self.addresses: dict[str, str] = {}
        self.handlers: Handlers | None = None
        """The guests that answer HTTP requests, while HTTP is served."""
        self._is_asked_to_end = asyncio.Event()
        self._has_signals = False
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, started: Callable[[dict[str, str]], object] = lambda addresses: None) -> None:
        """Serve until `end` is called; SIGTERM and SIGINT call it, and SIGHUP `reload`. `started` is called once the
        server listens. Raises `NNError` for an address or a certificate that can't be used."""
        settings, limits = self._settings, self._settings.limits
        self.service = InferenceService(self._registry, limits)
        request_bytes = RequestBytes(limits.total_bytes)
        metrics = Metrics(self.service, request_bytes)
        self.log = log = RequestLog(is_on=settings.log_json)
        activity = Activity(self.service, request_bytes) if settings.has_page else None
        observers: list[RequestObserver] = [*spans(), self._traces, *([activity] if activity else [])]
        front = Front(
            self.service,
            self._tokens,
            log,
            metrics,
            request_bytes,
            has_admin=settings.has_admin,
            traces=self._traces,
            observers=observers,
            has_page=settings.has_page,
        )
        stops: list[Stop] = []
        with self._signals():
            try:
                if settings.http_port is not None:
                    stops.append(self._listen_for_http(front, settings.http_port, activity))
                if settings.grpc_port is not None:
                    stops.append(await self._listen_for_grpc(front, settings.grpc_port))
                self._start(self.service.models.load_all())
                started(self.addresses)
                await self._is_asked_to_end.wait()
            finally:
                self.service.is_draining = True
                await asyncio.gather(*(stop() for stop in stops))
        for task in self._tasks:
            task.cancel()
        self.service.models.close()

    def end(self) -> None:
        """Take no more requests, and end once those that are under way have ended. A second SIGTERM or SIGINT ends the
        process at once."""
        self._is_asked_to_end.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            if self._has_signals and asyncio.get_running_loop().remove_signal_handler(number):
                signal.signal(number, signal.SIG_DFL)

    def reload(self) -> None:
        """Read the file of graphs and the file of tokens again, while requests go on. What is wrong is logged."""
        if not self._is_asked_to_end.is_set():
            self._start(self._reload())

    async def _reload(self) -> None:
        try:
            self._tokens.reload()
            names = await self.service.models.reload()
            if self.handlers is not None:
                await self.handlers.load(frozenset(names))
        except (WasiNNError, OSError) as error:
            logger.error("nothing was reloaded: %s", one_line(error))
            return
        logger.warning("reloaded: %s", printable(", ".join(names)) or "nothing has changed")

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        actions = {signal.SIGTERM: self.end, signal.SIGINT: self.end, signal.SIGHUP: self.reload}
        try:
            for number, action in actions.items():
                loop.add_signal_handler(number, action)
            self._has_signals = True
        except (ValueError, RuntimeError):  # only the main thread may have handlers
            actions = {}
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)

    async def _load_guests(self, handlers: Handlers) -> None:
        try:
            await handlers.load()
        finally:
            self.service.is_starting = False

    def _listen_for_http(self, front: Front, port: int, activity: Activity | None) -> Stop:
        settings = self._settings
        ports = [port] if settings.guests_port is None else [port, settings.guests_port]
        listeners = _listeners(settings.host, ports)
        language = OpenAIEndpoints(front)
        routes = [*RestEndpoints(front).routes(), *language.routes()]
        self.handlers = handlers = Handlers(front, self._registry)
        self.service.is_starting = True
        self._start(self._load_guests(handlers))
        is_local, is_open = is_this_machine(listeners[0].getsockname()[0]), settings.token_file is None
        open_paths = [*OPEN_PATHS]
        if activity is not None:
            activity.texts, activity.guests = language.texts, handlers
            page = PageEndpoints(self.service, activity, shows_requests=is_local or not is_open)
            routes += page.routes()
            open_paths += page.open_paths
            self._start(activity.watch())
        names = {name.lower() for name in (settings.host, *settings.names)}
        origins = Origins(
            settings.has_page, names, is_open and settings.tls is None, is_local, settings.tls is not None
        )
        router = Router(routes, redirect_slashes=False, default=handlers)
        doors = [Door(front, router, {"/v1/": error_content}, origins, open_paths)]
        if settings.guests_port is not None:
            guests = Router([], redirect_slashes=False, default=handlers.on_own_port)
            doors.append(Door(front, guests, None, replace(origins, has_page=True), ()))
        stops, servers = [], []
        for name, listener, door in zip(("http", "guests"), listeners, doors, strict=False):
            server = self._uvicorn(door, listeners)
            servers.append(server)
            stops.append(self._serve(server, listener))
            self.addresses[name] = f"{'https' if settings.tls else 'http'}://{_address(listener)}"
        front.metrics.watch_connections(lambda: sum(len(it.server_state.connections) for it in servers))

        async def stop() -> None:
            await asyncio.gather(*(stop() for stop in stops))
            await language.close()
            await handlers.close()

        return stop

    def _uvicorn(self, door: Any, listeners: Sequence[socket.socket]) -> _Uvicorn:
        """A server of HTTP. Raises `NNError` and closes the listeners if the certificate can't be used."""
        settings, limits = self._settings, self._settings.limits
        config = uvicorn.Config(
            door,
            http=bounded_protocol(limits),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(limits.idle_time)),
            timeout_graceful_shutdown=max(1, round(limits.drain_time)),
            ssl_certfile=settings.tls and settings.tls[0],
            ssl_keyfile=settings.tls and settings.tls[1],
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # malformed requests are the clients' affair
        try:
            config.load()
        except (OSError, ValueError) as error:
            for listener in listeners:
                listener.close()
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"the certificate can't be used: {one_line(error)}") from error
        return _Uvicorn(config)

    def _serve(self, server: _Uvicorn, listener: socket.socket) -> Stop:
        serving = asyncio.get_running_loop().create_task(server.serve([listener]))

        async def stop() -> None:
            server.should_exit = True
            await serving

        return stop

    async def _listen_for_grpc(self, front: Front, port: int) -> Stop:
        settings, limits = self._settings, self._settings.limits
        options = [
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", limits.header_bytes),
            ("grpc.absolute_max_metadata_size", limits.header_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_idle_ms", round(1000 * limits.idle_time)),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.total_queue + limits.computes + 64)
        server.add_generic_rpc_handlers((GrpcService(front).handler(),))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            if settings.tls is None:
                chosen = server.add_insecure_port(f"{host}:{port}")
            else:
                certificate, key = (bytes(read_regular(path)) for path in settings.tls)
                credentials = grpc.ssl_server_credentials([(key, certificate)])
                chosen = server.add_secure_port(f"{host}:{port}", credentials)
        except (RuntimeError, OSError) as error:
            reason = one_line(error).partition("; set GRPC_VERBOSITY")[0]  # gRPC tells no more than that it can't bind
            hint = f"; {_OTHER_PORT}" if isinstance(error, RuntimeError) else ""
            message = f"gRPC can't listen on {host}:{port}: {reason}{hint}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
        await server.start()
        self.addresses["grpc"] = f"{'grpcs' if settings.tls else 'grpc'}://{host}:{chosen}"

        async def stop() -> None:
            await server.stop(limits.drain_time)

        return stop


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without its handlers of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_OTHER_PORT = "choose another port by --http-port, --grpc-port or --guests-port"


def _listeners(host: str, ports: Sequence[int]) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for port in ports:
            listeners += [_listener(host, port)]
    except NNError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listener(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With its protocol named, since asyncio else has answers of two parts wait for the client's acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # connections wait until the server accepts them
    except OSError as error:
        if listener is not None:
            listener.close()
        reason = error.strerror or one_line(error)
        hint = f"; {_OTHER_PORT}" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        message = f"HTTP can't listen on {host}:{port}: {reason}{hint}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
    listener.setblocking(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
