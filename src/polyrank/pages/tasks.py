"""One colour a task, on every figure and in every table of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyrank.pages.theme import DASHES, SHAPES, TASK_COLORS

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class TaskName:
    """A task's name in a cell of a table, with its colour beside it."""

    name: str
    place: int


class TaskColors:
    """Colour, dash pattern and shape by task, by its place in the order of tasks.

    A chart that gives tasks more than one of them gives each channel the same legend, such as
    ``alt.Legend(title=None, symbolStrokeWidth=0)``; ``legend=None`` on one hides it for all.

    Args:
        tasks: Names in the order of the schema; 8 colours and 7 shapes repeat at different lengths,
            so that 56 tasks differ in one of them at least.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)

    def cell(self, task: str) -> TaskName:
        """The task's name for a table."""
        return TaskName(task, self.tasks.index(task))

    def of(self, task: str) -> str:
        """The task's colour, for a chart of it alone."""
        return _color(self.tasks.index(task))

    def color(self) -> alt.Scale:
        """The scale of the channel ``color``."""
        return self._scale([_color(place) for place in range(len(self.tasks))])

    def dash(self) -> alt.Scale:
        """The scale of the channel ``strokeDash``."""
        return self._scale([list(DASHES[place % len(DASHES)]) for place in range(len(self.tasks))])

    def shape(self) -> alt.Scale:
        """The scale of the channel ``shape``."""
        return self._scale([SHAPES[place % len(SHAPES)] for place in range(len(self.tasks))])

    def _scale(self, values: list[str] | list[list[int]]) -> alt.Scale:
        import altair as alt

        return alt.Scale(domain=list(self.tasks), range=values)


def _color(place: int) -> str:
    return f"var(--task-{place % len(TASK_COLORS)})"
