"""Why sharing may help or hurt: all that one finished run of all tasks shows, in one tree.

While it trains, ``EvidenceProbe`` looks at affinities and gradients; what it finds is in the run's
log. Once it is trained, ``gather`` adds gates, labels and calibration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polyrank.audit.affinity import Affinity
from polyrank.audit.gates import GateEvidence, gate_evidence
from polyrank.audit.gradients import GradientEvidence
from polyrank.audit.labels import LabelEvidence, label_evidence
from polyrank.audit.plain import Plain
from polyrank.audit.probe import run_evidence
from polyrank.audit.reliability import Reliability, reliability
from polyrank.config import RunConfig
from polyrank.evaluation import Observations
from polyrank.model import RankingModel
from polyrank.training import Prepared


@dataclass(frozen=True, kw_only=True)
class Evidence(Plain):
    """Of one run of all tasks. Evidence, not cause: only retraining measures transfer."""

    part: str
    """Whose rows gates and calibration were looked at on."""
    affinity: Affinity
    gradients: GradientEvidence
    gates: GateEvidence
    labels: LabelEvidence
    reliability: Mapping[str, Reliability]
    """By task."""


def gather(
    model: RankingModel,
    config: RunConfig,
    prepared: Prepared,
    part: str,
    observations: Observations,
    records: Iterable[Mapping[str, Any]] = (),
) -> Evidence:
    """All of it, from a run of all tasks of ``config``.

    Args:
        model: Trained.
        config: Of the run.
        prepared: Its log.
        part: ``validation`` or ``test``.
        observations: Predictions of the part, and what was observed there.
        records: The run's log, from ``read_log``; without, and without a probe in the run, affinity
            and gradients say that there are none.
    """
    schema = config.schema_
    parts = {"train": prepared.train, "validation": prepared.validation}
    if prepared.test is not None:
        parts["test"] = prepared.test
    affinity, gradients = run_evidence(schema.task_names, records)
    return Evidence(
        part=part,
        affinity=affinity,
        gradients=gradients,
        gates=gate_evidence(model, config.model.sharing, parts[part]),
        labels=label_evidence(parts, schema),
        reliability={
            task.name: reliability(
                observations,
                task,
                config.calibration.of(task.name) if task.kind == "binary" else None,
                seed=config.seed,
            )
            for task in schema.tasks
        },
    )
