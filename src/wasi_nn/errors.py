"""The errors of this package, and the specification's error codes.

WasiNNError
|-- NNError                 an nn call failed; it has one of the specification's error codes
|   |-- TargetUnavailable   ... because the requested execution target is unavailable
|   |-- ModelNotFound       ... because a model's file doesn't exist
|   |-- Busy                ... because a server of the model has too much to do
|   |-- PromptTooLong       ... because the prompt doesn't fit into the context
|   |-- ContextFull         ... because the context is full
|   `-- EndOfSequence       ... because a sequence of outputs is complete
`-- GuestError              a guest can't be run
    `-- GuestTrap           a guest ran and was stopped by a trap
        `-- GuestStopped    ... because somebody stopped its run
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.guests.run_stats import RunStats


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
    """The base of every deliberate error of this package. Its text is one line for a person, and for a `GuestTrap` also
    the guest's last lines."""


_LONGEST_MESSAGE = 4000  # characters


class NNError(WasiNNError):
    """An nn call failed. `code` is the specification's error code, and `message` the reason in plain words. A message
    of more than 4,000 characters, for example with a long name from a model, loses its middle."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return NNError.of_kind, (type(self), self.code, self.message), self.__dict__

    @classmethod
    def of_kind(cls, kind: type[NNError], code: ErrorCode, message: str) -> NNError:
        """An error of a subclass, whatever arguments its own `__init__` takes."""
        made = kind.__new__(kind, message)
        NNError.__init__(made, code, message)
        return made

    def with_message(self, message: str) -> NNError:
        """The same error with another message."""
        return self.of_kind(type(self), self.code, message)


class TargetUnavailable(NNError):
    """The requested execution target doesn't exist on this machine, or the runtime can't use it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNSUPPORTED_OPERATION, message)


class ModelNotFound(NNError):
    """The file of a model doesn't exist."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, message)


class Busy(NNError):
    """A server of a model has too much to do: a later try may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.RUNTIME_ERROR, message)


class PromptTooLong(NNError):
    """A prompt doesn't fit into the context, or into a batch where the model takes all of it at once."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class ContextFull(NNError):
    """A sequence ended before it was complete, because the context is full."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class EndOfSequence(NNError):
    """A sequence of outputs is complete: there is no next piece."""

    def __init__(self, message: str = "the sequence is complete") -> None:
        super().__init__(ErrorCode.RUNTIME_ERROR, message)


class GuestError(WasiNNError):
    """A guest can't be run: it isn't WebAssembly, or it needs a function or feature that this host lacks."""


class GuestTrap(GuestError):
    """A guest was stopped by a trap.

    `reason` is the trap's message, and `backtrace` the guest's frames, one a line. `stdout` and `stderr` are the output
    of the guest before the trap, if it was captured. The error's text then ends with the last lines of `stderr`, where
    a guest in Python, JavaScript, Rust or C says what went wrong in it. `stats` are the facts about the run
    until then, as in `RunResult`; None for an error that no run raised.
    """

    _ended = "trapped"
    _shows_last_lines = True

    def __init__(self, reason: str, backtrace: str = "") -> None:
        super().__init__(f"the guest {self._ended}: {reason}")
        self.reason = reason
        self.backtrace = backtrace
        self.stdout = b""
        self.stderr = b""
        self.stats: RunStats | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.backtrace), self.__dict__

    def __str__(self) -> str:
        lines = last_lines(self.stderr) if self._shows_last_lines else []
        if not lines:
            return super().__str__()
        return "\n".join([f"{super().__str__()}; the guest's own last lines on its standard error:", *lines])


_MOST_LINES, _LONGEST_LINE = 12, 200  # of a guest's words in an error
_LINE_OF_GUEST = "  | "


def last_lines(output: bytes) -> list[str]:
    """The last lines of a guest's output that aren't empty: at most 12, of 200 characters each, fit to be shown."""
    end = output[-4 * _MOST_LINES * _LONGEST_LINE :].decode("utf-8", "replace")
    lines = [line for text in end.splitlines() if (line := text.replace("\t", "    ").rstrip())]
    return [f"{_LINE_OF_GUEST}{printable(line)[:_LONGEST_LINE]}" for line in lines[-_MOST_LINES:]]


def last_words(output: bytes) -> str:
    """The last two of these lines as one, behind a colon, for the end of a sentence; empty if there are none."""
    lines = [line.removeprefix(_LINE_OF_GUEST).strip() for line in last_lines(output)[-2:]]
    return f": {'; '.join(lines)}" if lines else ""


class GuestStopped(GuestTrap):
    """A guest was stopped from outside, for this `reason`: by `Run.stop`, or because its host was closed."""

    _ended = "was stopped"
    _shows_last_lines = False


def printable(text: str) -> str:
    """Text of a model or a guest, made safe for a terminal: characters that aren't printable are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_LONGEST_NAME = 80  # characters


def shortened(text: str, longest: int = _LONGEST_NAME) -> str:
    """A text with its end left out if it has more than `longest` characters; by default, as a name in a message."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 call` or `2,000 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(word: str, words: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the known word that is most like it, if one is."""
    from difflib import get_close_matches

    found = get_close_matches(word[:100], list(words), 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


def one_line(error: BaseException) -> str:
    """The text of an error on one line, made safe for a terminal."""
    return printable(" ".join(str(error).split())) or type(error).__name__
