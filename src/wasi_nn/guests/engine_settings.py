"""The settings of the engine of guests. The process that compiles them has an engine with the same.

This module imports nothing: the compiling process starts without wasmtime-py, whose import takes 40 ms.
"""

from __future__ import annotations


def engine_settings(*, fuel: bool, parallel: bool = False) -> dict[str, bool]:
    """The settings by their names in the engine's C API. With `fuel`, the engine counts the instructions of guests;
    with `parallel`, it compiles on several threads.

    The engine starts these threads at the first compilation, and ends the process if that fails. So only a process that
    does nothing but compile uses `parallel`.
    """
    return {
        "epoch_interruption": True,
        "consume_fuel": fuel,
        "parallel_compilation": parallel,
        "wasm_gc": False,  # until wasmtime 50.0.2, a guest with a heap can end the process (GHSA-43j2-gcp4-m22g)
    }
