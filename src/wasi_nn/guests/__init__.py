"""The engine's side of a run: a guest's file, its compiled code, its WASI, its output and its time."""
