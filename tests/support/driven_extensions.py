"""A component with wasi-nn:ext under a test's control: each method makes the guest make one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from struct import unpack
from typing import TYPE_CHECKING, Any

import numpy as np
from driven_component import ENGINE, TYPES, Driven

from wasi_nn.abi.component import host_functions
from wasi_nn.session.session import Session

if TYPE_CHECKING:
    from wasmtime import Engine

    from wasi_nn.abi.component.linking import Define
    from wasi_nn.types import Array

ENCODINGS = ("openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml", "autodetect")


class Extended(Driven):
    """An instance of the driver for wasi-nn:ext, and its session."""

    def __init__(
        self,
        session: Session,
        define: Define = host_functions.define,
        engine: Engine = ENGINE,
        *,
        direct: bool = True,
    ) -> None:
        super().__init__("ext", session, define, engine, direct=direct)

    def memory(self, at: int, size: int, part: int = 8 << 20) -> bytes:
        """Bytes of the guest's memory."""
        parts = []
        for start in range(at, at + size, part):
            planes: Array = np.frombuffer(self("read-memory", start, min(part, at + size - start)).encode(), np.uint8)
            parts.append((planes[: len(planes) // 2] | planes[len(planes) // 2 :] << 4).tobytes())
        return b"".join(parts)

    def context(self, name: str) -> int:
        """A context on a named graph."""
        graph = self.load_by_name(name)
        context = self.init_execution_context(graph)
        self("drop-graph", graph)
        return context

    def describe(self, graph: int) -> dict[str, Any]:
        return Reader(self).graph(self.outcome(self("describe", graph)))

    def use_signature(self, graph: int, name: str) -> int:
        return self.outcome(self("use-signature", graph, name))

    def state_get(self, graph: int) -> bytes:
        at = self.outcome(self("state-get", graph))
        return self.memory(*unpack("<II", self.memory(at, 8)))

    def state_set(self, graph: int, state: bytes) -> None:
        self.stage(state)
        self.status(self("state-set", graph))

    def begin(self, context: int, inputs: Mapping[str, Array]) -> int:
        named = [(name, self.tensor(array)) for name, array in inputs.items()]
        return self.begin_with(context, named)

    def begin_with(self, context: int, inputs: Sequence[tuple[str, int]]) -> int:
        return self.outcome(self("begin", context, [name for name, _ in inputs], [tensor for _, tensor in inputs]))

    def next(self, sequence: int) -> list[tuple[str, int]] | None:
        """The outputs of the next piece, as tensors by name."""
        count = self.outcome(self("next", sequence))
        if not count:
            return None
        return [(self("output-name", index), self("output-tensor", index)) for index in range(count - 1)]

    def pieces(self, sequence: int) -> list[bytes]:
        """The first output of each piece to the end. Drops all outputs."""
        pieces = []
        while (outputs := self.next(sequence)) is not None:
            pieces.append(self.data(outputs[0][1]))
            for _, tensor in outputs:
                self("drop-tensor", tensor)
        return pieces

    def strings_tensor(self, strings: Sequence[bytes], dims: Sequence[int] | None = None) -> int:
        self.stage(b"".join(strings))
        dims = [len(strings)] if dims is None else list(dims)
        return self.outcome(self("strings-new", dims, [len(string) for string in strings]))

    def strings(self, tensor: int) -> list[bytes]:
        at, count = unpack("<II", self.memory(self.outcome(self("strings", tensor)), 8))
        places = unpack(f"<{2 * count}I", self.memory(at, 8 * count))
        return [self.memory(*places[place : place + 2]) for place in range(0, len(places), 2)]

    def array_of_strings(self, tensor: int) -> list[bytes]:
        """The strings as the tensor's own data has them."""
        data, count = self.data(tensor), prod(self("tensor-dimensions", tensor))
        ends, strings = [0, *unpack(f"<{count}I", data[: 4 * count])], data[4 * count :]
        return [strings[ends[place] : ends[place + 1]] for place in range(count)]


class Reader:
    """Reads a description in the guest's memory."""

    def __init__(self, guest: Extended) -> None:
        self.guest = guest

    def u32(self, at: int) -> int:
        value: int = unpack("<I", self.guest.memory(at, 4))[0]
        return value

    def byte(self, at: int) -> int:
        return self.guest.memory(at, 1)[0]

    def string(self, at: int) -> str:
        return self.guest.memory(self.u32(at), self.u32(at + 4)).decode()

    def items(self, at: int, size: int, item: Any) -> list[Any]:
        return [item(self.u32(at) + size * index) for index in range(self.u32(at + 4))]

    def graph(self, at: int) -> dict[str, Any]:
        return {
            "encoding": ENCODINGS[self.byte(at)],
            "runtime": self.string(at + 4),
            "device": self.string(at + 12),
            "signature": self.string(at + 20),
            "signatures": self.items(at + 28, 8, self.string),
            "inputs": self.items(at + 36, 36, self.tensor),
            "outputs": self.items(at + 48, 36, self.tensor) if self.byte(at + 44) else None,
            "metadata": dict(self.items(at + 56, 16, lambda pair: (self.string(pair), self.string(pair + 8)))),
        }

    def tensor(self, at: int) -> tuple[str, Any, list[Any] | None, bool]:
        """Name, element type, dimensions, and whether the tensor is optional."""
        kinds: dict[int, Callable[[], Any]] = {
            0: lambda: ("number", TYPES[self.byte(at + 12)]),
            1: lambda: "byte-string",
            2: lambda: ("native", self.string(at + 12)),
            3: lambda: "any",
        }
        element = kinds[self.byte(at + 8)]()
        dims = self.items(at + 24, 12, self.dimension) if self.byte(at + 20) else None
        return self.string(at), element, dims, bool(self.byte(at + 32))

    def dimension(self, at: int) -> int | str | None:
        """A size, a name, or None if neither is known."""
        match self.byte(at):
            case 0:
                return self.u32(at + 4)
            case 1:
                return self.string(at + 4)
            case kind:
                assert kind == 2
                return None
