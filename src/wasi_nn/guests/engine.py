"""The engine of guests, with the same settings in this process and in the process that compiles guests.

This module imports no numpy, because that would slow down each start of the compiling process.
"""

from __future__ import annotations

import os

from wasmtime import Config, Engine

SOURCE_LINES = "WASMTIME_BACKTRACE_DETAILS"
"""The environment variable that has each new engine keep where a guest's code stands in its source, if it is `1`. The
engine has no other switch for it."""


def has_source_lines() -> bool:
    """Whether engines keep the places in the source, so that a trap shows them."""
    return os.environ.get(SOURCE_LINES) == "1"


def new_engine(*, fuel: bool, parallel: bool = False) -> Engine:
    """An engine for guests. With `fuel`, it counts their instructions; with `parallel`, it compiles on several threads.

    The engine starts these threads at the first compilation, and ends the process if that fails. So only a process that
    does nothing but compile uses `parallel`.
    """
    config = Config()
    config.epoch_interruption = True
    config.consume_fuel = fuel
    config.parallel_compilation = parallel
    config.wasm_gc = False  # until wasmtime 50.0.2, a guest with a heap can end the process (GHSA-43j2-gcp4-m22g)
    return Engine(config)
