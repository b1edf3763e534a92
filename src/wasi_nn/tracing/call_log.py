"""`CallLog`: shows each nn call of a guest as one line, for a person who looks for the guest's mistake.

load_by_name "colours" -> graph 1, onnx, onnxruntime, CPU  (1.2 ms)
set_input context 2, input 0, fp32[1, 3, 8, 8] of 768 bytes, 0 to 1, mean 0.42  (11 us)
compute context 2 FAILED, invalid-argument: input 0 ('picture') isn't set  (8 us)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wasi_nn.errors import printable, shortened
from wasi_nn.tracing.call_recorder import CATEGORY, CallRecorder, Described
from wasi_nn.types import dims_text

_MOST_SHOWN = 8  # tensors, builders or numbers of a call
_WORDS = ("encoding", "target", "runtime", "device")


class CallLog(CallRecorder):
    """Gives each call to `show` as one line of text without control characters.

    `also` is another recorder, such as a `Trace`, which gets the same calls and is closed with this one.
    """

    def __init__(self, show: Callable[[str], object], also: CallRecorder | None = None) -> None:
        super().__init__()
        self._show = show
        self._also = also

    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        self._show(_line(name, arguments, ended - began, category))
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


def _line(name: str, arguments: Described, nanoseconds: int, category: str) -> str:
    given = {key: value for key, value in arguments.items() if key not in ("result", "error")}
    parts = [name, _described(given)]
    if error := arguments.get("error"):
        how = "FAILED" if category == CATEGORY else "REFUSED"
        parts.append(f"{how}, {error['code']}: {printable(error['message'])}")
    elif result := arguments.get("result"):
        parts.append(f"-> {_described(result)}")
    return f"{' '.join(filter(None, parts))}  ({_time(nanoseconds)})"


def _described(values: Mapping[str, Any]) -> str:
    """Arguments or results in words, such as `context 2, input 0, fp32[4] of 16 bytes`."""
    words = [_value(key, value) for key, value in values.items() if key not in _OF_TENSORS]
    if "dims" in values:
        words.append(_tensor(values))
    elif "bytes" in values:
        words.append(f"{values['bytes']:,} bytes")
    return ", ".join(filter(None, words))


_OF_TENSORS = frozenset(("type", "dims", "bytes", "data", "min", "max", "mean", "nonfinite", "hash"))


def _value(key: str, value: Any) -> str:
    if isinstance(value, str):
        shown = printable(shortened(value))
        return shown if key in _WORDS else f'"{shown}"' if key == "name" else f'{key} "{shown}"'
    if isinstance(value, list):
        shown = ", ".join(_described(item) if isinstance(item, Mapping) else str(item) for item in value[:_MOST_SHOWN])
        return f"{key} ({shown}{', ...' if len(value) > _MOST_SHOWN else ''})"
    if isinstance(value, Mapping):
        return f"{key} ({_described(value)})"
    return key if value is True else f"{key} {value}"


def _tensor(described: Mapping[str, Any]) -> str:
    text = f"{described.get('type', 'string')}{dims_text(tuple(described['dims']))}"
    if "bytes" in described:
        text += f" of {described['bytes']:,} bytes"
    if "min" in described:
        text += f", {described['min']:g} to {described['max']:g}"
    if "mean" in described:
        text += f", mean {described['mean']:g}"
    if "nonfinite" in described:
        text += f", {described['nonfinite']:,} NaN or infinite"
    return text


def _time(nanoseconds: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1000:.0f} us"
