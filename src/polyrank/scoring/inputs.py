"""What a scorer need not find in its input.

Everything here makes the schema that an input is read by, which has less than the bundle's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from polyrank.data import load_side_table
from polyrank.errors import ConfigError, suggest
from polyrank.schema import Duration, Schema


def load_tables(schema: Schema, paths: Mapping[str, Path]) -> dict[str, pa.Table]:
    """Side tables from files, by name.

    Raises:
        ConfigError: The schema does not declare one.
    """
    declared = {side.name: side for side in schema.tables}
    for name in paths:
        if name not in declared:
            raise ConfigError(
                f"the schema declares no side table {name!r}", hint=suggest(name, declared)
            )
    return {name: load_side_table(path, declared[name], schema) for name, path in paths.items()}


def without_lengths(schema: Schema, timed: Collection[str]) -> Schema:
    """The schema less the ``length`` of durations but those ``timed``."""
    tasks = tuple(
        task.model_copy(update={"length": None})
        if isinstance(task, Duration) and task.name not in timed
        else task
        for task in schema.tasks
    )
    return schema.model_copy(update={"tasks": tasks})


def without_given(
    schema: Schema,
    tables: Mapping[str, pa.Table],
    given: Sequence[str],
    contexts: Collection[str],
) -> Schema:
    """The schema less the side tables all of whose wanted columns are in the input already."""
    lengths = (task.length for task in schema.durations)
    wanted = {*schema.feature_columns(), *lengths, *contexts}
    left = tuple(
        side
        for side in schema.tables
        if not {name for name in tables[side.name].column_names if name != side.key} & wanted
        <= set(given)
    )
    return schema if left == schema.tables else schema.model_copy(update={"tables": left})


def without_missing_bias(
    schema: Schema, tables: Mapping[str, pa.Table], given: Sequence[str]
) -> Schema:
    """The schema less what only bias models read and neither input nor side tables have."""
    joined = {name for side in schema.tables for name in tables[side.name].column_names}
    there = {*given, *joined}
    features = tuple(
        feature for feature in schema.features if feature.side != "bias" or feature.column in there
    )
    keys = schema.keys
    gone = {
        role: None
        for role, column in (("position", keys.position), ("propensity", keys.propensity))
        if column not in there
    }
    kept = {"features": features, "keys": keys.model_copy(update=gone)}
    return schema.model_copy(update=kept)
