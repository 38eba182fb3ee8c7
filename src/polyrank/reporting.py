"""What is done with held-out rows after training: calibration, and the metrics of the report.

>>> from polyrank.reporting import CalibrationConfig
>>> CalibrationConfig(tasks={"report": None}).of("report") is None
True
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from polyrank.calibration import AnyCalibrator, Calibrator, Platt
from polyrank.errors import ConfigError, suggest
from polyrank.evaluation import Observations, evaluate
from polyrank.schema import Binary, Declared, Schema


class CalibrationConfig(Declared):
    """What is fitted after training on the validation part, inside each binary task's sample space.

    A curve that does not lower the log loss on rows it was not fitted on is left out, and the card
    says so. Tasks with a bias model have none: what they predict, no label shows.
    """

    method: AnyCalibrator | None = Platt()
    """Of every binary task; null: none. ``segmented`` reads one more column when scoring."""
    tasks: dict[str, AnyCalibrator | None] = {}
    """Other methods by task, or null."""

    def of(self, task: str) -> Calibrator | None:
        """The method of a binary task."""
        return self.tasks.get(task, self.method)

    def columns(self, schema: Schema) -> tuple[str, ...]:
        """What fitting reads of a row beside predictions and labels."""
        methods = (self.of(task.name) for task in schema.tasks if isinstance(task, Binary))
        found = (method.segment_by for method in methods if method is not None)
        return tuple(dict.fromkeys(name for name in found if name is not None))


class EvaluationConfig(Declared):
    """The metrics of the report."""

    metrics: tuple[str, ...] = ()
    """Names of metrics, such as ``pr_auc`` or ``ndcg@5``; empty: every metric that applies to a
    task, of which the tables show the main ones."""
    slices: tuple[str, ...] = ()
    """Columns by whose values the metrics are reported as well."""
    resamples: Annotated[int, Field(ge=0, le=100_000)] = 200
    """Bootstrap draws behind the 95 % intervals; 0: no intervals."""
    exact_rows: PositiveInt = 5_000_000
    """Rows of a part that are held in memory. A part with more is reported from sums and
    histograms: AUC and ECE with a bound on their error, no GAUC, PR-AUC, NDCG, XAUC, slices or
    intervals."""


def calibration_faults(schema: Schema, config: CalibrationConfig) -> Iterator[tuple[str, str]]:
    """Methods of tasks that have no probability."""
    binary = [task.name for task in schema.tasks if isinstance(task, Binary)]
    for name in config.tasks:
        if name not in schema.task_names:
            told = f"a method is given to {name!r}, which is no task. {suggest(name, binary)}"
            yield f"calibration.tasks.{name}", told
        elif name not in binary:
            told = f"task {name!r} is not binary, so it predicts no probability. Leave it out"
            yield f"calibration.tasks.{name}", told


def report_faults(schema: Schema, config: EvaluationConfig) -> Iterator[tuple[str, str]]:
    """Metrics and draws that no log could be reported by, found on a row without labels."""
    value = {task: np.zeros(1) for task in schema.task_names}
    unobserved = {task: np.zeros(1, dtype=np.bool_) for task in schema.task_names}
    nothing = Observations(predictions=value, labels=value, masks=unobserved)
    faults = []
    for name in dict.fromkeys(config.metrics):
        try:
            evaluate(nothing, schema.tasks, metrics=[name], resamples=0)
        except ConfigError as error:
            faults.append(("metrics", str(error)))
    try:
        evaluate(nothing, (), resamples=config.resamples)
    except ConfigError as error:
        faults.append(("resamples", str(error)))
    if len(set(config.metrics)) < len(config.metrics):
        faults.append(("metrics", "a metric is given twice. Leave one out"))
    return ((f"evaluation.{key}", message) for key, message in faults)
