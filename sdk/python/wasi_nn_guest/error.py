"""The error of a call, as an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from componentize_py_types import Err
from wit_world.imports import errors

from .numbers import Code

R = TypeVar("R")


class NNError(Exception):
    """A call that failed.

        try:
            graph = Graph.load_by_name("net")
        except NNError as error:
            if error.code is not Code.NOT_FOUND:
                raise

    code     the reason as a word
    message  the reason in words: the host's own line, or this library's
    needed   of a buffer that is too small: the bytes that it needs. 0 for any other error
    """

    def __init__(self, code: Code, message: str, needed: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.needed = needed

    def __reduce__(self) -> tuple[type[NNError], tuple[Code, str, int]]:
        return type(self), (self.code, self.message, self.needed)


def call(function: Callable[..., R], *arguments: object) -> R:
    """What a function of the host's gives. Raises its error as an `NNError`."""
    try:
        return function(*arguments)
    except Err as failure:
        _raise(failure)


def _raise(failure: Err[object]) -> NoReturn:
    error = failure.value
    if not isinstance(error, errors.Error):
        raise failure
    with error:
        raised = NNError(Code.of_number(error.code().value), error.data())
    raise raised from None


def lacking(interface: str) -> NNError:
    """The error where the guest's world lacks an interface of wasi-nn:ext."""
    message = f"the guest was built without wasi-nn:ext/{interface}: take the world guest-ext"
    return NNError(Code.UNSUPPORTED_OPERATION, message)
