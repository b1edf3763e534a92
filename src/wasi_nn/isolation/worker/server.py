"""The server of one channel in a worker, and the errors that it sends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import failure
from wasi_nn.isolation import how_to_raise
from wasi_nn.isolation.wire.channel import Channel, encoded, mapped
from wasi_nn.isolation.wire.descriptions import described_error

if TYPE_CHECKING:
    from collections.abc import Callable


@contextmanager
def as_nn_errors() -> Iterator[None]:
    """Turn every exception into an `NNError`."""
    try:
        yield
    except NNError:
        raise
    except MemoryError as error:
        message = f"the isolated worker is out of memory ({how_to_raise('memory')})"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from error
    except Exception as error:
        raise failure(error) from error


class Server(ABC):
    """Serves the host on a channel of its own, on a thread of its own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @abstractmethod
    def serve(self) -> None:
        """Answer the host's requests until it closes the channel."""

    def _reply(self, do: Callable[[], bytes]) -> None:
        """Send the encoded answer that a function gives, or its error."""
        try:
            with as_nn_errors():
                content = do()
        except NNError as error:
            content = encoded({"error": described_error(error)})
        self._channel.send_encoded(content)

    def _room(self, size: int) -> memoryview:
        """Room for outputs, which the host gives. Raises `NNError` with `too-large` if it gives none."""
        self._channel.send({"room": size})
        _, _, files = self._channel.receive()
        if not files:
            text = f"the outputs and variables of an isolated graph need {size} bytes more than they may have"
            raise NNError(ErrorCode.TOO_LARGE, f"{text} ({how_to_raise('memory')})")
        return mapped(files[0], writable=True)
