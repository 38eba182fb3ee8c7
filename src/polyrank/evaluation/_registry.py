"""Every metric by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from polyrank.errors import ConfigError, suggest
from polyrank.evaluation._auc import auc
from polyrank.evaluation._ece import ece, ece_with
from polyrank.evaluation._gauc import gauc
from polyrank.evaluation._gxauc import gxauc
from polyrank.evaluation._log_loss import log_loss
from polyrank.evaluation._mae import mae
from polyrank.evaluation._metric import Metric
from polyrank.evaluation._ndcg import ndcg, ndcg_at
from polyrank.evaluation._ne import ne
from polyrank.evaluation._pr_auc import pr_auc
from polyrank.evaluation._ratio import ratio
from polyrank.evaluation._rmse import rmse
from polyrank.evaluation._xauc import xauc

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (auc, gauc, pr_auc, log_loss, ne, ece, ratio, ndcg, mae, rmse, xauc, gxauc)
    }
)
_FAMILIES: Mapping[str, Callable[[int], Metric]] = {"ndcg": ndcg_at, "ece": ece_with}
_WHOLE = re.compile("[1-9][0-9]{0,5}")


class EvaluatedTask(Protocol):
    """What evaluation needs to know of a task."""

    @property
    def name(self) -> str:
        """The key of its predictions, labels and mask."""

    @property
    def kind(self) -> str:
        """As in the schema: ``"binary"``, ``"duration"`` and so on."""


def find_metric(name: str) -> Metric:
    """The metric of that name; ``ndcg@K`` and ``ece@K`` exist for any whole K from 1.

    Raises:
        ConfigError: There is none; the message suggests one.
    """
    family, _, number = name.partition("@")
    if name in METRICS:
        return METRICS[name]
    if family in _FAMILIES and _WHOLE.fullmatch(number):
        return _FAMILIES[family](int(number))
    raise ConfigError(f"unknown metric '{name}'", hint=suggest(name, METRICS))


def refuse_kind(metric: Metric, task: EvaluatedTask) -> None:
    """Refuse a metric that is not defined for the kind of ``task``."""
    if task.kind not in metric.kinds:
        known = ", ".join(name for name, other in METRICS.items() if task.kind in other.kinds)
        message = f"{metric.name} is not defined for task '{task.name}' of kind '{task.kind}'"
        raise ConfigError(message, hint=f"defined: {known or 'none'}")


def choose_metrics(
    tasks: Sequence[EvaluatedTask], metrics: Sequence[str | Metric] | None
) -> dict[str, list[Metric]]:
    """The metrics of each task: those asked for (else all there are) that fit its kind.

    Raises:
        ConfigError: Two tasks or metrics of one name, an unknown metric, a task no metric is
            defined for, or a metric that fits none of the tasks.
    """
    asked = list(METRICS) if metrics is None else list(metrics)
    chosen = [find_metric(entry) if isinstance(entry, str) else entry for entry in asked]
    _refuse_repeats("task", [task.name for task in tasks])
    _refuse_repeats("metric", [metric.name for metric in chosen])
    for task in tasks:
        if not any(task.kind in metric.kinds for metric in METRICS.values()):
            kinds = ", ".join(sorted(frozenset().union(*(m.kinds for m in METRICS.values()))))
            message = f"no metric is defined for task '{task.name}' of kind '{task.kind}'"
            raise ConfigError(message, hint=f"kinds: {kinds}")
    for metric in chosen if metrics is not None else ():
        if tasks and not any(task.kind in metric.kinds for task in tasks):
            refuse_kind(metric, tasks[0])
    return {task.name: [m for m in chosen if task.kind in m.kinds] for task in tasks}


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} '{name}' is given twice", hint="leave one out")
