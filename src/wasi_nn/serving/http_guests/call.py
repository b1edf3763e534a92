"""`GuestCall`: a guest that answers one request, on a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wasi_nn.abi.http.exchange import Exchange
from wasi_nn.errors import one_line, printable
from wasi_nn.serving.computing.thread_calls import call_in_thread
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.observing.guest_stages import guest_stages, outgoing_stage
from wasi_nn.serving.observing.timeline import detailed_timeline

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import RequestHead
    from wasi_nn.guests.http.outgoing.outgoing import OutgoingFacts
    from wasi_nn.guests.output import Output
    from wasi_nn.serving.http_guests.answer import GuestAnswer
    from wasi_nn.serving.http_guests.handler import Handler
    from wasi_nn.serving.http_guests.pipes import ReadingEnd, WritingEnd

logger = logging.getLogger("wasi_nn.serving")

_GRACE = 1.0  # seconds between a stop and giving the guest up
_FAILED = "the guest failed: the server's log has more"
_MOST_FAILED = 10  # requests of a guest that are logged while it answers one
_LONGEST_PLACE = 200  # characters
_MOST_SHOWN = 8192  # bytes of what a guest printed that the log has of a request


class GuestCall:
    """A guest with its turn. All methods but `_work` and `stopped_by` run in the event loop.

    `give_back` gives the turn to the next request: at the guest's end, or a second after it should have ended.
    """

    def __init__(
        self,
        handler: Handler,
        request: RequestHead,
        answer: GuestAnswer,
        pipes: tuple[WritingEnd | None, ReadingEnd],
        request_id: str,
        until: float,
        give_back: Callable[[], None],
    ) -> None:
        self.failure: ServingError | None = None
        """Why the guest gave no answer, or stopped in the middle of it."""
        self.has_whole_request = False
        """Whether the guest's pipe has got all of the request."""
        self.exchange = Exchange(request, answer, handler.most_field_bytes)
        self._handler = handler
        self.answer = answer
        self._pipes = pipes
        self._id = request_id
        self._until = until
        self._give_back = give_back
        self._lock = threading.Lock()
        self._stop_function: Callable[[str], None] | None = None
        self._reason = ""
        self._is_abandoned = self.has_ended = False
        self._output: Output = handler.new_output()
        self._recorder = guest_stages()
        self._timeline = detailed_timeline()
        self._failed_requests = 0  # of the guest's own
        self._alarm = asyncio.get_running_loop().call_at(until, self._expire)
        handler.calls.add(self)
        try:
            call_in_thread(self._work, self._ended)
        except BaseException:
            self._alarm.cancel()
            handler.calls.discard(self)
            raise

    def _work(self) -> None:
        body, answer = (None if pipe is None else pipe.other for pipe in self._pipes)
        assert answer is not None  # each request has an answer
        self._handler.run(
            self.exchange, self._output, body, answer, self._until, self.stopped_by, self._recorder, self._note_request
        )

    def _note_request(self, facts: OutgoingFacts) -> None:
        """Note a request that the guest has made. Called on any thread."""
        self._handler.count_outgoing(facts)
        if self._timeline is not None:
            self._timeline.add(outgoing_stage(facts))
        if facts.failure:
            self._failed_requests += 1
            if self._failed_requests <= _MOST_FAILED:
                asked = printable(f"{facts.method} {facts.place}"[:_LONGEST_PLACE])
                failure = printable(facts.failure)
                logger.warning("guest %r, request %s: its %s: %s", self._handler.name, self._id, asked, failure)

    def stopped_by(self, stop: Callable[[str], None] | None) -> None:
        """Have `stop` stop the guest; None: nothing any more."""
        with self._lock:
            self._stop_function, reason = stop, self._reason
        if stop is not None and reason:
            stop(reason)

    def _expire(self) -> None:
        self.stop(_late())

    def stop(self, failure: ServingError) -> None:
        """Stop the guest, if it hasn't ended. It traps as soon as it runs its own code again; what it waits for ends
        at once."""
        if self._reason:
            return
        if self.failure is None:
            self.failure = failure
        self._alarm.cancel()
        if self.has_ended:
            return
        with self._lock:
            self._reason, stop = failure.message, self._stop_function
        if stop is not None:
            stop(self._reason)
        # After the stop, so that the guest takes no cut body for a whole one.
        self.exchange.give_trailers((), "connection-terminated")
        for pipe in self._pipes:
            if pipe is not None:
                pipe.close()
        self.answer.ended()
        self._alarm = asyncio.get_running_loop().call_later(_GRACE, self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        self._handler.abandoned += 1
        self._give_back()

    def _end(self) -> None:
        self.has_ended = True
        self._handler.drop_idle_later()
        self._handler.calls.discard(self)
        if self._is_abandoned:
            self._handler.abandoned -= 1
        else:
            self._give_back()

    def _ended(self, _: None, failure: BaseException | None) -> None:
        self._alarm.cancel()
        printed = self._output.kept()[1]
        if printed:
            lines = [f"  | {printable(line)}" for line in printed[:_MOST_SHOWN].decode("utf-8", "replace").splitlines()]
            if len(printed) > _MOST_SHOWN:
                lines.append(f"  ... {len(printed) - _MOST_SHOWN} bytes more")
            logger.warning("guest %r, request %s, printed:\n%s", self._handler.name, self._id, "\n".join(lines))
        if failure is not None and not self._reason:
            logger.warning("guest %r, request %s: %s", self._handler.name, self._id, one_line(failure))
            if self.failure is None:
                is_late = time.monotonic() >= self._until  # then the guest's own clock was quicker
                self.failure = _late() if is_late else ServingError(Reason.FAILED, _FAILED)
        self.answer.ended()
        self._end()


def _late() -> ServingError:
    return ServingError(Reason.LATE, "the guest didn't end its answer within the request's time")
