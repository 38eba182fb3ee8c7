"""The profile of some rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from polyrank.bundle.profile import Profile
from polyrank.data import Encoders
from polyrank.schema import Schema
from polyrank.scoring.profiles.counting import Columns, distribution_of, group_of
from polyrank.scoring.profiles.thinning import Thinned
from polyrank.scoring.profiles.values import inputs_of, outputs_of
from polyrank.scoring.scorer import PREFIX, Scorer

MOST_ROWS = 10_000
"""Of the validation part that a bundle's profile is made of."""


def profile_of(
    table: pa.Table,
    schema: Schema,
    *,
    on: str,
    outputs: Iterable[str] = (),
    encoders: Encoders | None = None,
) -> Profile:
    """The distributions of a table's features and of its columns ``outputs``.

    Args:
        table: In the types that a ``Reader`` gives; features that it lacks are left out.
        schema: What the columns mean.
        on: Which rows they are, in words.
        outputs: Columns of predictions.
        encoders: They know which ids the model has never seen; null: that is not counted.
    """
    groups = group_of(table, Columns(schema.keys.user, schema.keys.request))
    unseen = unseen_of(table, encoders)
    inputs = (
        distribution_of(values, groups, unseen.get(values.feature or ""))
        for values in inputs_of(table, schema)
    )
    found = (distribution_of(values, groups) for values in outputs_of(table, list(outputs)))
    return Profile(
        on=on,
        rows=table.num_rows,
        unit=groups.unit,  # type: ignore[arg-type]  # one of three
        units=groups.units,
        distributions=(*inputs, *found),
    )


def unseen_of(table: pa.Table, encoders: Encoders | None) -> dict[str, float]:
    """By feature whose column is there: the share of ids outside the vocabulary, where it is
    defined."""
    if encoders is None:
        return {}
    found = encoders.unseen(table, there_only=True)
    return {name: share for name, share in found.items() if share == share}


def profile_rows(scorer: Scorer, sample: Thinned, on: str) -> Profile | None:
    """The profile of rows that passed through ``sample``, with the bundle's predictions of them.

    Args:
        scorer: Of the bundle.
        sample: Rows as a ``Reader`` gives them, with ``Scorer.segment_columns``.
        on: Which rows they are, in words.
    """
    table = sample.table()
    if table is None:
        return None
    predictions: Mapping[str, Any] = scorer.predict(table)
    for task, value_N in predictions.items():
        table = table.append_column(PREFIX + task, pa.array(value_N))
    told = on if sample.rows == table.num_rows else f"{table.num_rows:,} rows of {on}"
    return profile_of(
        table,
        scorer.bundle.schema,
        on=told,
        outputs=[PREFIX + task for task in predictions],
        encoders=scorer.bundle.encoders,
    )
