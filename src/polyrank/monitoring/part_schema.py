"""What of a schema a log can be read by that has only some of its columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa

from polyrank.schema import (
    Bag,
    Binary,
    Duration,
    Feature,
    Keys,
    Schema,
    Sequence,
    SideTable,
    Task,
)


def readable(
    schema: Schema, given: Collection[str], tables: Mapping[str, pa.Table], *, labels: bool
) -> Schema:
    """The schema less the features, keys and tasks whose columns are neither given nor joined.

    A side table is joined where the log has its key and none of its columns: what was logged as it
    was served is not replaced. Features on the side ``bias`` go, and so does ``deduplicate``: what
    was served is watched, and all of it. Of keys only what labels need stays, so that no row is
    refused for want of one.

    Args:
        schema: The bundle's.
        given: The log's columns.
        tables: The bundle's side tables.
        labels: Whether labels are read; else no task stays.
    """
    sides = tuple(s for s in schema.tables if s.on in given and not _offered(s, tables) & {*given})
    there = {*given}.union(*(_offered(side, tables) for side in sides))
    kept = {f.name for f in schema.features if f.side != "bias" and f.column in there}
    features = tuple(f for f in schema.features if f.name in kept and _owner(f) in kept)
    tasks = _labelled(schema, there) if labels else ()
    late = any(isinstance(task, Binary) and task.maturity is not None for task in tasks)
    keys = Keys(
        time=schema.keys.time if late else None,
        weight=schema.keys.weight if labels and schema.keys.weight in given else None,
    )
    changes = {"tables": sides, "deduplicate": None, "keys": keys}
    return schema.model_copy(update={"features": features, "tasks": tasks, **changes})


def _offered(side: SideTable, tables: Mapping[str, pa.Table]) -> set[str]:
    """The columns that a side table, as ``load_side_table`` gives it, adds to a log."""
    return {name for name in tables[side.name].column_names if name != side.key}


def left_out(schema: Schema, part: Schema) -> tuple[str, ...]:
    """The features that ``part`` lacks, but those on the side ``bias``."""
    kept = {feature.name for feature in part.features}
    return tuple(f.name for f in schema.features if f.side != "bias" and f.name not in kept)


def _owner(feature: Feature) -> str:
    """The feature whose vocabulary it uses: without it its ids cannot be read."""
    shares = feature.shares if isinstance(feature, Bag | Sequence) else None
    return shares or feature.name


def _labelled(schema: Schema, given: Collection[str]) -> tuple[Task, ...]:
    """The tasks whose labels are there, in their sample spaces and with what makes them."""
    found: dict[str, Task] = {}
    for task in schema.tasks:
        if not isinstance(task, Binary) or task.rule is None:
            _keep(task, schema, given, found)
    for made in schema.made:
        source = found.get(schema.source(made).name)
        whole = isinstance(source, Duration) and (
            source.length is not None
            if made.rule is not None and made.rule.kind == "watch_through"
            else set(getattr(made.rule, "by", ())) <= set(given)
        )
        if whole and (made.mask is None or made.mask in given):
            found[made.name] = made.model_copy(update={"examined_by": None})
    while lost := [n for n in found if not set(schema.space(n)) <= set(found)]:
        for name in lost:
            del found[name]
    return tuple(found[name] for name in schema.task_names if name in found)


def _keep(task: Task, schema: Schema, given: Collection[str], found: dict[str, Task]) -> None:
    wanted = {task.label, task.mask}
    if isinstance(task, Duration):
        wanted.add(task.censored)
        if task.length not in given:
            task = task.model_copy(update={"length": None})
    if isinstance(task, Binary):
        task = task.model_copy(update={"examined_by": None})
        if task.maturity is not None:
            wanted |= {task.maturity.event_time, schema.keys.time}
    if wanted - {None} <= set(given):
        found[task.name] = task
