"""The host functions behind `wasi-nn:ext`, which a guest that imports it has beside those of wasi:nn.

The bridge `guests/bridge/ext.c` calls them. `bridge_functions` says how numbers, bytes and errors cross.
"""

from __future__ import annotations

from math import prod
from typing import NoReturn

import numpy as np

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.bridge_functions import (
    FUNCTIONS,
    ComponentAbi,
    Signature,
    checked,
    no_outputs,
    outcome,
    split,
    status,
    text_of,
)
from wasi_nn.abi.component.host_functions import STRING, U32, U64, HostFunction, Text
from wasi_nn.abi.component.numbers import NUMBER_OF_TYPE
from wasi_nn.abi.description_record import RecordWriter
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.byte_strings import MAX_STRINGS
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.session.tensor import Tensor
from wasi_nn.types import TensorType, dims_text

_AFTER_THE_LAST = b"%08x%08x" % (0, 0xFFFFFFFF)


def _no_record(error: int) -> bytes:
    return b"%08x" % error


EXTENSION_FUNCTIONS = {
    "describe": Signature((U32, U32), STRING, _no_record),
    "use-signature": Signature((U32, STRING), U64, outcome),
    "bytes-new": Signature((U32, U32), U64, outcome),
    "state-get": Signature((U32,), U64, outcome),
    "state-set": Signature((U32, U32), U32, status),
    "begin-sequence": Signature((U32, STRING), U64, outcome),
    "next-of-sequence": Signature((U32,), STRING, no_outputs),
    "strings-new": Signature((U32, U32), U64, outcome),
    "strings-count": Signature((U32,), U64, outcome),
}
"""The functions that the bridge for wasi-nn:ext imports, as in `guests/bridge/ext.wit`."""

_INTERFACES = {
    "describe": "describe",
    "use-signature": "signatures",
    "state-get": "state",
    "state-set": "state",
    "begin-sequence": "sequences",
    "next-of-sequence": "sequences",
    "strings-new": "byte-strings",
    "strings-count": "byte-strings",
}
"""The interface of wasi-nn:ext that each function is for. `bytes-new` is for two of them, and makes only a tensor."""


class ExtendedAbi(ComponentAbi):
    """The functions of both instances over one session."""

    signatures = FUNCTIONS | EXTENSION_FUNCTIONS

    def function(self, name: str) -> HostFunction:
        """The host function for a name, which traps if the session doesn't allow its interface: whoever links a guest
        may have defined what it imports all the same, such as by `define_unknown_imports_as_traps`."""
        interface = _INTERFACES.get(name)
        if interface is None or interface in self.session.extensions:
            return super().function(name)

        def refuse(*_: object) -> NoReturn:
            raise GuestFault(f"{name}: this session doesn't allow {interface} of wasi-nn:ext")

        return refuse

    def describe(self, graph: int, address: int) -> Text:
        writer = RecordWriter(NUMBER_OF_TYPE, address)
        record = np.frombuffer(writer.graph(self.session.describe(graph)), np.uint8)
        return 2 * len(record), lambda text: split(record, text)

    def use_signature(self, graph: int, name: memoryview) -> int:
        return self.session.use_signature(graph, checked("signature", text_of(name), ErrorCode.NOT_FOUND))

    def bytes_new(self, size: int, rank: int) -> int:
        """A tensor of bytes, which the bridge then writes."""
        if rank > MAX_RANK:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"a tensor of byte strings has rank {rank}, above {MAX_RANK}")
        self.session.require_tensor_bytes(size + 4 * rank)
        row = np.zeros(size + 4 * rank, np.uint8)
        return self.session.add_tensor(Tensor(TensorType.U8, row[:size], row[size:]))

    def state_get(self, graph: int) -> int:
        """A tensor with the bytes of the state, which the bridge then reads and drops."""
        state = np.frombuffer(self.session.state_get(graph), np.uint8)
        return self.session.add_tensor(Tensor(TensorType.U8, state, state[:0]))

    def state_set(self, graph: int, state: int) -> int:
        content = self.session.tensor(state).data
        self.session.drop(state)
        self.session.state_set(graph, content.data)
        return 0

    def begin_sequence(self, context: int, inputs: memoryview) -> int:
        return self.session.begin_sequence(context, self.named_inputs(inputs))

    def next_of_sequence(self, sequence: int) -> bytes:
        outputs = self.session.next_of_sequence(sequence)
        return _AFTER_THE_LAST if outputs is None else self.outputs_text(outputs)

    def strings_new(self, tensor: int, count: int) -> int:
        """Make a tensor of bytes a tensor of `count` strings, if they fit its dimensions; else drop it."""
        item = self.session.tensor(tensor)
        try:
            if count > MAX_STRINGS:
                message = f"a tensor has {count} strings: at most {MAX_STRINGS} are allowed"
                raise NNError(ErrorCode.TOO_LARGE, message)
            if prod(item.dims) != count:
                message = f"byte strings{dims_text(item.dims)} are {prod(item.dims)} strings, got {count}"
                raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        except NNError:
            self.session.drop(tensor)
            raise
        item.holds_strings = True
        return tensor

    def strings_count(self, tensor: int) -> int:
        item = self.session.tensor(tensor)
        if not item.holds_strings:
            # The message has no dimensions: a guest's tensor may have millions.
            message = f"the tensor has numbers of {item.type.value}, not byte strings"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return prod(item.dims)
