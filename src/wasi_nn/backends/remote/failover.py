"""Several servers of one model: the order in which a call tries them, and those that are left out for a time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Generic, TypeVar

from wasi_nn.backends.remote.calls import Call
from wasi_nn.errors import Busy, ErrorCode, NNError

Server = TypeVar("Server")
Result = TypeVar("Result")

_FIRST_REST, _LONGEST_REST = 1.0, 30.0  # seconds for which a server that didn't answer is left out
_PAUSE = 0.1  # seconds before the only server is asked again
_MOST_SHOWN = 3  # reasons in an error


class Unanswered(NNError):
    """A server didn't answer a request, so that another one may get it. `was_sent` says whether it may have had the
    request."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(ErrorCode.RUNTIME_ERROR, message)
        self.was_sent = was_sent


class _Member(Generic[Server]):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.rests_until = -inf
        self.rest = 0.0


class Servers(Generic[Server]):
    """The servers of one model. Any number of threads may use them.

    A server that doesn't answer is left out for a second, then for twice as long each time, up to half a minute. It is
    asked in that time too where no other one answers. After that time, one call tries it, and the others leave it out
    until it has answered.
    """

    def __init__(self, servers: Sequence[Server], *, rotates: bool, repeats: bool) -> None:
        self._members = [_Member(server) for server in servers]
        self._rotates = rotates
        self._repeats = repeats
        self._turns = itertools.count()
        self._lock = threading.Lock()

    @property
    def all(self) -> Sequence[Server]:
        """The servers, in the operator's order."""
        return [member.server for member in self._members]

    def ask(self, call: Call, ask: Callable[[Server], Result]) -> Result:
        """The answer of the first server that gives one. Each is asked once, the only one twice.

        `ask` raises `Unanswered` where another server may be asked, and `Busy` where it should be. Raises the errors of
        `ask`; if no server answers, one that has the reason of each.
        """
        reasons: list[NNError] = []
        for member in self._order():
            if reasons and len(self._members) == 1:
                call.pause(_PAUSE)
            call.seconds_left()
            try:
                answer = ask(member.server)
            except Unanswered as error:
                self._failed(member)
                reasons.append(error)
                if error.was_sent and not self._repeats:
                    break
            except Busy as error:
                reasons.append(error)
                if len(self._members) == 1:
                    break
            except NNError as error:
                if error.code is not ErrorCode.TIMEOUT:
                    self._answered(member)
                raise
            else:
                self._answered(member)
                return answer
        raise _of_all(reasons)

    def _order(self) -> list[_Member[Server]]:
        members = self._members
        if len(members) == 1:
            return [members[0], members[0]]
        if self._rotates:
            first = next(self._turns) % len(members)
            members = [*members[first:], *members[:first]]
        now = time.monotonic()
        with self._lock:
            resting = [member for member in members if member.rests_until > now]
            awake = [member for member in members if member.rests_until <= now]
            if awake and awake[0].rest:  # this call tries it; others leave it out meanwhile
                awake[0].rests_until = now + awake[0].rest
        return awake + sorted(resting, key=lambda member: member.rests_until)

    def _failed(self, member: _Member[Server]) -> None:
        with self._lock:
            member.rest = min(2 * member.rest, _LONGEST_REST) or _FIRST_REST
            member.rests_until = time.monotonic() + member.rest

    def _answered(self, member: _Member[Server]) -> None:
        if member.rest:
            with self._lock:
                member.rest, member.rests_until = 0.0, -inf


def _of_all(reasons: Sequence[NNError]) -> NNError:
    last = next((error for error in reasons if isinstance(error, Busy)), reasons[-1])
    texts = list(dict.fromkeys(error.message for error in reasons))
    if len(texts) == 1:
        return last
    more = f"; and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    message = f"no server answered: {'; '.join(texts[:_MOST_SHOWN])}{more}"
    return Busy(message) if isinstance(last, Busy) else NNError(ErrorCode.RUNTIME_ERROR, message)
