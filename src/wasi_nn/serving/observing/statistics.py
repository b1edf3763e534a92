"""Counts what a model has done since the server began."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from wasi_nn.serving.computing.executions import Execution

_MOST_SIZES = 1024  # of batches that are counted apart


@dataclass
class Times:
    """How often something was done, and the nanoseconds that this took in all."""

    count: int = 0
    nanoseconds: int = 0

    def add(self, seconds: float) -> None:
        """Count it once more."""
        self.count += 1
        self.nanoseconds += round(1e9 * max(0.0, seconds))


@dataclass
class BatchTimes:
    """The executions of batches of one size, by their parts."""

    inputs: Times = field(default_factory=Times)
    runs: Times = field(default_factory=Times)
    outputs: Times = field(default_factory=Times)


@dataclass
class ModelStatistics:
    """What a model has done: requests that succeeded or failed, each from its arrival to its outputs; for those that
    succeeded, the time until their execution began, and the parts of the execution, which each request of a batch took
    in full. `inferences` are rows, and `batches` the executions by their rows. `last` is the end of the last execution,
    in milliseconds since 1970; 0: there was none.
    """

    successes: Times = field(default_factory=Times)
    failures: Times = field(default_factory=Times)
    waits: Times = field(default_factory=Times)
    inputs: Times = field(default_factory=Times)
    runs: Times = field(default_factory=Times)
    outputs: Times = field(default_factory=Times)
    inferences: int = 0
    executions: int = 0
    last: int = 0
    batches: dict[int, BatchTimes] = field(default_factory=dict)

    def executed(self, execution: Execution) -> None:
        """Count an execution."""
        self.executions += 1
        self.inferences += execution.rows
        self.last = round(1000 * time.time())
        # A client chooses the rows of its requests, and mustn't fill the memory by that.
        if execution.rows in self.batches or len(self.batches) < _MOST_SIZES:
            batch = self.batches.setdefault(execution.rows, BatchTimes())
            batch.inputs.add(execution.input_seconds)
            batch.runs.add(execution.run_seconds)
            batch.outputs.add(execution.output_seconds)

    def succeeded(self, began: float, ended: float, execution: Execution) -> None:
        """Count a request, by its arrival and its end on the clock of `time.monotonic`."""
        self.successes.add(ended - began)
        self.waits.add(execution.began - began)
        self.inputs.add(execution.input_seconds)
        self.runs.add(execution.run_seconds)
        self.outputs.add(execution.output_seconds)

    def failed(self, began: float, ended: float) -> None:
        """Count a request that failed, or whose client has gone."""
        self.failures.add(ended - began)
