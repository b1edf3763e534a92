"""Sequences: the outputs of a compute piece by piece, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_nn.errors import ContextFull, EndOfSequence, ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.graph.execution_context import ExecutionContext
    from wasi_nn.types import Array


class NamedSequence:
    """A sequence that is under way on a context. `ExecutionContext.sequence` begins one. Dropping it ends it.

    A context has one sequence at a time: another one, a compute or a new input ends it.
    """

    def __init__(self, context: ExecutionContext) -> None:
        self.context = context
        self._number = context.sequence_number
        self._has_ended = False

    def next(self) -> list[tuple[str, Array]] | None:
        """Each output of the next piece with its name: output 0 is the piece, the others are of the sequence so far.
        None after the last piece, also where the sequence ends because the model's context is full.

        Raises `NNError`: `invalid-argument` if the context was used for something else meanwhile, `runtime-error` and
        others as `ExecutionContext.compute` does; the sequence has ended then.
        """
        if self._has_ended:
            return None
        if self.context.sequence_number != self._number:
            message = "the sequence was ended by another sequence, a compute or a new input on its execution context"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        try:
            self.context.compute_single()
        except (EndOfSequence, ContextFull):
            self._has_ended = True
            return None
        return self.context.piece()

    def close(self) -> None:
        """End the sequence. Of no effect if it has ended."""
        if not self._has_ended and self.context.sequence_number == self._number:
            self._has_ended = True
            self.context.fini_single()
