"""`CallLog`: shows each nn call of a guest as one line, for a person who looks for the guest's mistake.

load_by_name "colours" -> graph 1, onnx, onnxruntime, CPU  (1.2 ms)
set_input context 2, input 0, fp32[1, 3, 8, 8] of 768 bytes, 0 to 1, mean 0.42  (11 us)
compute context 2 FAILED, invalid-argument: input 0 ('picture') isn't set  (8 us)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wasi_nn.tracing.call_recorder import CallRecorder, Described
from wasi_nn.tracing.call_words import line_of


class CallLog(CallRecorder):
    """Gives each call to `show` as one line of text without control characters.

    `also` is another recorder, such as a `Trace`, which gets the same calls and is closed with this one.
    """

    def __init__(self, show: Callable[[str], object], also: CallRecorder | None = None) -> None:
        super().__init__()
        self._show = show
        self._also = also

    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        self._show(line_of(name, arguments, ended - began, category))
        if self._also is not None:
            self._also.write(name, row, arguments, began, ended, category)

    def content(self, content: memoryview) -> dict[str, Any]:
        return super().content(content) if self._also is None else self._also.content(content)

    def name_row(self, row: int, name: str) -> None:
        if self._also is not None:
            self._also.name_row(row, name)

    def for_run(self, title: str) -> CallRecorder:
        return self if self._also is None else CallLog(self._show, self._also.for_run(title))

    def phase(self, name: str, began: int, ended: int, about: Described) -> None:
        if self._also is not None:
            self._also.phase(name, began, ended, about)

    def guest_goes_on(self) -> None:
        if self._also is not None:
            self._also.guest_goes_on()

    def guest_ended(self) -> None:
        if self._also is not None:
            self._also.guest_ended()

    def close(self) -> None:
        if self._also is not None:
            self._also.close()
