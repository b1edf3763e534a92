"""Ends a worker whose llama.cpp is occupied by a guest's grammar.

A hostile grammar makes one token take for ever, and llama.cpp writes all texts of a model in one loop: so every other
text waits too. While the guest itself waits, its deadline ends the worker. A guest that has left its text, or doesn't
read on, waits for nothing and has no deadline: then this watch ends the worker.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from wasi_nn.process.processes import SAID_WHY
from wasi_nn.process.threads import Call

PATIENCE = 30.0
"""Seconds that llama.cpp may take for one round of its loop: a batch of a long prompt takes some seconds on few
processors."""


class GrammarWatch:
    """Watches one text until `end`. `go_round` returns when llama.cpp's loop has gone round once, and may block for
    ever. `patience` is in seconds. Any thread may call the methods."""

    def __init__(self, go_round: Callable[[], object], patience: float) -> None:
        self._go_round = go_round
        self._patience = patience
        self._over = threading.Event()
        self._seen = time.monotonic()
        self._is_awaited = False
        threading.Thread(target=self._watch, name="wasi-nn grammar", daemon=True).start()

    def progress(self) -> None:
        """Note that llama.cpp has written a piece."""
        self._seen = time.monotonic()

    def reader_waits(self, waits: bool) -> None:
        """Note that the reader begins to wait for a piece, or has ended to."""
        self._is_awaited = waits
        self._seen = time.monotonic()

    def end(self) -> None:
        """End the watch: the text has ended, and llama.cpp's loop goes round."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._patience / 4):
            if self._is_awaited or time.monotonic() < self._seen + self._patience or self._goes_round():
                continue
            if not (self._is_awaited or self._over.is_set()):
                text = (
                    f"a guest's grammar occupied llama.cpp for {self._patience:g} s, and the guest waited for nothing"
                )
                print(f"{text} (raise the option max-grammar-time)", file=sys.stderr, flush=True)
                os._exit(SAID_WHY)

    def _goes_round(self) -> bool:
        """Whether llama.cpp's loop goes round within the patience."""
        try:
            gone_round = Call(self._go_round)  # whose error says that the model is closed meanwhile
        except RuntimeError:
            return True  # as long as no thread can be started; the next look asks again
        if not gone_round.wait(self._patience):
            return False
        self._seen = time.monotonic()
        return True
