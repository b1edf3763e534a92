"""`Delivery`: calls the functions that get a guest's output, on a thread of its own.

The engine writes the output of all guests of the process on a few threads, as many as there are processors. A function
that waits, such as for a slow client or for another guest, would keep one of them from all other guests.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from wasi_nn.process.threads import Call

Function = Callable[[bytes], object]

_AHEAD = 64 * 2**10  # bytes that the guest may be ahead of the functions
_LOOK_EVERY = 0.5  # seconds, until a waiting thread of the engine sees that the run is over


class Delivery:
    """The output of one run on its way to functions, in order and one call at a time.

    The guest may be 64 KiB ahead of the functions; then `put` waits. `failed` is called with what a function raised;
    no function is called after that, nor once `is_over` is true.
    """

    def __init__(self, failed: Callable[[BaseException], None], is_over: Callable[[], bool]) -> None:
        self._failed = failed
        self._is_over = is_over
        self._changed = threading.Condition()
        self._pieces: deque[tuple[Function, bytes]] = deque()
        self._bytes = 0  # of the pieces, and of the one that a function has
        self._is_calling = self._is_closed = False

    def put(self, function: Function, content: bytes) -> bool:
        """Have a function called with some output. Returns False if no function is called any more."""
        with self._changed:
            while self._bytes >= _AHEAD and not self._is_closed:
                if not self._changed.wait(_LOOK_EVERY) and self._is_over():
                    return False
            if self._is_closed:
                return False
            self._pieces.append((function, content))
            self._bytes += len(content)
            if not self._is_calling:
                try:
                    Call(self._call_all)
                except RuntimeError as error:  # no thread can be started
                    self._fail(error)
                    return False
                self._is_calling = True
        return True

    def end(self) -> None:
        """Wait until the functions have got all output, or the call that is under way ends if the run is over. Nothing
        is passed on afterwards."""
        with self._changed:
            while self._is_calling:
                if self._is_over():
                    self._close()
                self._changed.wait(_LOOK_EVERY)
            self._close()

    def _call_all(self) -> None:
        while True:
            with self._changed:
                if self._is_over():
                    self._close()
                if not self._pieces:
                    self._is_calling = False
                    self._changed.notify_all()
                    return
                function, content = self._pieces.popleft()
            try:
                function(content)
            except BaseException as error:
                with self._changed:
                    self._fail(error)
            with self._changed:
                self._bytes -= len(content)
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        self._close()
        self._failed(error)

    def _close(self) -> None:
        self._is_closed = True
        self._pieces.clear()
