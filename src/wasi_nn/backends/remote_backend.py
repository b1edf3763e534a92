"""`RemoteBackend`: what the runtimes of models on other servers share. They load no files, and their only device is
remote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import REMOTE, Device
from wasi_nn.backends.remote.addresses import RemoteModel
from wasi_nn.backends.remote.calls import Call
from wasi_nn.backends.remote.failover import Servers
from wasi_nn.backends.remote.settings import RemoteSettings
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget

Server = TypeVar("Server")
Answer = TypeVar("Answer")

_TIME_TO_LOAD = 30.0  # seconds for all servers together


class RemoteBackend(Backend):
    """A backend whose last scheme is the one with TLS."""

    def sniff(self, model: memoryview) -> bool:
        return False

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        message = f"{self.runtime} runs models on other servers, not those in files"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)

    def list_devices(self) -> Sequence[Device]:
        return [REMOTE]

    def has_tls(self, model: RemoteModel, settings: RemoteSettings) -> bool:
        """Whether a model's servers are spoken to by TLS. Raises `NNError` for addresses to which no token may go."""
        has_tls = model.scheme == self.schemes[-1]
        for address in model.addresses:
            settings.require_safe(address, is_encrypted=has_tls)
        return has_tls


def ask_about(servers: Sequence[Server], settings: RemoteSettings, ask: Callable[[Server, Call], Answer]) -> Answer:
    """The answer of one of the servers to a question about the model, which may always be asked again."""
    call = Call(_TIME_TO_LOAD)
    return Servers(servers, rotates=settings.rotates, repeats=True).ask(call, lambda server: ask(server, call))
