"""What a bundle must be before it serves: sound by itself, and no surprise after the one before.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polyrank.errors import ArtefactError
from polyrank.fusion import ByContext, Candidates
from polyrank.schema import Binary, Duration, Multiclass, Ordinal, Schema, Task
from polyrank.scoring import Order, Scorer
from polyrank.scoring.order import expected
from polyrank.serving.models.rows import Predictions
from polyrank.serving.models.served import Served
from polyrank.serving.models.settings import GateSettings

ACROSS = 1e-5
"""Two engines may differ by so much, of the larger of 1 and the prediction."""
_SOUND = "Look at the run that made it; the version before stays."


def check_sound(schema: Schema, predictions: Predictions) -> None:
    """Refuse predictions that no model of these tasks makes.

    Raises:
        ArtefactError: One is not finite, or outside what the task can be.
    """
    for task in schema.tasks:
        value_N = predictions[task.name]
        if bad := int(np.count_nonzero(~np.isfinite(value_N))):
            raise _refused(f"predicts no finite {task.name!r} for {bad} of {len(value_N)} rows")
        low, high = _range(task)
        if value_N.min() < low or value_N.max() > high:
            told = f"{value_N.min():g} to {value_N.max():g}"
            raise _refused(f"predicts {task.name!r} as {told}, outside {low:g} to {high:g}")


def check_order(order: Order, predictions: Predictions) -> None:
    """Refuse a value model that has no finite score for rows of predictions.

    Context is taken as missing and, of a model by context, as each of its values.

    Raises:
        ConfigError: With the term.
    """
    size = len(next(iter(predictions.values())))
    request_N = np.zeros(size, dtype=np.int64)
    for column, value in _contexts(order):
        columns = {name: np.full(size, None, dtype=object) for name in order.columns}
        if column is not None:
            columns[column] = np.full(size, value, dtype=object)
        if order.model is not None:
            candidates = Candidates(
                predictions=expected(order.schema, predictions),
                request_N=request_N,
                columns=columns,
            )
            order.model.score(candidates)
        else:
            order.score(predictions, request_N, columns)


def check_parity(now: Predictions, before: Predictions, *, same_bits: bool, what: str) -> None:
    """Refuse predictions of the same bundle for the same rows that differ.

    Args:
        now: By task.
        before: By task.
        same_bits: By the same engine on the same processor; else to ``ACROSS``.
        what: Whom the predictions before are of.

    Raises:
        ArtefactError: With the task and the largest difference.
    """
    if now.keys() != before.keys():
        raise _refused(f"predicts other tasks than {what}")
    for task, value_N in now.items():
        other_N = before[task]
        if value_N.shape != other_N.shape:
            raise _refused(f"predicts other rows than {what}")
        if np.array_equal(value_N, other_N):
            continue
        apart_N = np.abs(value_N - other_N) / np.maximum(1.0, np.abs(other_N))
        if same_bits or not apart_N.max() <= ACROSS:
            raise _refused(f"{task!r} differs from {what} by up to {apart_N.max():g}")


def check_compatible(now: Schema, before: Schema, settings: GateSettings) -> None:
    """Refuse a bundle that requests and value models of the one in service do not fit.

    Raises:
        ArtefactError: A task is gone or of another kind, or inputs are asked for that no request
            brings yet.
    """
    left = [name for name in before.task_names if name not in now.task_names]
    if lost := [name for name in left if name not in settings.may_lose]:
        raise _refused(
            f"has no task {', '.join(map(repr, lost))}, which the version in service predicts",
            "Serve a bundle with it, or name it in `may_lose`.",
        )
    for task in now.tasks:
        kind = before.task(task.name).kind if task.name in before.task_names else task.kind
        if task.kind != kind:
            raise _refused(f"{task.name!r} is {task.kind}, in the version in service it is {kind}")
    if not settings.may_read_more:
        _check_inputs(now, before)


def _check_inputs(now: Schema, before: Schema) -> None:
    known = {f.column: f.kind for f in before.features if f.side != "bias"}
    asked = {f.column: f.kind for f in now.features if f.side != "bias"}
    if more := sorted(asked.keys() - known.keys()):
        raise _refused(
            f"reads {', '.join(map(repr, more[:5]))}, which the version in service does not, so "
            "requests may lack it",
            "Send it first, then set `may_read_more`.",
        )
    if other := sorted(name for name, kind in asked.items() if known[name] != kind):
        told = f"reads {other[0]!r} as {asked[other[0]]}, before it was {known[other[0]]}"
        raise _refused(told, "Give the feature a column of its own, or set `may_read_more`.")


def check_context(now: Scorer, before: Served, settings: GateSettings) -> None:
    """Refuse a bundle whose ranking reads of a row what requests need not bring yet.

    Raises:
        ArtefactError: A value model, calibration or head reads columns that the version in service
            does not read and no side table has.
    """
    if settings.may_read_more:
        return
    schema, tables = before.bundle.schema, now.bundle.tables.values()
    known = {
        *schema.feature_columns(bias=False),
        *(side.on for side in schema.tables),
        *_beside(before.scorer, before.order()),
        *_beside(before.scorer, Order.of(before.bundle)),
        *(name for table in tables for name in table.column_names),
    }
    if more := sorted(_beside(now, Order.of(now.bundle)) - known):
        raise _refused(
            f"its ranking reads {', '.join(map(repr, more[:5]))}, which the version in service "
            "does not, so requests may lack it",
            "Send it first, then set `may_read_more`.",
        )


def _beside(scorer: Scorer, order: Order) -> set[str]:
    """The columns that are read of a row beside features."""
    timed = (task for task in scorer.bundle.schema.durations if task.name in scorer.timed)
    lengths = (task.length for task in timed if task.length is not None)
    return {*order.columns, *scorer.segment_columns, *lengths}


def _contexts(order: Order) -> Iterator[tuple[str | None, str | None]]:
    yield None, None
    if isinstance(order.model, ByContext):
        for value in order.model.values:
            yield order.model.column, value


def _range(task: Task) -> tuple[float, float]:
    if isinstance(task, Binary):
        return 0.0, 1.0
    if isinstance(task, Duration):
        return 0.0, np.inf
    if isinstance(task, Ordinal | Multiclass):
        return min(task.values), max(task.values)
    return -np.inf, np.inf


def _refused(told: str, hint: str = _SOUND) -> ArtefactError:
    return ArtefactError(told, where="predictions", hint=hint)
