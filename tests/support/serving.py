"""Servers for the tests, in this process or as the command, and the models that they serve."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_models
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn.serving.event_loop import loop_factory
from wasi_nn.serving.http_guests.handler import Handler
from wasi_nn.serving.http_guests.handlers import Handlers
from wasi_nn.serving.server import Server, ServerSettings

TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
}


def identity(element: int) -> bytes:
    """y = x, of two columns."""
    tensors: dict[str, Any] = {name: (element, ["rows", 2]) for name in "xy"}
    return onnx_models.build([helper.make_node("Identity", ["x"], ["y"])], {"x": tensors["x"]}, {"y": tensors["y"]})


def models() -> dict[str, bytes]:
    """Models by name: `net` is relu of 4, `two` has two inputs and outputs, `text` strings, `failing` fails unless its
    input has 4 elements, `loop` runs as long as its input says; and the identity of each type of numbers."""
    own = {
        "net": onnx_models.relu(),
        "two": onnx_models.add_and_mul(),
        "text": onnx_models.strings(),
        "failing": onnx_models.failing(),
        "loop": onnx_models.loop(),
    }
    return own | {name: identity(element) for name, element in TYPES.items()}


class HungGraph(wasi_nn.Graph):
    """A graph whose computes wait until `may_end` is set, and can't be interrupted; `began` counts them."""

    encoding, runtime = wasi_nn.GraphEncoding.ONNX, "stand-in"

    def __init__(self) -> None:
        import numpy as np

        info = wasi_nn.TensorInfo("x", np.dtype(np.float32), (1,))
        super().__init__([info], [wasi_nn.TensorInfo("y", info.dtype, (1,))])
        self.may_end = threading.Event()
        self.began = threading.Semaphore(0)

    def runner(self) -> Any:
        def run(inputs: Any, reuse: Any) -> Any:
            self.began.release()
            self.may_end.wait()
            return [inputs[0].copy()]

        return run


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any, Mapping[str, str]]:
    """The status, the content and the headers of an answer. A body that isn't bytes is sent as JSON; JSON comes as an
    object, anything else as bytes. The connection is closed afterwards."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, content, dict(headers or {}))
        response = connection.getresponse()
        answer: Any = response.read()
    finally:
        connection.close()
    got = {name.lower(): value for name, value in response.getheaders()}
    if got.get("content-type") == "application/json":
        answer = json.loads(answer)
    return response.status, answer, got


class RunningServer:
    """A server on threads of this process, whose models are loaded if they can be; a context manager."""

    def __init__(self, graphs: Any, **settings: Any) -> None:
        self.registry = graphs if isinstance(graphs, wasi_nn.Registry) else wasi_nn.Registry(graphs)
        self._settings = ServerSettings(**({"http_port": 0, "grpc_port": None} | settings))
        self._has_started = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="server of a test")

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failures.append(error)
        finally:
            self._has_started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.server = Server(self.registry, self._settings)
        await self.server.run(lambda addresses: self._has_started.set())

    def __enter__(self) -> RunningServer:
        self._thread.start()
        self._has_started.wait()
        if self._failures:
            self._thread.join()
            raise self._failures[0]
        self.wait_for(self.server.service.models.load_all())
        return self

    def __exit__(self, *exception: object) -> None:
        self.call(self.server.end)
        self._thread.join()
        if self._failures:
            raise self._failures[0]

    def wait_for_guests(self) -> None:
        """Wait until all guests that answer HTTP requests are compiled, or can't be."""
        self.wait_for(self._handlers.load())

    def handler(self, guest: str) -> Handler:
        """The object that handles the requests of a guest."""
        return self._handlers.handlers[guest]

    @property
    def _handlers(self) -> Handlers:
        handlers = self.server.handlers
        assert handlers is not None  # HTTP is served
        return handlers

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the server's event loop."""
        self._loop.call_soon_threadsafe(function)

    def wait_for(self, work: Any) -> Any:
        """The result of a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def grpc_address(self) -> str:
        """The address of gRPC for a client."""
        return self.server.addresses["grpc"].removeprefix("grpc://")

    @property
    def address(self) -> tuple[str, int]:
        """The address of HTTP."""
        host, _, port = self.server.addresses["http"].rpartition("/")[2].rpartition(":")
        return host, int(port)

    def connection(self) -> http.client.HTTPConnection:
        """A connection of a client."""
        return http.client.HTTPConnection(*self.address)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """An answer, as the function `ask` gives it."""
        return ask(self.connection(), method, path, body, headers)

    def say(self, *parts: bytes) -> bytes:
        """The server's whole answer to these bytes, up to the end of the connection. The client sends no more, but
        keeps its side open."""
        with socket.create_connection(self.address) as client:
            for part in parts:
                client.sendall(part)
            received = b""
            while chunk := client.recv(65536):
                received += chunk
            return received


class Command:
    """The command `wasi-nn serve` as a process."""

    def __init__(self, *arguments: str) -> None:
        ports = ("--http-port", "0", "--grpc-port", "0")
        command = [sys.executable, "-m", "wasi_nn", "serve", *ports, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.announced = self.process.stdout.readline()
        found = re.search(r"https?://(\S+):(\d+) and grpcs?://(\S+)", self.announced)
        if found is None:
            raise AssertionError(f"{self.announced}{self.process.communicate()[1]}")
        self.http, self.grpc = (found[1], int(found[2])), found[3]

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """An answer, as the function `ask` gives it."""
        return ask(http.client.HTTPConnection(*self.http), method, path, body, headers)

    def wait_until_ready(self) -> None:
        """Wait until all models are loaded."""
        while self.ask("GET", "/v2/health/ready")[0] != 200:
            pass

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """The exit code and the standard error of the process, once it has ended."""
        _, error = self.process.communicate()
        return self.process.returncode, error


@contextmanager
def command(*arguments: str) -> Iterator[Command]:
    """A command that is killed at the end of the block if it still runs."""
    started = Command(*arguments)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate()


def write_graphs(folder: Path, named: Mapping[str, bytes]) -> Path:
    """Write models and a file of graphs with them; returns the path of that file."""
    lines = []
    for name, content in named.items():
        (folder / f"{name}.onnx").write_bytes(content)
        lines.append(f'[graphs."{name}"]\npath = "{name}.onnx"\n')
    path = folder / "graphs.toml"
    written = folder / "graphs.toml.new"
    written.write_text("".join(lines))
    os.replace(written, path)
    return path
