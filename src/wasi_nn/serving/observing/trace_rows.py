"""The rows of a request's stages in a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wasi_nn.serving.observing.timeline import Stage


def in_rows(stages: Sequence[Stage]) -> Iterator[tuple[Stage, int]]:
    """Each stage with the number of the line of its row in which it is shown, from 0 on. On one line,
    stages follow each other or lie within each other. A viewer would drop a stage that begins within another one and
    ends after it: so such a stage is on a further line. Within a row, the stages that began first come first."""
    lines: dict[int, list[list[int]]] = {}  # by row: the ends of the stages that are open on each line
    for stage in sorted(stages, key=lambda stage: (stage.row, stage.began, -stage.ended)):
        yield stage, _line(lines.setdefault(stage.row, []), stage)


def _line(lines: list[list[int]], stage: Stage) -> int:
    """The number of the first line that has a place for a stage, which is noted there."""
    for number, ends in enumerate(lines):
        while ends and ends[-1] <= stage.began:
            ends.pop()
        if not ends or stage.ended <= ends[-1]:
            ends.append(stage.ended)
            return number
    lines.append([stage.ended])
    return len(lines) - 1
