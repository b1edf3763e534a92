"""Calls that work long on a request's or an answer's text, beside the event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, TypeVar

from wasi_nn.serving.computing.thread_calls import call_in_thread, settle
from wasi_nn.serving.failures import Reason, ServingError

Result = TypeVar("Result")

LARGE_JSON = 32 * 2**10
"""Bytes of JSON, whose reading takes half a millisecond. The way to a thread and back takes a fifth of that."""

LARGE_ARRAY = 4096
"""Elements from which so does reading or writing them one by one."""

PIECE = 2**14
"""Elements that numpy or Python's C code work on at once. Other threads have no turn meanwhile: some milliseconds."""

_SHORT_TURN = 0.0005  # seconds, after which a thread gives way to another one that waits


class LongCalls:
    """Makes calls on a thread, one at a time: several would take as long together, but keep the event loop waiting."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def make(self, call: Callable[[], Result], until: float) -> Result:
        """The result of a call. Raises the call's errors, and `ServingError` with `late` if it hasn't ended by `until`,
        a time of the event loop. A call for which nobody waits any more keeps its turn until it ends."""
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def ended(result: Result | None, failure: BaseException | None) -> None:
            self._turn.release()
            settle(outcome, result, failure)

        time = asyncio.timeout_at(until)
        try:
            async with time:
                await self._turn.acquire()
                try:
                    call_in_thread(partial(_giving_way, call), ended)
                except BaseException:
                    self._turn.release()
                    raise
                return await outcome
        except TimeoutError:
            if not time.expired():
                raise
            raise ServingError(Reason.LATE, "the request's time was over before its tensors were read") from None


_changing = threading.Lock()
_under_way = 0
_before = (0.005, True)
"""The interval after which threads give way, and whether garbage is collected, while no call is under way."""


def _giving_way(call: Callable[[], Result]) -> Result:
    """Make a call during which other threads wait no longer than needed. There is no collection of garbage meanwhile,
    which would look at a million lists again and again, while all threads wait."""
    global _under_way, _before  # as what is changed
    with _changing:
        _under_way += 1
        if _under_way == 1:
            _before = (sys.getswitchinterval(), gc.isenabled())
            sys.setswitchinterval(_SHORT_TURN)
            gc.disable()
    try:
        return call()
    finally:
        with _changing:
            _under_way -= 1
            if not _under_way:
                interval, had_collections = _before
                sys.setswitchinterval(interval)
                if had_collections:
                    gc.enable()


def read_json_text(text: str, *, in_pieces: bool = False) -> Any:
    """The value of a JSON text. With `in_pieces`, other threads have their turn meanwhile, which takes longer. Raises
    `ValueError` and `RecursionError`."""
    if not in_pieces:
        return _decode(text)
    # The parser in C keeps all threads waiting until it calls a function in Python.
    return json.loads(text, parse_constant=_no_constant, parse_float=_float, parse_int=_int, object_pairs_hook=_object)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def _float(text: str) -> float:
    return float(text)


def _int(text: str) -> int:
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def in_pieces(items: Any) -> Iterator[tuple[int, Any]]:
    """A sequence or an array of one dim piece by piece, each with its place."""
    for place in range(0, len(items), PIECE):
        yield place, items[place : place + PIECE]
