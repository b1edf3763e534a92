"""What is known of an execution of a graph: for whom, and how long its parts took."""

from __future__ import annotations

from dataclasses import dataclass

from wasi_nn.serving.request import NamedArrays


@dataclass(frozen=True)
class Execution:
    """One execution of a graph, for so many requests, which have so many rows together. A request counts as one row
    where the graph doesn't compute in batches. `began` is a time of `time.monotonic`; the inputs are prepared, then the
    graph runs, and then its outputs are given to the requests, in so many seconds each.
    """

    requests: int
    rows: int
    began: float
    input_seconds: float
    run_seconds: float
    output_seconds: float

    @property
    def seconds(self) -> float:
        """The seconds of all parts."""
        return self.input_seconds + self.run_seconds + self.output_seconds


@dataclass(frozen=True)
class Computed:
    """The outputs that a request asked for, and the execution that gave them."""

    outputs: NamedArrays
    execution: Execution
