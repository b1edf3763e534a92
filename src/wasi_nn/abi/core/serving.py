"""The module `wasi_nn_serving`: wasi-nn:serving for core modules, in every dialect.

As in the core ABI, each parameter is an i32, a function returns an errno, and all pointers are checked first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasi_nn.abi.core.extensions import MAX_SIZE, BufferTooSmall, ExtensionFunctions, check_buffer
from wasi_nn.abi.requests import TENSOR, RequestRecord, next_request
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.guest_requests import Answer, Fault

if TYPE_CHECKING:
    from wasi_nn.abi.core.guest_memory import GuestMemory

MODULE = "wasi_nn_serving"

FUNCTIONS = {
    "next_request": 1,
    "read_request": 4,
    "respond": 3,
    "fail_request": 4,
}
"""The functions, each with the number of its parameters."""


def imports_serving(imports: Iterable[tuple[str, str]]) -> bool:
    """Whether a core module imports functions of wasi-nn:serving. Each import is a module and a name."""
    return any(module == MODULE for module, _ in imports)


class ServingFunctions(ExtensionFunctions):
    """The functions over the requests of one session."""

    def next_request(self, memory: GuestMemory, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.write_u32(out, next_request(self.session))

    def read_request(self, memory: GuestMemory, request: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        record = self.session.require_requests().once(request, RequestRecord)
        if room < record.size:
            if record.size <= MAX_SIZE:
                memory.write_u32(out, record.size)
            raise BufferTooSmall("the request", record.size, room)
        record.write(memory.bytes[buffer : buffer + record.size], buffer)
        memory.write_u32(out, record.size)

    def respond(self, memory: GuestMemory, request: int, tensors: int, count: int) -> None:
        requests = self.session.require_requests()
        requests.held(request)
        answer = Answer(self.session, count)
        records = memory.range("the outputs", tensors, count * TENSOR.size)
        for place, (name, length, datatype, dims, rank, data, size) in enumerate(TENSOR.iter_unpack(records)):
            text = memory.range(f"the name of output {place}", name, length)
            content = memory.range(f"the data of output {place}", data, size)
            encoded_dims = memory.range(f"the dims of output {place}", dims, 4 * rank)
            answer.add(text, datatype, encoded_dims, content)
        requests.respond(request, answer)

    def fail_request(self, memory: GuestMemory, request: int, fault: int, message: int, length: int) -> None:
        text = memory.range("the message", message, length)
        if fault not in (it.value for it in Fault):
            words = ", ".join(f"{it.value} ({it.name.lower()})" for it in Fault)
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no fault has the number {fault}; there are {words}")
        self.session.require_requests().fail(request, Fault(fault), bytes(text[:MAX_MESSAGE]).decode(errors="replace"))


MAX_MESSAGE = 4096
"""The most bytes of a guest's message that are read."""
