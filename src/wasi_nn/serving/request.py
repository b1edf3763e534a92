"""A request for an inference and its result, as every protocol gives and takes them: names and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasi_nn.types import Array

NamedArrays = Sequence[tuple[str, "Array"]]


@dataclass(frozen=True)
class InferenceRequest:
    """What a client wants computed.

    `version` is empty for any. `outputs` are the names of those that the client wants; empty for all. Strings are in
    arrays of objects, each `bytes`. `until` is the end of the request's time, on the clock of `time.monotonic`.
    """

    model: str
    version: str
    inputs: NamedArrays
    outputs: Sequence[str]
    until: float


@dataclass(frozen=True)
class InferenceResult:
    """The outputs with their names, in the order in which they were asked for. `waited` and `computed` are seconds."""

    version: str
    outputs: NamedArrays
    waited: float
    computed: float
