"""The errors of a server. Each protocol has a table that gives every `Reason` one of its own codes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from wasi_nn.errors import Busy, ErrorCode, NNError, WasiNNError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Reason(enum.Enum):
    """Why a request wasn't answered."""

    INVALID = "invalid"
    """The request itself is wrong."""
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    TOO_SLOW = "too-slow"
    """The client sends its request too slowly."""
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    """The server has no such feature."""
    OVERLOADED = "overloaded"
    """There is too much to do: a later try may succeed."""
    FAILED = "failed"
    """The compute failed."""
    UNAVAILABLE = "unavailable"
    """The graph or the server isn't ready: a later try may succeed."""
    LATE = "late"
    """The time of the request is over."""
    CANCELLED = "cancelled"
    """The client has gone."""


class ServingError(WasiNNError):
    """A request isn't answered, for a reason; the message is one line for the client. `retry_after` are the seconds
    after which a further try makes sense; 0 where it doesn't."""

    def __init__(self, reason: Reason, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


def invalid(message: str) -> ServingError:
    """The error for a request that is wrong."""
    return ServingError(Reason.INVALID, message)


_OF_COMPUTES = {
    ErrorCode.INVALID_ARGUMENT: Reason.INVALID,
    ErrorCode.INVALID_ENCODING: Reason.INVALID,
    ErrorCode.TIMEOUT: Reason.LATE,
    ErrorCode.RUNTIME_ERROR: Reason.FAILED,
    ErrorCode.UNSUPPORTED_OPERATION: Reason.UNSUPPORTED,
    ErrorCode.TOO_LARGE: Reason.TOO_LARGE,
    ErrorCode.NOT_FOUND: Reason.NOT_FOUND,
    ErrorCode.SECURITY: Reason.FORBIDDEN,
    ErrorCode.UNKNOWN: Reason.FAILED,
}


def of_compute(error: NNError) -> ServingError:
    """The error of a request whose compute raised an `NNError`."""
    if isinstance(error, Busy):
        return ServingError(Reason.OVERLOADED, error.message, retry_after=1)
    return ServingError(_OF_COMPUTES[error.code], error.message)


def with_serving_errors(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorates a function whose `NNError`, for a tensor of a request or of its answer, becomes a `ServingError`."""

    @wraps(function)
    def call(*arguments: Parameters.args, **more: Parameters.kwargs) -> Result:
        try:
            return function(*arguments, **more)
        except NNError as error:
            raise of_compute(error) from error

    return call
