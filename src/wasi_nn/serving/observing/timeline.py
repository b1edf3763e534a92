"""The stages of a request, with their times, for those who asked to see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

_MOST_STAGES = 200  # of one request

About = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A part of a request's time: from `began` to `ended`, nanoseconds of `time.monotonic_ns`. `about` has facts
    that have a form in JSON; `error` is the text of the error that ended it, or empty. `row` is its row in a trace."""

    name: str
    began: int
    ended: int
    about: About
    error: str = ""
    row: int = 1


@dataclass
class Timeline:
    """The stages of one request. `began` is on the clock of `time.monotonic_ns`, and `began_at` the same moment in
    nanoseconds since 1970. `about` has facts about the whole request, by the names of OpenTelemetry's conventions.
    `has_details` says whether the stages have facts of their own."""

    began: int = field(default_factory=time.monotonic_ns)
    began_at: int = field(default_factory=time.time_ns)
    stages: list[Stage] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    has_details: bool = False

    def add(self, stage: Stage) -> None:
        """Add a stage; further ones than a request can reasonably have are left out."""
        if len(self.stages) < _MOST_STAGES:
            self.stages.append(stage)

    def at(self, moment: int) -> int:
        """A moment of `time.monotonic_ns` in nanoseconds since 1970."""
        return self.began_at + moment - self.began


_current: ContextVar[Timeline | None] = ContextVar("wasi_nn_timeline", default=None)


def follow(timeline: Timeline) -> None:
    """Have the stages of this task's request noted in a timeline."""
    _current.set(timeline)


def detailed_timeline() -> Timeline | None:
    """The timeline of this task's request, if its stages have facts of their own."""
    timeline = _current.get()
    return timeline if timeline is not None and timeline.has_details else None


def note(facts: Callable[[], About]) -> None:
    """Note facts about the whole request, if its stages are noted."""
    timeline = _current.get()
    if timeline is not None:
        timeline.about.update(facts())


def note_stage(name: str, began: float, ended: float, facts: Callable[[], About] = dict) -> None:
    """Note a stage of the request that this task serves, between two times of `time.monotonic`."""
    timeline = _current.get()
    if timeline is not None:
        about = facts() if timeline.has_details else {}
        timeline.add(Stage(name, round(1e9 * began), round(1e9 * ended), about))


class stage:  # noqa: N801  # it is used as a function
    """A stage of the request that this task serves: a context manager, which does nothing unless the stages of this
    request are noted."""

    __slots__ = ("_about", "_began", "_name", "_timeline")

    def __init__(self, name: str) -> None:
        self._name = name
        self._timeline = _current.get()
        self._about: About = {}
        self._began = 0

    def tell(self, facts: Callable[[], About]) -> None:
        """Add facts to the stage. They are only made if somebody wants them."""
        if self._timeline is not None and self._timeline.has_details:
            self._about = {**self._about, **facts()}

    def __enter__(self) -> stage:
        if self._timeline is not None:
            self._began = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timeline is not None:
            text = "" if error is None else str(error) or type(error).__name__
            self._timeline.add(Stage(self._name, self._began, time.monotonic_ns(), self._about, text))
