"""One number out of many metrics: what early stopping and the choice of a checkpoint go by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyrank.errors import ConfigError, suggest
from polyrank.evaluation._evaluation import Evaluation
from polyrank.evaluation._measure import Measure, defined, undefined
from polyrank.evaluation._metric import Metric
from polyrank.evaluation._registry import EvaluatedTask, find_metric, refuse_kind


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A weighted sum of metrics, larger is better.

    A weight says how much a metric counts; its direction comes from the metric. With v the value
    and w the weight, a metric where higher is better adds w v, one where lower is better adds
    -|w| v: ``{"play_time.mae": 0.01}`` and ``{"play_time.mae": -0.01}`` both take 0.01 off the
    score for each second of error. A negative weight on a metric where higher is better would
    reward the worse model and is refused, as is a metric without a direction (``ratio``).

    >>> selection = Selection(metrics={"click.gauc": 1.0, "play_time.mae": 0.01})
    >>> selection.metric_names()
    ('gauc', 'mae')

    Args:
        metrics: Weights by ``"task.metric"``.

    Raises:
        ConfigError: No metrics, a name that is not ``task.metric``, an unknown metric, a weight
            that is 0 or not finite, or one that rewards the worse model; all of these at once.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.metrics:
            hint = 'for example {"click.gauc": 1.0}'
            raise ConfigError("`metrics` must name at least one metric", hint=hint)
        problems = [
            problem
            for name, weight in self.metrics.items()
            if (problem := _problem(name, weight)) is not None
        ]
        _raise(problems)

    def check(self, tasks: Sequence[EvaluatedTask]) -> None:
        """Refuse what ``tasks`` cannot give.

        Raises:
            ConfigError: An unknown task, or a metric not defined for the kind of its task; all of
                these at once.
        """
        by_name = {task.name: task for task in tasks}
        problems = []
        for name in self.metrics:
            task, metric = _parse(name)
            if task not in by_name:
                message = f"unknown task '{task}'"
                hint = suggest(task, by_name)
                problems.append(ConfigError(message, where=_where(name), hint=hint))
                continue
            try:
                refuse_kind(metric, by_name[task])
            except ConfigError as error:
                problems.append(ConfigError(error.message, where=_where(name), hint=error.hint))
        _raise(problems)

    def metric_names(self) -> tuple[str, ...]:
        """The metrics needed, for ``evaluate(..., metrics=...)``."""
        return tuple(dict.fromkeys(_parse(name)[1].name for name in self.metrics))

    def score(self, evaluation: Evaluation) -> Measure:
        """The weighted sum; NaN, with the reasons, if any part is.

        Raises:
            ConfigError: The evaluation lacks a metric.
        """
        total, reasons = 0.0, []
        for name, weight in self.metrics.items():
            task, metric = _parse(name)
            row = evaluation.row(task, metric.name)
            if row.reason is not None:
                reasons.append(f"{name}: {row.reason}")
            total += (abs(weight) if metric.higher_is_better else -abs(weight)) * row.value
        return undefined("; ".join(reasons)) if reasons else defined(total)


def _parse(name: str) -> tuple[str, Metric]:
    """The task (which may hold dots) and the metric."""
    task, dot, metric = name.rpartition(".")
    if not dot or not task:
        raise ConfigError("must be 'task.metric'", hint="for example 'click.gauc'")
    return task, find_metric(metric)


def _problem(name: str, weight: float) -> ConfigError | None:
    try:
        _, metric = _parse(name)
    except ConfigError as error:
        return ConfigError(error.message, where=_where(name), hint=error.hint)
    message = None
    if not math.isfinite(weight) or weight == 0:
        message = f"the weight must be finite and not 0, got {weight}"
    elif metric.higher_is_better is None:
        message = f"{metric.name} has no better end"
    elif metric.higher_is_better and weight < 0:
        message = f"higher {metric.name} is better, so weight {weight} rewards the worse model"
    if message is None:
        return None
    return ConfigError(message, where=_where(name), hint="give another weight or metric")


def _where(name: str) -> str:
    return f"selection '{name}'"


def _raise(problems: Sequence[ConfigError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        message = f"{len(problems)} mistakes in the selection"
        raise ConfigError(message, problems=tuple(problems))
