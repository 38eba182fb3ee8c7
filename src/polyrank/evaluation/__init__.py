"""Metrics with masks, weights and groups; evaluating predictions by task and slice.

>>> import numpy as np
>>> from polyrank.evaluation import Observations, auc, evaluate
>>> from types import SimpleNamespace
>>> labels = np.array([0, 1, 0, 1, 1, 0])
>>> probs = np.array([0.1, 0.8, 0.6, 0.6, 0.9, 0.3])
>>> auc(labels, probs).value == 8.5 / 9  # one tie among nine pairs
True
>>> auc(labels, probs, mask_N=labels == 1)
Measure(value=nan, reason='only one class: no negative label')
>>> observations = Observations(
...     predictions={"click": probs},
...     labels={"click": labels},
...     masks={"click": np.ones(6, dtype=bool)},
...     groups={"user": np.array([1, 1, 2, 2, 3, 3])},
...     slices={"tab": np.array(["home", "home", "home", "home", "search", "search"])},
... )
>>> tasks = [SimpleNamespace(name="click", kind="binary")]
>>> evaluation = evaluate(observations, tasks, slices=["tab"])
>>> evaluation.value("click", "gauc")
0.8333333333333334
>>> evaluation.value("click", "auc", "tab=search")
1.0
>>> evaluation.unit, evaluation.row("click", "log_loss").rows
('user', 6)
"""

from polyrank.evaluation._auc import auc
from polyrank.evaluation._compare import Comparison, ComparisonRow, compare
from polyrank.evaluation._ece import ece, ece_with
from polyrank.evaluation._evaluate import MAX_SLICE_VALUES, evaluate
from polyrank.evaluation._evaluation import Evaluation, EvaluationRow
from polyrank.evaluation._gauc import gauc
from polyrank.evaluation._gxauc import gxauc
from polyrank.evaluation._log_loss import log_loss
from polyrank.evaluation._mae import mae
from polyrank.evaluation._measure import Measure
from polyrank.evaluation._metric import NO_GROUP, Metric
from polyrank.evaluation._ndcg import ndcg, ndcg_at
from polyrank.evaluation._ne import ne
from polyrank.evaluation._observations import Observations
from polyrank.evaluation._pr_auc import pr_auc
from polyrank.evaluation._ratio import ratio
from polyrank.evaluation._registry import METRICS, EvaluatedTask, find_metric
from polyrank.evaluation._resample import Resampled, resample
from polyrank.evaluation._rmse import rmse
from polyrank.evaluation._streaming import OF_EXACT, StreamingEvaluator
from polyrank.evaluation._xauc import xauc
from polyrank.evaluation.selection import Selection

__all__ = [
    "MAX_SLICE_VALUES",
    "METRICS",
    "NO_GROUP",
    "OF_EXACT",
    "Comparison",
    "ComparisonRow",
    "EvaluatedTask",
    "Evaluation",
    "EvaluationRow",
    "Measure",
    "Metric",
    "Observations",
    "Resampled",
    "Selection",
    "StreamingEvaluator",
    "auc",
    "compare",
    "ece",
    "ece_with",
    "evaluate",
    "find_metric",
    "gauc",
    "gxauc",
    "log_loss",
    "mae",
    "ndcg",
    "ndcg_at",
    "ne",
    "pr_auc",
    "ratio",
    "resample",
    "rmse",
    "xauc",
]
