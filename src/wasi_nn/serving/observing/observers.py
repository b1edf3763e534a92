"""Those who follow the requests of a server: they are told when each begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wasi_nn.serving.observing.request_log import FinishedRequest


class RequestObserver(Protocol):
    """Follows requests. Its methods are called in the event loop, raise nothing and take microseconds."""

    def begun(self, request: FinishedRequest) -> None:
        """A request has begun. Only its id, its protocol and what its headers say is known yet."""

    def ended(self, request: FinishedRequest) -> None:
        """A request has ended, and all about it is known."""
