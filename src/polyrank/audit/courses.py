"""How runs went: the losses and the validation metric of each task, by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polyrank.audit.plain import Plain, Series, thinned
from polyrank.audit.results import Result


@dataclass(frozen=True, kw_only=True)
class Course(Plain):
    """One task in one run."""

    task: str
    role: str
    seed: int
    best_step: int
    """Whose weights were kept."""
    losses: Series
    """Mean training losses since the step before."""
    validation: Series
    """The metric that the task is judged by."""


def courses_of(results: Sequence[Result], metrics: Mapping[str, str]) -> tuple[Course, ...]:
    """Of joint runs and twins.

    Args:
        results: Finished ones.
        metrics: By task, what it is judged by.
    """
    return tuple(course for result in results for course in _courses(result, metrics))


def _courses(result: Result, metrics: Mapping[str, str]) -> Iterator[Course]:
    if result.kind not in ("joint", "twin"):
        return
    for task in result.tasks:
        yield Course(
            task=task,
            role=result.role,
            seed=result.seed,
            best_step=result.best_step,
            losses=thinned(result.losses(task)),
            validation=thinned(result.validation(f"{task}.{metrics[task]}")),
        )
