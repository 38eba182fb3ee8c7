"""Who helps whom: what a task gains by having one other task beside it, measured by training.

>>> gain = Transfer(source="click", target="like", by="pairs", gains={0: 0.01, 1: 0.03})
>>> gain.mean
0.02
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from polyrank.audit.results import Result
from polyrank.evaluation import find_metric

By = Literal["pairs", "leave_one_out"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What ``target`` gains by ``source``, in its own metric, above 0 where that is better."""

    source: str
    target: str
    by: By
    """``pairs``: both together less the target alone. ``leave_one_out``: all together less all but
    the source."""
    gains: Mapping[int, float]
    """By seed, where both runs are there."""

    @property
    def mean(self) -> float:
        """Over the seeds; NaN where there is none."""
        return fmean(self.gains.values()) if self.gains else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "source": self.source,
            "target": self.target,
            "by": self.by,
            "mean": self.mean if self.gains else None,
            "gains": {str(seed): gain for seed, gain in sorted(self.gains.items())},
        }


def transfers_of(results: Sequence[Result], metrics: Mapping[str, str]) -> tuple[Transfer, ...]:
    """All that the runs of an audit show; of two tasks, the joint run is their pair.

    Args:
        results: Of its runs.
        metrics: By task, what it is judged by.
    """
    runs = {result.key: result for result in results if result.status == "done"}
    roles = {role: result for (role, _), result in runs.items()}
    found: list[Transfer] = []
    for role, run in roles.items():
        if run.kind == "pair" or (run.kind == "joint" and len(run.tasks) == 2):
            for target in run.tasks:
                (source,) = (task for task in run.tasks if task != target)
                gains = dict(_gains(runs, metrics, target, role, f"twin {target}"))
                found.append(Transfer(source=source, target=target, by="pairs", gains=gains))
        if run.kind == "without":
            source = role.removeprefix("without ")
            for target in run.tasks:
                gains = dict(_gains(runs, metrics, target, "joint", role))
                found.append(
                    Transfer(source=source, target=target, by="leave_one_out", gains=gains)
                )
    return tuple(found)


def _gains(
    runs: Mapping[tuple[str, int], Result],
    metrics: Mapping[str, str],
    target: str,
    with_source: str,
    without: str,
) -> Iterator[tuple[int, float]]:
    name = f"{target}.{metrics[target]}"
    sign = 1 if find_metric(metrics[target]).higher_is_better else -1
    for seed in sorted({seed for _, seed in runs}):
        pair = [runs.get((role, seed)) for role in (with_source, without)]
        values = [None if run is None else run.metrics.get(name) for run in pair]
        if values[0] is not None and values[1] is not None:
            yield seed, sign * (values[0] - values[1])
