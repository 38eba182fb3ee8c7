"""The table of an evaluation: a value, its interval and its reasons by task, slice and metric."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation import _json


def require_reason(value: float, reason: str | None, what: str) -> None:
    """Refuse a number with a reason, NaN without one, and infinity."""
    if math.isinf(value) or math.isnan(value) != (reason is not None):
        raise DataError(f"{what} is a number, or NaN with a reason, got {value} and {reason!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """One metric of one task.

    Args:
        task: Name of the task.
        slice: ``"column=value"``, or ``None`` for all rows.
        metric: Name of the metric.
        value: The metric; NaN if and only if ``reason`` is set.
        lower: Lower bound of the interval; NaN if and only if ``interval_reason`` is set.
        upper: Upper bound; NaN with ``lower``.
        rows: Observed rows of positive weight.
        positives: Those with a label of 1; ``None`` for a task that is not binary.
        reason: Why there is no value.
        interval_reason: Why there is no interval.
    """

    task: str
    slice: str | None
    metric: str
    value: float
    lower: float
    upper: float
    rows: int
    positives: int | None
    reason: str | None
    interval_reason: str | None

    def __post_init__(self) -> None:
        require_reason(self.value, self.reason, "`value`")
        require_reason(self.lower, self.interval_reason, "`lower`")
        require_reason(self.upper, self.interval_reason, "`upper`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of ``evaluate`` or of a ``StreamingEvaluator``.

    Args:
        rows: The table.
        mode: ``"exact"``, or ``"streamed"`` if computed from sums and histograms.
        unit: What was resampled: ``"user"``, ``"request"`` or ``"row"``; ``None`` if nothing was.
        resamples: Number of bootstrap replicates.
        seed: Their seed.
        confidence: Confidence of the intervals.
    """

    rows: tuple[EvaluationRow, ...]
    mode: str
    unit: str | None
    resamples: int
    seed: int
    confidence: float

    def row(self, task: str, metric: str, slice: str | None = None) -> EvaluationRow:  # noqa: A002
        """The entry of a metric.

        Raises:
            ConfigError: There is none, for example since the metric is not defined for the kind
                of the task.
        """
        known = {}
        for row in self.rows:
            if (row.task, row.metric, row.slice) == (task, metric, slice):
                return row
            known[_address(row.task, row.metric, row.slice)] = row
        wanted = _address(task, metric, slice)
        raise ConfigError(f"{wanted} was not evaluated", hint=suggest(wanted, known))

    def value(self, task: str, metric: str, slice: str | None = None) -> float:  # noqa: A002
        """The value of a metric, NaN where it is undefined; ``row`` has the reason.

        Raises:
            ConfigError: As ``row``.
        """
        return self.row(task, metric, slice).value

    def to_json(self) -> str:
        """Strict JSON: NaN is null and its reason stands beside it."""
        return _json.write("evaluation", self)

    @staticmethod
    def from_json(text: str) -> Evaluation:
        """What ``to_json`` wrote, the same to the last bit.

        Raises:
            ArtefactError: Anything else.
        """
        return _json.read("evaluation", Evaluation, EvaluationRow, text)


def _address(task: str, metric: str, slice_: str | None) -> str:
    return f"{task}.{metric}" + (f" [{slice_}]" if slice_ is not None else "")
