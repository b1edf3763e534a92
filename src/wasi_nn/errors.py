"""The errors of this package, and the specification's error codes.

WasiNNError
|-- NNError                 an nn call can't be done; it has one of the specification's error codes
|   |-- TargetUnavailable   ... because the execution target asked for isn't there
|   |-- ModelNotFound       ... because a model's file isn't there
|   |-- PromptTooLong       ... because the prompt doesn't fit into the context
|   |-- ContextFull         ... because what was written fills the context
|   `-- EndOfSequence       ... because a sequence of outputs is complete
`-- GuestError              a guest can't be run
    `-- GuestTrap           a guest ran and was stopped by a trap
        `-- GuestStopped    ... because somebody stopped its run
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class ErrorCode(enum.Enum):
    """Why an nn call failed, in the words of `wasi:nn/errors` (WIT 0.2.0-rc-2024-10-28)."""

    INVALID_ARGUMENT = "invalid-argument"
    INVALID_ENCODING = "invalid-encoding"
    TIMEOUT = "timeout"
    RUNTIME_ERROR = "runtime-error"
    UNSUPPORTED_OPERATION = "unsupported-operation"
    TOO_LARGE = "too-large"
    NOT_FOUND = "not-found"
    SECURITY = "security"
    UNKNOWN = "unknown"


class WasiNNError(Exception):
    """The base of every deliberate error of this package. Its text is one line for a person."""


_LONGEST_MESSAGE = 4000  # characters


class NNError(WasiNNError):
    """An nn call can't be done. `code` is the specification's error code, `message` says what is wrong in plain words.
    A message of more than 4,000 characters, for example with a long name from a model, loses its middle."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
        super().__init__(message)
        self.code = code
        self.message = message

    @classmethod
    def of_kind(cls, kind: type[NNError], code: ErrorCode, message: str) -> NNError:
        """An error of a subclass, whatever arguments its own `__init__` takes."""
        made = kind.__new__(kind, message)
        NNError.__init__(made, code, message)
        return made

    def told_as(self, message: str) -> NNError:
        """The same error with another message."""
        return self.of_kind(type(self), self.code, message)


class TargetUnavailable(NNError):
    """The execution target that was asked for isn't there, or the runtime can't use it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNSUPPORTED_OPERATION, message)


class ModelNotFound(NNError):
    """The file of a model isn't there."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, message)


class PromptTooLong(NNError):
    """A prompt doesn't fit into the context; where all of it is taken at once, into a batch."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class ContextFull(NNError):
    """A sequence ends before it is complete, since the context is full."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class EndOfSequence(NNError):
    """A sequence of outputs is complete: there is no next piece."""

    def __init__(self, message: str = "the sequence is complete") -> None:
        super().__init__(ErrorCode.RUNTIME_ERROR, message)


class GuestError(WasiNNError):
    """A guest can't be run: it isn't WebAssembly, or it needs something that this host doesn't have."""


class GuestTrap(GuestError):
    """A guest was stopped by a trap.

    `reason` is the trap's own line, `backtrace` the guest's frames, one a line; `stdout` and `stderr` are what the
    guest wrote before, if that was captured.
    """

    _ended = "trapped"

    def __init__(self, reason: str, backtrace: str = "") -> None:
        super().__init__(f"the guest {self._ended}: {reason}")
        self.reason = reason
        self.backtrace = backtrace
        self.stdout = b""
        self.stderr = b""


class GuestStopped(GuestTrap):
    """A guest was stopped from outside, for this `reason`: by `Run.stop`, or since its host was closed."""

    _ended = "was stopped"


def printable(text: str) -> str:
    """Text of a model's or a guest's as a terminal may show it: what isn't printable is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def nearest(word: str, words: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the known word that is most like it, if one is."""
    from difflib import get_close_matches

    found = get_close_matches(word[:100], list(words), 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


def one_line(error: BaseException) -> str:
    """The text of an error, on one line and fit to be shown."""
    return printable(" ".join(str(error).split())) or type(error).__name__
