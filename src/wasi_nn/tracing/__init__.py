"""Traces, for tools: record the nn calls of a guest, replay them, and read and write the files.

`RecordingSession` records. `replay` repeats a recording and returns a `Replayed` with each `Difference`, and
`compare_traces` compares two recordings. `Trace` writes the file of a recording, `TraceReader` reads it, and
`recorded_tensor` gives a tensor of it as an array. `CallLog` shows calls as lines; `CallRecorder` is the base of both.
"""

# No lazy imports: once the module `replay` is imported, a lazy name `replay` would be the module, not the function.
from wasi_nn.tracing.call_log import CallLog as CallLog
from wasi_nn.tracing.call_recorder import CallRecorder as CallRecorder
from wasi_nn.tracing.recording import RecordingSession as RecordingSession
from wasi_nn.tracing.replay import Difference as Difference, Replayed as Replayed, replay as replay
from wasi_nn.tracing.tensor_dump import recorded_tensor as recorded_tensor
from wasi_nn.tracing.trace_comparison import (
    CallDifference as CallDifference,
    TraceComparison as TraceComparison,
    compare_traces as compare_traces,
)
from wasi_nn.tracing.trace_file import TraceReader as TraceReader
from wasi_nn.tracing.trace_writer import Trace as Trace
