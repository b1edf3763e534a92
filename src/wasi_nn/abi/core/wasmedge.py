"""WasmEdge's dialect of the core ABI: more functions, and other numbers, for guests that were built for WasmEdge.

    load_by_name_with_config(name, length, config, length, out: graph)   load a named graph, configured by JSON
    compute_single(context)                                              compute the next piece of a sequence: a token
    get_output_single(context, index, buffer, its size, out: written)    read that piece, or facts on the sequence
    fini_single(context)                                                 end the sequence and forget it
    unload(graph)                                                        give the graph's handle back
    finalize_execution_context(context)                                  give the context's handle back

A named graph keeps one handle until the guest unloads it; a later call with another configuration gets the same handle.
After `unload`, contexts of the graph keep their state: `get_output`, `get_output_single` and `fini_single` still work.
Functions that need the graph fail with `invalid-argument`. (Source: WasmEdge's plugin of 2026-08, `wasinnfunc.cpp` and
`wasinnenv.h`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wasi_nn.abi.core.extensions import check_buffer, deliver
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.spec import BUSY, ENCODINGS, ERRNO, FUNCTIONS, INVALID_ARGUMENT, CoreAbi
from wasi_nn.errors import Busy, ContextFull, EndOfSequence, ModelNotFound, NNError, PromptTooLong
from wasi_nn.session.session import Session
from wasi_nn.types import ExecutionTarget, GraphEncoding

EXTENSIONS = {
    "load_by_name_with_config": 5,
    "compute_single": 1,
    "get_output_single": 5,
    "fini_single": 1,
    "unload": 1,
    "finalize_execution_context": 1,
}
"""WasmEdge's functions beyond the specification, each with the number of its parameters."""

END_OF_SEQUENCE, CONTEXT_FULL, PROMPT_TOO_LONG, MODEL_NOT_FOUND = 100, 101, 102, 103
ERRNO_OF_KIND: Mapping[type[NNError], int] = {
    EndOfSequence: END_OF_SEQUENCE,
    ContextFull: CONTEXT_FULL,
    PromptTooLong: PROMPT_TOO_LONG,
    ModelNotFound: MODEL_NOT_FOUND,
    Busy: BUSY,
}

# Encodings that only WasmEdge has. Other packages can register backends for them.
EXTENSION_ENCODINGS = {
    7: "NeuralSpeed",
    8: "Burn",
    9: "Whisper",
    10: "MLX",
    11: "Piper",
    12: "ChatTTS",
    13: "OpenVINO GenAI",
    14: "BitNet",
}


class WasmEdgeAbi(CoreAbi):
    """The functions of WasmEdge's dialect over one session."""

    functions = FUNCTIONS | EXTENSIONS
    encodings = ENCODINGS | {6: GraphEncoding.GGML}

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._graph_named: dict[str, int] = {}  # handles by name

    def errno(self, error: NNError) -> int:
        return ERRNO_OF_KIND.get(type(error), ERRNO[error.code])

    def out_of_bounds(self, name: str, error: OutOfBounds) -> int:
        self.failures.add(f"{name} failed: {error} [errno {INVALID_ARGUMENT}]")
        return INVALID_ARGUMENT

    def load_encoded(self, builders: Sequence[memoryview], encoding: int, target: ExecutionTarget) -> int:
        encoding &= 0xFF
        if encoding not in EXTENSION_ENCODINGS:
            return super().load_encoded(builders, encoding, target)
        return self.session.load_extension(builders, encoding, EXTENSION_ENCODINGS[encoding], target)

    def load_by_name(self, memory: GuestMemory, name: int, length: int, out: int) -> None:
        self.load_by_name_with_config(memory, name, length, 0, 0, out)

    def load_by_name_with_config(
        self, memory: GuestMemory, name: int, length: int, config: int, size: int, out: int
    ) -> None:
        memory.check("the out-pointer", out, 4)
        text = self.name(memory, name, length)
        content = memory.range("the configuration", config, size)
        handle = self._graph_named.get(text, 0)
        if not self.session.holds_graph(handle):
            handle = self._graph_named[text] = self.session.load_by_name(text, content)
        memory.write_u32(out, handle)

    def require_graph_of(self, context: int) -> None:
        self.session.require_graph(context)

    def set_input(self, memory: GuestMemory, context: int, index: int, tensor: int) -> None:
        self.session.require_graph(context)
        super().set_input(memory, context, index, tensor)

    def compute(self, memory: GuestMemory, context: int) -> None:
        self.session.require_graph(context)
        self.session.compute(context)
        if self.session.context_full(context):
            raise ContextFull("the text ends where the context is full")  # which the guest can still read

    def compute_single(self, memory: GuestMemory, context: int) -> None:
        self.session.require_graph(context)
        self.session.compute_single(context)

    def get_output_single(
        self, memory: GuestMemory, context: int, index: int, buffer: int, room: int, out: int
    ) -> None:
        check_buffer(memory, buffer, room, out)
        deliver(memory, f"output {index}", self.session.single_output_bytes(context, index), buffer, room, out)

    def fini_single(self, memory: GuestMemory, context: int) -> None:
        self.session.fini_single(context)

    def unload(self, memory: GuestMemory, graph: int) -> None:
        self.session.unload(graph)

    def finalize_execution_context(self, memory: GuestMemory, context: int) -> None:
        self.session.finalize_execution_context(context)
