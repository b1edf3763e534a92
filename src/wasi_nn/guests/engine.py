"""The engine of guests."""

from __future__ import annotations

import os

from wasmtime import Config, Engine

from wasi_nn.guests.engine_settings import engine_settings

SOURCE_LINES = "WASMTIME_BACKTRACE_DETAILS"
"""The environment variable that has each new engine keep where a guest's code stands in its source, if it is `1`. The
engine has no other switch for it."""


def has_source_lines() -> bool:
    """Whether engines keep the places in the source, so that a trap shows them."""
    return os.environ.get(SOURCE_LINES) == "1"


def new_engine(*, fuel: bool) -> Engine:
    """An engine for guests. With `fuel`, it counts their instructions."""
    config = Config()
    for name, value in engine_settings(fuel=fuel).items():
        setattr(config, name, value)
    return Engine(config)
