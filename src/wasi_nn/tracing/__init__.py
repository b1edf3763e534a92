"""The tier of this package for tools: record the nn calls of a guest, replay them, and read the files of both.

`RecordingSession` records. `replay` repeats a recording and gives a `Replayed` with each `Difference`. `Trace` writes
the file of a recording and `TraceReader` reads it.
"""

# The imports are direct, since `replay` is a module too: a lazy name would give the module once that is imported.
from wasi_nn.tracing.recording import RecordingSession as RecordingSession
from wasi_nn.tracing.replay import Difference as Difference, Replayed as Replayed, replay as replay
from wasi_nn.tracing.trace_file import Trace as Trace, TraceReader as TraceReader
