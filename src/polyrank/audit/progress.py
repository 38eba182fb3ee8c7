"""Progress over the runs of an audit: bars on a terminal, a line a run elsewhere; on stderr."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from polyrank.audit.cost import told_seconds
from polyrank.audit.jobs import Job
from polyrank.audit.pool import Watch


class Bars(Watch):
    """How far the audit is, and each of its workers.

    Args:
        console: Where to.
        total: Runs of the audit.
        done: Those that are there already.
    """

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console, self._total = console, total
        self._done, self._before = done, done
        self._began = time.monotonic()
        self._workers: dict[int, TaskID] = {}
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[told]}"),
                console=console,
            )
            self._all = self._progress.add_task("runs", total=total, completed=done, told="")
            self._progress.start()

    def begin(self, worker: int, job: Job) -> None:
        """The worker's bar starts again."""
        if self._progress is not None:
            bar = self._workers.get(worker)
            if bar is None:
                bar = self._workers[worker] = self._progress.add_task("", total=None, told="")
            told = f"{job.variant.role}, seed {job.seed}"
            self._progress.reset(bar, description=told, total=None)

    def step(self, worker: int, step: int, of: int) -> None:
        """The worker's bar moves."""
        if self._progress is not None:
            self._progress.update(self._workers[worker], completed=step, total=of)

    def end(self, worker: int, job: Job, status: str) -> None:
        """One more run."""
        self._done += 1
        told = f"{self._done} of {self._total} runs{self._left()}"
        line = f"{job.variant.role}, seed {job.seed}: {status}"
        if self._progress is not None:
            self._progress.update(self._all, completed=self._done, told=told)
            if status == "done":
                return
            self._progress.console.print(line, markup=False, highlight=False)
            return
        self._console.print(f"{told}; {line}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()

    def _left(self) -> str:
        each = (time.monotonic() - self._began) / (self._done - self._before)
        left = self._total - self._done
        return f", {told_seconds(each * left)} left" if left else ""
