"""One score from several predictions, so that candidates can be put in order.

Shapes: N candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.data import Layout, TargetStats
from polyrank.errors import ConfigError, suggest
from polyrank.schema import Binary, Duration, Schema, Task

Predictions = Mapping[str, NDArray[np.float64]]


def default_weights(schema: Schema, layout: Layout) -> dict[str, float]:
    """Weights under which every task contributes about equally on average: the field's usual start.

    A task weighs 1 over its typical value in the training split times the rates of its sample
    space, the factors by which ``score`` multiplies it; negative where ``sign`` is bad. Typical is
    the rate of a binary task, with all negatives that the log dropped; exp(mean log) - 1 of a
    duration; the root mean square of any other, whose mean may be 0. It is a start, not a choice:
    give ``by`` to rank by what you value.
    """
    typical = {task.name: _typical(task, layout.targets[task.name]) for task in schema.tasks}
    weights = {}
    for task in schema.tasks:
        scale = math.prod(typical[name] for name in (task.name, *schema.space(task.name)))
        weights[task.name] = (-1.0 if task.sign == "bad" else 1.0) / scale if scale > 0 else 0.0
    return weights


def score(
    schema: Schema, predictions: Predictions, weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """(N,) weighted sum of the tasks' predictions.

    A task within another is multiplied by the probabilities of its sample space, so that
    P(purchase | click) enters as P(click and purchase). What a binary, ordinal or multiclass task
    adds is an expected value. What a duration or regression adds is one where its head predicts a
    mean; the default heads predict what minimises a Huber loss, a value between median and mean,
    for durations one near the median.

    Raises:
        ConfigError: A weight names no task or is not finite, or all are 0.
    """
    _check(weights, predictions)
    total = np.zeros(len(next(iter(predictions.values()))))
    for name, weight in weights.items():
        value = predictions[name]
        for parent in schema.space(name):
            value = value * predictions[parent]
        total += weight * value
    return total


def _check(weights: Any, predictions: Predictions) -> None:
    if not isinstance(weights, Mapping):
        raise ConfigError(
            f"the ranking weighs tasks by a mapping, got {weights!r}",
            hint="Write {'task': weight, ...}.",
        )
    for name, weight in weights.items():
        if name not in predictions:
            raise ConfigError(
                f"the ranking weighs {name!r}, which is no task",
                hint=suggest(str(name), predictions),
            )
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight):
            raise ConfigError(
                f"the ranking weighs {name!r} by {weight!r}, which is no finite number",
                hint="Give a number, negative where less is better.",
            )
    if not any(weights.values()):
        raise ConfigError("every weight of the ranking is 0", hint="Weigh at least one task.")


def _typical(task: Task, stats: TargetStats) -> float:
    if isinstance(task, Binary):
        return stats.mean / (stats.mean + (1 - stats.mean) / task.keep_rate)
    if isinstance(task, Duration):
        return math.expm1(stats.mean) / task.seconds_per_unit
    return math.hypot(stats.mean, stats.std)
