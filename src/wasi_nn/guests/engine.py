"""The engine that guests run on, as it is configured in this process and in the one that compiles guests.

Nothing here may import numpy, which would make each start of that process slower.
"""

from __future__ import annotations

from wasmtime import Config, Engine


def new_engine(*, fuel: bool, parallel: bool = False) -> Engine:
    """An engine for guests. With `fuel` it counts their instructions; with `parallel` it compiles on several threads.

    The threads for compiling are made when they are first needed, and the engine ends the process where they can't be.
    So only a process that does nothing but compile has them.
    """
    config = Config()
    config.epoch_interruption = True
    config.consume_fuel = fuel
    config.parallel_compilation = parallel
    return Engine(config)
