"""Counts the bytes of the requests that are under way."""

from __future__ import annotations

from types import TracebackType

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.settings import how_to_raise


class RequestBytes:
    """The bytes of all requests that are under way, of which there are at most so many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def hold(self) -> HeldRequest:
        """A request that holds no bytes yet."""
        return HeldRequest(self)


class HeldRequest:
    """The bytes of one request; a context manager that gives them back."""

    def __init__(self, of_all: RequestBytes) -> None:
        self._of_all = of_all
        self.size = 0

    def add(self, size: int) -> None:
        """Hold more bytes. Raises `ServingError` with `overloaded` if all requests would have too many."""
        if self._of_all.held + size > self._of_all.most:
            message = f"the requests that are under way have {self._of_all.held} bytes ({how_to_raise('total_bytes')})"
            raise ServingError(Reason.OVERLOADED, message, retry_after=1)
        self._of_all.held += size
        self.size += size

    def __enter__(self) -> HeldRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._of_all.held -= self.size
        self.size = 0
