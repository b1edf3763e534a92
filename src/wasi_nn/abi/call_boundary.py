"""The boundary of a guest's nn calls: turns every exception into an answer for the guest, or into a trap.

Both ABIs call their method in a `try`, and pass whatever it raises to `CallBoundary.failed`. That `try` is written
twice, in `CoreAbi.function` and in `ComponentAbi.function`, because it is all that a successful call runs: a common
function around both would add a Python frame to every call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from wasi_nn.errors import NNError
from wasi_nn.session.failures import logger
from wasi_nn.session.session import Session

MAX_NAME = 65536
"""The longest name that an ABI looks up: bytes in a core module, characters in a component. A message may quote it."""

Answer = TypeVar("Answer")


class GuestFault(Exception):
    """The guest did what only a trap can answer. The text becomes the trap's message."""


class CallBoundary(ABC, Generic[Answer]):
    """The functions of an ABI over one session. `Answer` is what the engine gets from a failed call.

    A method of a subclass raises one of `rejections` where the guest gets an error.
    """

    rejections: tuple[type[Exception], ...] = (NNError,)

    def __init__(self, session: Session) -> None:
        self.session = session
        self.failures = session.failures

    def guarded(self, name: str, method: Callable[..., Any], counted: int) -> Callable[..., Any]:
        """A function that makes a call, counts it as so many nn calls, and raises nothing but `GuestFault`."""
        session = self.session

        def call(*arguments: object) -> Any:
            session.calls += counted
            try:
                return method(*arguments)
            except BaseException as error:
                return self.failed(name, arguments, error)

        return call

    def failed(self, name: str, arguments: Sequence[object], error: BaseException) -> Answer:
        """Answer a call that raised an exception. Call this while the exception is handled.

        Raises `GuestFault`, and nothing else, if the guest must be trapped: always for an exception that isn't an
        `Exception` (Ctrl-C), which the session keeps for the code that runs the guest.
        """
        if isinstance(error, GuestFault):
            raise error
        shown, shown_arguments = self.shown(name, arguments)
        if isinstance(error, self.rejections):
            self.session.on_abi_error(shown, shown_arguments, error)
            return self.rejected(name, arguments, error)
        if isinstance(error, Exception):
            logger.exception("%s failed: internal error of the host", shown)
            self.failures.keep(f"{shown} failed: internal error of the host, {type(error).__name__}")
            return self.host_fault(name, error)
        self.session.interruption = error
        raise GuestFault(f"{shown}: interrupted by {type(error).__name__}") from None

    def shown(self, name: str, arguments: Sequence[object]) -> tuple[str, Sequence[object]]:
        """The name and arguments of a call for messages and traces."""
        return name, arguments

    @abstractmethod
    def rejected(self, name: str, arguments: Sequence[object], error: Exception) -> Answer:
        """Answer a call that raised one of `rejections`, or raise `GuestFault`."""

    @abstractmethod
    def host_fault(self, name: str, error: Exception) -> Answer:
        """Answer a call in which the host itself has a fault, which is logged; or raise `GuestFault`."""
