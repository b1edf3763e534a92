"""The nn calls of a guest as stages of the request that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_nn.serving.observing.timeline import Stage, Timeline, detailed_timeline
from wasi_nn.tracing.call_recorder import CallRecorder, Described

if TYPE_CHECKING:
    from wasi_nn.guests.http.outgoing.outgoing import OutgoingFacts

ROW = 2
"""The row of a guest's calls in a trace."""
OUTGOING_ROW = 3
"""The row of its requests over HTTP."""

_LONGEST_TEXT = 200  # characters of a text that a guest gives


class GuestStages(CallRecorder):
    """Notes each call in a timeline, without the contents of tensors. Its methods are called on the guest's thread."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        about = {key: value[:_LONGEST_TEXT] if isinstance(value, str) else value for key, value in arguments.items()}
        self._timeline.add(Stage(name, began, ended, about, row=ROW))


def guest_stages() -> GuestStages | None:
    """What notes the nn calls of a guest for the request that this task serves, if the request has a trace."""
    timeline = detailed_timeline()
    return None if timeline is None else GuestStages(timeline)


def outgoing_stage(facts: OutgoingFacts) -> Stage:
    """A request that a guest has made, as a stage: without its path and headers, which may have secrets."""
    about = {"place": facts.place[:_LONGEST_TEXT], "outcome": facts.outcome}
    sizes = {"bytes_out": facts.bytes_out, "bytes_in": facts.bytes_in}
    return Stage(f"HTTP {facts.method}", facts.began, facts.ended, about | sizes, row=OUTGOING_ROW)
