"""What an audit found, as far as it went: joint run against twin by task and seed.

The page is made from a ``Report``, and from the logs of runs in its plan's results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from polyrank._version import __version__
from polyrank.audit.config import AuditConfig, Part
from polyrank.audit.courses import courses_of
from polyrank.audit.plan import Plan
from polyrank.audit.results import Result
from polyrank.audit.transfer import Transfer, transfers_of
from polyrank.audit.tried import Climb
from polyrank.audit.verdict import Verdicts, Warnings
from polyrank.evaluation import find_metric
from polyrank.storage import jsonio
from polyrank.storage.failures import storage_errors

REPORT, FORMAT = "audit.json", 2
"""In the audit's folder; what its keys mean, counted up when that changes."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Joint run and twin of one task."""

    task: str
    metric: str
    higher_is_better: bool | None
    joint: Mapping[int, float]
    """By seed, where it is defined."""
    twin: Mapping[int, float]
    checkpoint: Mapping[int, float]
    """By seed, what the joint run had more of this metric on validation at the task's own best
    evaluation than at the one that was chosen for all; at least 0, and only where the run measured
    it there."""
    constant: float | None = None
    """What predicting one constant gives; None where there is none, or it is undefined."""
    trees: float | None = None
    """What boosted trees of the task's own give."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those with both."""
        return tuple(sorted({*self.joint} & {*self.twin}))

    def mean(self, side: Mapping[int, float]) -> float:
        """Over the seeds with both; NaN where there is none."""
        return fmean(side[seed] for seed in self.seeds) if self.seeds else math.nan

    @property
    def difference(self) -> float:
        """Mean of joint minus twin; NaN where there is none."""
        return self.mean(self.joint) - self.mean(self.twin)


@dataclass(frozen=True, kw_only=True)
class Report:
    """An audit, finished or not."""

    audit: AuditConfig
    part: Part
    plan: Plan
    tasks: tuple[Comparison, ...]
    verdicts: Verdicts | Warnings | None
    """None where no seed has a joint run and a twin."""
    transfers: tuple[Transfer, ...]
    notices: tuple[str, ...]
    remedies: Climb | None = None
    """None where none was tried."""
    unit: str = "rows"
    """What is drawn for intervals: users, requests or rows."""

    @property
    def partial(self) -> bool:
        """Whether runs are missing."""
        return bool(self.plan.waiting)

    @property
    def harmed(self) -> tuple[str, ...]:
        """Tasks that are; of one seed alone none, since that can only warn."""
        return self.verdicts.harmed if isinstance(self.verdicts, Verdicts) else ()

    @property
    def failures(self) -> tuple[Result, ...]:
        """Runs that came to nothing."""
        return tuple(one for one in self.plan.results.values() if one.status == "failed")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "version of polyrank": __version__,
            "settings": self.audit.model_dump(mode="json"),
            "part": self.part,
            "unit": self.unit,
            "partial": self.partial,
            "runs": {
                "done": len(self.plan.jobs) - len(self.plan.waiting),
                "of": len(self.plan.jobs),
            },
            "notices": list(self.notices),
            "tasks": [_comparison(own) for own in self.tasks],
            "verdicts": None if self.verdicts is None else self.verdicts.to_json(),
            "baselines": {
                one.role.removeprefix("baseline "): {
                    "told": one.told,
                    "metrics": one.metrics,
                    "reasons": one.reasons,
                }
                for one in self._done
                if one.kind == "baseline"
            },
            "remedies": None if self.remedies is None else self.remedies.to_json(),
            "transfers": [own.to_json() for own in self.transfers],
            "courses": [own.to_json() for own in courses_of(self._done, self._metrics)],
            "evidence": [
                {"role": one.role, "seed": one.seed, "found": one.evidence}
                for one in self._done
                if one.evidence is not None
            ],
            "results": [_result(one) for one in self.plan.results.values()],
        }

    @property
    def _done(self) -> list[Result]:
        return done_of(self.plan)

    @property
    def _metrics(self) -> dict[str, str]:
        return {own.task: own.metric for own in self.tasks}


def report_of(
    audit: AuditConfig,
    part: Part,
    metrics: Mapping[str, str],
    plan: Plan,
    verdicts: Verdicts | Warnings | None = None,
    notices: Sequence[str] = (),
    remedies: Climb | None = None,
    unit: str = "rows",
) -> Report:
    """Of the results that are there; seeds that confirm a remedy are its own."""
    done = done_of(plan)
    compared = tuple(_compared(task, metric, done) for task, metric in metrics.items())
    return Report(
        audit=audit,
        part=part,
        plan=plan,
        tasks=compared,
        verdicts=verdicts,
        transfers=transfers_of(done, metrics),
        notices=tuple(notices),
        remedies=remedies,
        unit=unit,
    )


def done_of(plan: Plan) -> list[Result]:
    """Finished runs of the seeds that verdicts are read on; those that confirm a remedy are the
    remedy's own."""
    seeds = {job.seed for job in plan.jobs if job.variant.kind == "joint"}
    return [one for one in plan.results.values() if one.status == "done" and one.seed in seeds]


def write_report(report: Report, folder: Path) -> Path:
    """The report as JSON, in one step; the path.

    Raises:
        StorageError: The disk refused.
    """
    path, draft = folder / REPORT, folder / f".{REPORT}"
    with storage_errors("write the report", REPORT):
        draft.write_bytes(jsonio.dumps(report.to_json()))
        draft.replace(path)
    return path


def _compared(task: str, metric: str, results: Sequence[Result]) -> Comparison:
    name = f"{task}.{metric}"
    better = find_metric(metric).higher_is_better
    joint = [result for result in results if result.kind == "joint"]
    twins = [result for result in results if result.role == f"twin {task}"]
    lost = {result.seed: _lost(result, name, better) for result in joint}
    return Comparison(
        task=task,
        metric=metric,
        higher_is_better=better,
        joint=_by_seed(joint, name),
        twin=_by_seed(twins, name),
        checkpoint={seed: value for seed, value in lost.items() if value is not None},
        constant=_baseline(results, "constant", name),
        trees=_baseline(results, "trees", name),
    )


def _baseline(results: Sequence[Result], kind: str, name: str) -> float | None:
    found = (result for result in results if result.role == f"baseline {kind}")
    return next((result.metrics.get(name) for result in found), None)


def _by_seed(results: Sequence[Result], name: str) -> dict[int, float]:
    found = {result.seed: result.metrics.get(name) for result in results}
    return {seed: value for seed, value in found.items() if value is not None}


def _lost(result: Result, name: str, better: bool | None) -> float | None:
    """What the choice of one checkpoint for all tasks cost this one, on validation."""
    seen = dict(result.validation(name))
    if better is None or result.best_step not in seen:
        return None
    chosen = seen[result.best_step]
    return max(seen.values()) - chosen if better else chosen - min(seen.values())


def _comparison(own: Comparison) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else value

    def by_seed(values: Mapping[int, float]) -> dict[str, float]:
        return {str(seed): value for seed, value in sorted(values.items())}

    return {
        "task": own.task,
        "metric": own.metric,
        "higher_is_better": own.higher_is_better,
        "seeds": list(own.seeds),
        "joint": by_seed(own.joint),
        "twin": by_seed(own.twin),
        "mean joint": number(own.mean(own.joint)),
        "mean twin": number(own.mean(own.twin)),
        "difference": number(own.difference),
        "constant": own.constant,
        "trees": own.trees,
        "lost by one checkpoint": by_seed(own.checkpoint),
    }


def _result(result: Result) -> dict[str, Any]:
    tree = asdict(result)
    del tree["identity"], tree["records"], tree["evidence"]
    if tree["timing"] is not None:
        del tree["timing"]["records"]
    return tree
