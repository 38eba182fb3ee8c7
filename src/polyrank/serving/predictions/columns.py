"""From an answered request to rows of the log.

The log is an impression log as the bundle's schema describes it, with further columns behind: what
was answered (``predicted_<task>``, ``score``, ``weight_<name>``) and how (``served_...``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.data.arrays import plain
from polyrank.data.roles import context_uses
from polyrank.data.times import unit_at
from polyrank.errors import ConfigError, suggest
from polyrank.schema import Schema
from polyrank.scoring import PREFIX, SCORE, Order, Scorer
from polyrank.scoring.labels import SERVED
from polyrank.scoring.off_policy_columns import RANK
from polyrank.scoring.off_policy_log import DRAWN, DRAWN_FROM
from polyrank.scoring.shown import SHOWN
from polyrank.serving.predictions.answer import Answer
from polyrank.serving.predictions.settings import PredictionLogSettings

REQUEST = SERVED
AT = "served_at"
MODEL = "served_model"
VERSION = "served_version"
VALUES = "served_value_version"
PROFILE = "served_profile"
DEGRADED = "served_degraded"
CHANCE = "served_propensity"
SHARE = "served_sample"
DRAW = "served_draw"
_SERVED = (
    REQUEST,
    AT,
    RANK,
    SHOWN,
    MODEL,
    VERSION,
    VALUES,
    PROFILE,
    DEGRADED,
    DRAWN_FROM,
    CHANCE,
    SHARE,
    DRAW,
)


def input_columns(
    schema: Schema, settings: PredictionLogSettings, context: Collection[str] = ()
) -> tuple[str, ...]:
    """The columns of candidates that are logged, where the candidates have them: keys, side
    tables' keys, context, and the features asked for; never labels.

    Raises:
        ConfigError: A feature is asked for that the schema does not have, or a column has the name
            of one that the log adds.
    """
    lengths = (task.length for task in schema.durations if task.length is not None)
    known = tuple(dict.fromkeys([*schema.feature_columns(), *lengths, *context_uses(schema)]))
    asked: Collection[str] = known if settings.features == "all" else ()
    if isinstance(settings.features, tuple):
        asked = settings.features
        for name in asked:
            if name not in known:
                told = f"{name!r} is no feature's column"
                raise ConfigError(told, where="predictions.features", hint=suggest(name, known))
    sides = (side.on for side in schema.tables)
    keys = schema.keys.named().values()
    found = tuple(dict.fromkeys([*keys, *sides, *context, *asked]))
    added = {*_SERVED, SCORE, *(PREFIX + task for task in schema.task_names)}
    clash = next((name for name in found if name in added or name.startswith(DRAWN)), None)
    if clash is not None:
        raise ConfigError(
            f"column {clash!r} cannot be logged: the log adds one of that name",
            where="prediction log",
            hint="Rename it in what reads it (the schema, calibration or a value model), or switch "
            "the log off.",
        )
    labels = {*schema.label_columns()} - {*known}
    return tuple(name for name in found if name not in labels)


def check_logged(scorer: Scorer, orders: Iterable[Order], settings: PredictionLogSettings) -> None:
    """Refuse what could never be logged, before a request is answered.

    Raises:
        ConfigError: As ``input_columns``.
    """
    context = [*scorer.segment_columns, *(name for order in orders for name in order.columns)]
    input_columns(scorer.bundle.schema, settings, context)


def rows_of(answer: Answer, settings: PredictionLogSettings) -> pa.Table:
    """The rows of one request, in the given order.

    Raises:
        ConfigError: As ``input_columns``.
        pa.ArrowException: A column is of another kind than ``types`` says.
        ValueError: Parts of the answer are of different lengths.
    """
    columns = dict(_columns(answer, settings))
    table = pa.table(columns)
    if settings.candidates == "all" or answer.num_shown is None or answer.position_N is None:
        return table
    return table.filter(pa.array(answer.position_N <= answer.num_shown))


def _columns(answer: Answer, settings: PredictionLogSettings) -> Iterator[tuple[str, Any]]:
    num_rows = answer.rows.num_rows
    yield from _inputs(answer, settings)
    for task, value_N in answer.predictions.items():
        yield PREFIX + task, _floats(value_N)
    yield SCORE, _floats(answer.score_N, num_rows)
    for name, weight in answer.weights.items():
        yield DRAWN + name, _repeated(float(weight), pa.float64(), num_rows)
    rank = pa.nulls(num_rows, pa.int64())
    shown = np.ones(num_rows, dtype=np.bool_)
    if answer.position_N is not None:
        rank = pa.array(answer.position_N, pa.int64())
        if answer.num_shown is not None:
            shown = answer.position_N <= answer.num_shown
    yield REQUEST, _repeated(answer.request, pa.large_string(), num_rows)
    yield AT, _repeated(answer.at, pa.timestamp("us", "UTC"), num_rows)
    yield RANK, rank
    yield SHOWN, pa.array(shown)
    yield MODEL, _repeated(answer.model, pa.large_string(), num_rows)
    yield VERSION, _repeated(answer.version, pa.large_string(), num_rows)
    yield VALUES, _repeated(answer.value_version, pa.int64(), num_rows)
    yield PROFILE, _repeated(answer.profile, pa.large_string(), num_rows)
    degraded = ",".join(answer.degraded) or None
    yield DEGRADED, _repeated(degraded, pa.large_string(), num_rows)
    yield DRAWN_FROM, _repeated(answer.drawn, pa.large_string(), num_rows)
    yield CHANCE, _floats(answer.propensity_N, num_rows)
    yield SHARE, _repeated(settings.sample, pa.float64(), num_rows)
    yield DRAW, _repeated(answer.draw, pa.large_string(), num_rows)


def _inputs(answer: Answer, settings: PredictionLogSettings) -> Iterator[tuple[str, Any]]:
    """Keys, context and features; a key that nobody gave is what the server knows of it."""
    given, keys = answer.rows, answer.schema.keys
    num_rows = given.num_rows
    known = {
        keys.request: _repeated(answer.request, pa.large_string(), num_rows),
        keys.time: _repeated(_clock(answer), None, num_rows),
        keys.weight: _repeated(1.0, pa.float64(), num_rows),
    }
    shown = {keys.propensity: _floats(answer.propensity_N, num_rows, missing=1.0)}
    if answer.position_N is not None:
        shown[keys.position] = pa.array(answer.position_N, pa.int64())
    for name in input_columns(answer.schema, settings, answer.context):
        if name in shown:
            yield name, shown[name]
        elif name == keys.position:
            yield name, pa.nulls(num_rows, pa.int64())
        elif name in given.column_names:
            yield name, _typed(plain(given[name]), answer, name)
        else:
            yield name, _typed(known.get(name, pa.nulls(num_rows)), answer, name)


def _clock(answer: Answer) -> Any:
    """When it was answered: as the log that was learned from tells times, where late labels are
    counted from there in whole numbers, whose unit is that of ``observed_until``."""
    at = pa.scalar(answer.at, pa.timestamp("us", "UTC"))
    cuts = (task.maturity.observed_until for task in answer.schema.maturing if task.maturity)
    cut = next(cuts, None)
    unit = unit_at(cut) if isinstance(cut, int) else None
    return at if unit is None else at.cast(pa.timestamp(unit, "UTC"), safe=False).cast(pa.int64())


def _typed(values: Any, answer: Answer, name: str) -> Any:
    """In the type the bundle knows; context, which is compared as text, as text.

    Raises:
        pa.ArrowException: Of another kind.
    """
    keys = answer.schema.keys
    ours = name in (keys.time, keys.weight)
    dtype = answer.types.get(name)
    if dtype is None and answer.types and name in answer.context and not ours:
        dtype = pa.large_string()
    return values if dtype is None else values.cast(dtype)


def _floats(value_N: Any, num_rows: int = 0, missing: float | None = None) -> Any:
    """NaN is null."""
    if value_N is None:
        return _repeated(missing, pa.float64(), num_rows)
    return pa.array(value_N, pa.float64(), from_pandas=True)


def _repeated(value: Any, dtype: Any, num_rows: int) -> Any:
    if value is None:
        return pa.nulls(num_rows, dtype)
    return pa.repeat(pa.scalar(value, dtype), num_rows)
