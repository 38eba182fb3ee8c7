"""The rules that a row has to keep, each tried on a whole chunk at once.

Null and NaN mean missing, and missing is allowed unless a rule says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.arrays import floats_of, nulls_of, plain
from polyrank.data.faults import Fault, Rule, broken
from polyrank.data.observed import class_codes, unobserved
from polyrank.schema import (
    Binary,
    Duration,
    Keys,
    Multiclass,
    Numeric,
    Ordinal,
    Regression,
    Schema,
    Task,
)
from polyrank.schema.classes import class_name

_MOST_TOLD = 8
"""Levels or classes that a message names."""
Bad = Callable[[Any], NDArray[np.bool_]]
"""From a column in its type handed on to the rows that break the rule."""


@dataclass(frozen=True, eq=False)
class Check:
    """One rule of one column."""

    rule: Rule
    bad: Bad
    mask: str | None = None
    """Where this column is not 1, the label is not observed and may be anything."""
    on_raw: bool = False
    """Tried on the column as the source gave it, before values that stand for missing are null."""

    def faults(self, table: pa.Table, raw: pa.Table) -> list[Fault]:
        """The rows that break the rule; their values are shown as ``raw`` has them."""
        name = self.rule.column
        bad_B = self.bad(plain((raw if self.on_raw else table).column(name)))
        if self.mask is not None and bad_B.any():
            bad_B = bad_B & (floats_of(plain(table.column(self.mask))) == 1)
        if not bad_B.any():
            return []
        shown = raw if name in raw.schema.names else table
        return broken(self.rule, bad_B, plain(shown.column(name)))


def checks_of(schema: Schema, columns: Collection[str], *, labels: bool) -> tuple[Check, ...]:
    """The rules for a table with these columns.

    Args:
        schema: What the columns mean.
        columns: The columns there are; rules on others are left out.
        labels: Whether labels and the keys that only training reads are there.
    """
    checks = [*_feature_checks(schema, bias=labels), *_length_checks(schema)]
    if labels:
        checks += [*_label_checks(schema), *_key_checks(schema.keys), *_examined_checks(schema)]
    return tuple(
        check
        for check in checks
        if check.rule.column in columns and (check.mask is None or check.mask in columns)
    )


def _feature_checks(schema: Schema, *, bias: bool) -> Iterator[Check]:
    for feature in schema.features:
        if not isinstance(feature, Numeric) or (feature.side == "bias" and not bias):
            continue
        yield finite_check(feature.column, f"numeric feature {feature.name!r}")
        if feature.on_missing == "refuse":
            yield Check(
                Rule(
                    feature.column,
                    f"numeric feature {feature.name!r} may not be missing (on_missing: refuse)",
                    "Fill it, or set on_missing: impute.",
                ),
                _missing,
            )


def _length_checks(schema: Schema) -> Iterator[Check]:
    for task in schema.durations:
        if task.length is not None:
            owner = f"the length of task {task.name!r}"
            yield finite_check(task.length, owner)
            rule = Rule(task.length, f"{owner} is at least 0", "Write null where it is not known.")
            yield Check(rule, _negative)


def _label_checks(schema: Schema) -> Iterator[Check]:
    for task in schema.tasks:
        for text, cure, bad in _label_rules(task):
            yield Check(Rule(task.label, f"task {task.name!r}: {text}", cure), bad, task.mask)
        if task.mask is not None:
            yield Check(
                Rule(
                    task.mask,
                    f"the mask of task {task.name!r} is 0 or 1",
                    "Write 1 where the label was observed, else 0.",
                ),
                _not_binary,
            )
    for timed in schema.durations:
        if timed.censored is not None:
            yield Check(
                Rule(
                    timed.censored,
                    f"`censored` of task {timed.name!r} is 0 or 1",
                    "Write 1 where the label is a lower bound, else 0.",
                ),
                _not_binary,
            )


def _label_rules(task: Task) -> Iterator[tuple[str, str, Bad]]:
    match task:
        case Binary():
            if not task.positive:
                yield (
                    "a binary label is 0 or 1, or null where it was not observed",
                    "Mend it, list the values that mean 1 in `positive`, or those that mean not "
                    "observed in `missing_values`.",
                    _not_binary,
                )
        case Duration():
            limit = task.limit / task.seconds_per_unit
            yield ("a duration is at least 0", "A clock ran backwards: drop or mend it.", _negative)
            yield (
                f"a duration is at most {task.limit:g} s ({limit:g} {task.unit})",
                "Mend it, check `unit`, or raise `limit`.",
                _above(limit),
            )
        case Regression():
            yield from _bounds(task)
        case Ordinal():
            yield (
                f"the label is one of {_some(map(class_name, task.levels))}",
                "Mend it, add it to `levels`, or list it in `missing_values`.",
                _not_among(task.levels),
            )
        case Multiclass():
            yield (
                f"the label is one of {_some(task.names)}",
                "Add it to `classes` with what it is worth, or list it in `missing_values`.",
                lambda array: np.isnan(class_codes(array, task)) & ~unobserved(array),
            )


def _some(names: Iterable[str]) -> str:
    told = list(names)
    more = f", ... ({len(told)} in all)" if len(told) > _MOST_TOLD else ""
    return ", ".join(told[:_MOST_TOLD]) + more


def _bounds(task: Regression) -> Iterator[tuple[str, str, Bad]]:
    yield ("a label is finite", "Write null where it was not observed.", _infinite)
    if task.lower is not None:
        yield (
            f"the label is at least {task.lower:g}",
            "Mend it, or lower `lower`.",
            _below(task.lower),
        )
    if task.upper is not None:
        yield (
            f"the label is at most {task.upper:g}",
            "Mend it, or raise `upper`.",
            _above(task.upper),
        )


def _key_checks(keys: Keys) -> Iterator[Check]:
    if keys.weight is not None:
        yield Check(
            Rule(keys.weight, "a weight is at least 0 and finite", "0 leaves a row out."),
            lambda array: ~_within(floats_of(array), 0.0, np.finfo(np.float64).max),
        )
    if keys.propensity is not None:
        yield Check(
            Rule(keys.propensity, "a propensity lies in (0, 1]", "Mend it, or drop the key."),
            lambda array: ~_within(floats_of(array), np.nextafter(0.0, 1.0), 1.0),
        )
    if keys.position is not None:
        yield Check(
            Rule(keys.position, "a position counts from 1", "Add 1 if it counts from 0."),
            lambda array: floats_of(array) < 1,
        )


def _examined_checks(schema: Schema) -> Iterator[Check]:
    for task in schema.examined:
        if schema.keys.position is not None:
            rule = Rule(
                schema.keys.position,
                f"a position may not be null where task {task.name!r} is examined by it",
                "Fill it, drop such rows, or leave `examined_by` out.",
            )
            yield Check(rule, _missing)


def finite_check(column: str, owner: str) -> Check:
    """The rule that no number of a column is infinite."""
    cure = "Write null where it is unknown, else the number it stands for."
    return Check(Rule(column, f"{owner} is finite", cure), _infinite)


def present_check(column: str, owner: str, *, on_raw: bool) -> Check:
    """The rule that a column holds no null."""
    rule = Rule(column, f"{owner} may not be null", "Fill it, or drop such rows.")
    return Check(rule, nulls_of, on_raw=on_raw)


def _within(value_B: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    inside_B: NDArray[np.bool_] = (value_B >= low) & (value_B <= high)
    return inside_B


def _infinite(array: Any) -> NDArray[np.bool_]:
    if not pa.types.is_floating(array.type):
        return np.zeros(len(array), dtype=np.bool_)
    return np.isinf(floats_of(array))


def _missing(array: Any) -> NDArray[np.bool_]:
    return np.isnan(floats_of(array))


def _not_binary(array: Any) -> NDArray[np.bool_]:
    value_B = floats_of(array)
    odd_B: NDArray[np.bool_] = (value_B != 0) & (value_B != 1) & ~np.isnan(value_B)
    return odd_B


def _negative(array: Any) -> NDArray[np.bool_]:
    return floats_of(array) < 0


def _not_among(levels: tuple[float, ...]) -> Bad:
    def bad(array: Any) -> NDArray[np.bool_]:
        value_B = floats_of(array)
        return ~np.isin(value_B, levels) & ~np.isnan(value_B)

    return bad


def _above(limit: float) -> Bad:
    return lambda array: floats_of(array) > limit


def _below(limit: float) -> Bad:
    return lambda array: floats_of(array) < limit
