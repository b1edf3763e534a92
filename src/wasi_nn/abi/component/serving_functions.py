"""The host functions behind `wasi-nn:serving`, for a guest component that imports it.

The bridge `guests/bridge/serving.c` calls them. A function that can fail returns a status of 1, and the bridge then
asks for the text of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.abi.call_boundary import CallBoundary, GuestFault
from wasi_nn.abi.component.bridge_functions import MAX_ERROR_TEXT, Signature, join, outcome, split, status, text_of
from wasi_nn.abi.component.host_functions import STRING, U32, U64, HostFunction, Text
from wasi_nn.abi.requests import RequestRecord, next_request
from wasi_nn.errors import NNError
from wasi_nn.graph.datatypes import MAX_TENSOR_NAME
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.session.guest_requests import Answer, Fault
from wasi_nn.session.session import Session

if TYPE_CHECKING:
    from wasi_nn.types import Array


def _no_record(_: int) -> bytes:
    return b""


SERVING_FUNCTIONS = {
    "next-request": Signature((), U64, outcome),
    "read-request": Signature((U32, U32), STRING, _no_record),
    "begin-answer": Signature((U32, U32), U32, status),
    "begin-output": Signature((STRING, U32, U32, U32), U32, status),
    "write-output": Signature((U32, STRING), U32, status),
    "respond": Signature((U32,), U32, status),
    "respond-at-once": Signature((U32, U32, STRING), U32, status),
    "fail-request": Signature((U32, U32, STRING), U32, status),
    "drop-request": Signature((U32,), None, None),
    "failure": Signature((), STRING, None),
}
"""The functions that the bridge imports, as in `guests/bridge/serving.wit`."""

_FAILED = 1
_COUNTED = ("next-request", "read-request", "respond", "respond-at-once", "fail-request")
_HEAD = Struct("<4I")
"""The head of an output in `respond-at-once`: the size of its name, its datatype, its rank, the size of its data."""


class ServingAbi(CallBoundary["int | bytes"]):
    """The functions over the requests of one session. Each raises `NNError` where the guest gets an error."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._failure = ""
        self._answer: Answer | None = None
        self._output: _Output | None = None

    def function(self, name: str) -> HostFunction:
        """The host function for a name. It raises nothing but `GuestFault`."""
        method: HostFunction = getattr(self, name.replace("-", "_"))
        counted = 1 if name in _COUNTED else 0

        return self.guarded(name, method, counted)

    def shown(self, name: str, arguments: Sequence[object]) -> tuple[str, Sequence[object]]:
        return ("respond", arguments[:1]) if name == "respond-at-once" else (name, arguments)

    def rejected(self, name: str, arguments: Sequence[object], error: Exception) -> int | bytes:
        assert isinstance(error, NNError)
        fail = SERVING_FUNCTIONS[name].fail
        name, _ = self.shown(name, arguments)
        if fail is None:
            raise GuestFault(f"{name}: {error}") from None
        self.failures.add(f"{name} failed: {error} [{error.code.value}]")
        self._failure = error.message
        return fail(_FAILED)

    def host_fault(self, name: str, error: Exception) -> int | bytes:
        raise GuestFault(f"{name}: internal error of the host, {type(error).__name__}") from None

    def next_request(self) -> int:
        return next_request(self.session)

    def read_request(self, request: int, address: int) -> Text:
        record = self.session.require_requests().once(request, RequestRecord)
        row: Array = np.zeros(record.size, np.uint8)
        record.write(row.data, address)
        return 2 * record.size, lambda text: split(row, text)

    def begin_answer(self, request: int, count: int) -> int:
        self._answer = self._output = None
        self.session.require_requests().held(request)
        self._answer = Answer(self.session, count)
        return 0

    def begin_output(self, name: memoryview, datatype: int, size: int, rank: int) -> int:
        """Begin an output of the answer; its data and its dims follow, as one row of bytes."""
        answer = self._require_answer()
        self._add_output(answer)
        if rank > MAX_RANK:  # else the row could have any size
            answer.refuse_rank(rank)
        answer.require_room(size)
        # A name of this size is too long, with whatever follows.
        self._output = _Output(bytes(name[: MAX_TENSOR_NAME + 1]), datatype, size, np.zeros(size + 4 * rank, np.uint8))
        return 0

    def write_output(self, offset: int, part: memoryview) -> int:
        size, output = len(part) // 2, self._output
        if output is None or offset + size > len(output.row):
            raise GuestFault("write-output: there is no such part of an output")
        join(part, output.row[offset : offset + size])
        return 0

    def respond(self, request: int) -> int:
        answer = self._require_answer()
        self._add_output(answer)
        self._answer = None
        self.session.require_requests().respond(request, answer)
        return 0

    def respond_at_once(self, request: int, count: int, text: memoryview) -> int:
        requests = self.session.require_requests()
        requests.held(request)
        answer = Answer(self.session, count)
        row: Array = np.empty(len(text) // 2, np.uint8)
        join(text, row)
        content, at = row.data, count * _HEAD.size
        if at > len(row):
            raise _no_answer()
        for name, datatype, rank, size in _HEAD.iter_unpack(content[:at]):
            dims_at = at + name
            data_at = dims_at + 4 * rank
            end = data_at + size
            if end > len(row):
                raise _no_answer()
            answer.add(content[at:dims_at], datatype, content[dims_at:data_at], content[data_at:end])
            at = end
        requests.respond(request, answer)
        return 0

    def fail_request(self, request: int, fault: int, message: memoryview) -> int:
        self.session.require_requests().fail(request, Fault(fault), text_of(message[:MAX_ERROR_TEXT]))
        return 0

    def drop_request(self, request: int) -> None:
        if self.session.requests is not None:
            self.session.requests.drop(request)

    def failure(self) -> bytes:
        return self._failure.encode("utf-8", "replace")

    def _require_answer(self) -> Answer:
        if self._answer is None:
            raise GuestFault("no answer has begun")
        return self._answer

    def _add_output(self, answer: Answer) -> None:
        """Add the output that is complete now to the answer."""
        output, self._output = self._output, None
        if output is not None:
            data, dims = output.row[: output.size], output.row[output.size :]
            answer.add(output.name, output.datatype, dims.data, data.data)


def _no_answer() -> GuestFault:
    return GuestFault("respond: the answer is cut short")


class _Output:
    """An output that the bridge writes: `size` bytes of data, and then its dims."""

    def __init__(self, name: bytes, datatype: int, size: int, row: Array) -> None:
        self.name, self.datatype, self.size, self.row = name, datatype, size, row
