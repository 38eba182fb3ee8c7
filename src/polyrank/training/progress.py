"""Progress for people: a bar on a terminal, a line now and then elsewhere; both on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from polyrank.training.records import EvaluationRecord, NoticeRecord, Record, RunPlan, TrainRecord

_BAR_SECONDS = 0.2
_LINE_SECONDS = 10.0


class ProgressReport:
    """Shows examples/s, the loss of each task, evaluations, notices and the time left.

    Args:
        console: Where to; stderr if left out. A terminal gets a bar, anything else plain lines.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._interval = _BAR_SECONDS if self._console.is_terminal else _LINE_SECONDS
        self._bar: _Bar | None = None
        self._bar_task = TaskID(0)
        self._plan: RunPlan | None = None
        self._rows = self._step = 0
        self._losses = ""
        self._started = self._shown = 0.0

    def begin(self, plan: RunPlan) -> None:
        """The run starts."""
        self._plan, self._step = plan, plan.start_step
        self._started = self._shown = self._clock()
        where = f"{plan.device}, {plan.precision}"
        where += f", {plan.world} processes" if plan.world > 1 else ""
        self._say(
            f"training {len(plan.tasks)} tasks on {plan.rows_per_epoch:,} rows, "
            f"{plan.total_steps:,} steps ({where})"
        )
        if self._console.is_terminal:
            self._bar = _Bar(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% {task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                auto_refresh=False,
            )
            self._bar_task = self._bar.add_task(
                "", total=plan.total_steps, completed=plan.start_step, **self._fields(plan)
            )
            self._bar.start()

    def advance(self, step: int, rows: int) -> None:
        """Counts, and shows if the last time is long enough ago."""
        self._step = step
        self._rows += rows
        if self._clock() - self._shown >= self._interval:
            self._show()

    def record(self, record: Record) -> None:
        """Losses go into the bar, the rest above it."""
        if isinstance(record, TrainRecord):
            self._losses = _numbers(record.losses)
        elif isinstance(record, EvaluationRecord):
            best = " (best so far)" if record.best else ""
            score = "undefined" if record.score is None else f"{record.score:.4f}"
            self._say(
                f"epoch {record.epoch}, step {record.step}: validation score {score}{best}: "
                f"{_numbers(_first_of_each_task(record.metrics))}"
            )
        elif isinstance(record, NoticeRecord):
            self._say(f"step {record.step}: {record.message}")

    def close(self) -> None:
        """Draws the last state and takes the bar away."""
        if self._bar is not None:
            self._show()
            self._bar.stop()
            self._bar = None

    def _show(self) -> None:
        assert self._plan is not None, "begin comes first"
        self._shown = self._clock()
        fields = self._fields(self._plan)
        if self._bar is not None:
            self._bar.update(self._bar_task, completed=self._step, **fields)
            self._bar.refresh()
            return
        left = _duration(self._seconds_left(self._plan))
        self._say(
            f"epoch {fields['epoch']}, step {self._step:,} of {self._plan.total_steps:,}, "
            f"{fields['rate']}, {left} left{', ' if self._losses else ''}{self._losses}"
        )

    def _fields(self, plan: RunPlan) -> dict[str, Any]:
        epochs = plan.total_steps // plan.steps_per_epoch
        epoch = min(epochs, self._step // plan.steps_per_epoch + 1)
        seconds = self._clock() - self._started
        rate = f"{self._rows / seconds:,.0f} examples/s" if self._rows and seconds > 0 else ""
        return {"epoch": f"{epoch}/{epochs}", "rate": rate, "losses": self._losses}

    def _seconds_left(self, plan: RunPlan) -> float:
        done = max(1, self._step - plan.start_step)
        return (self._clock() - self._started) / done * (plan.total_steps - self._step)

    def _say(self, text: str) -> None:
        wraps = not self._console.is_terminal
        self._console.print(text, markup=False, highlight=False, soft_wrap=wraps)


class _Bar(Progress):
    """The bar, and below it the losses: beside it there is no room for more than two tasks."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn."""
        yield self.make_tasks_table(self.tasks)
        losses = [task.fields["losses"] for task in self.tasks]
        yield Text("".join(losses), no_wrap=True, overflow="ellipsis")


def _first_of_each_task(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """One of the metrics of each task; the others are in the log of the run."""
    first: dict[str, str] = {}
    for name in metrics:
        first.setdefault(name.rpartition(".")[0], name)
    return {name: metrics[name] for name in first.values()}


def _numbers(values: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in values.items()
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
