"""The nn calls of a guest as stages of the request that it answers."""

from __future__ import annotations

from wasi_nn.serving.timeline import Stage, Timeline, detailed_timeline
from wasi_nn.tracing.call_recorder import CallRecorder, Described

ROW = 2
"""The row of a guest's calls in a trace."""

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
