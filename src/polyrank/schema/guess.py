"""Guessing the schema of a log from its names and values.

>>> import pyarrow as pa
>>> from polyrank.schema.guess import guess_schema
>>> log = pa.table(
...     {
...         "user_id": [1, 1, 2, 2, 3, 3],
...         "item_id": [7, 8, 7, 9, 8, 9],
...         "click": [0, 1, 1, 0, 0, 1],
...         "purchase": [None, 0, 1, None, None, 0],
...     }
... )
>>> guess = guess_schema(log)
>>> guess.schema.keys.user, guess.schema.task("purchase").within
('user_id', 'click')
>>> guess.notes["tasks.purchase"]
"It is named like a response and is yes or no; null unless 'click' is 1, so that is its space."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polyrank.errors import ConfigError, DataError
from polyrank.schema.features import Deduplicate, Keys
from polyrank.schema.guessing.asked import ask_tasks, no_label, read_asked
from polyrank.schema.guessing.clock import guess_time
from polyrank.schema.guessing.columns import Gathered, gather
from polyrank.schema.guessing.joins import Join, guess_join
from polyrank.schema.guessing.keys import guess_entities, guess_row_keys
from polyrank.schema.guessing.profile import Profile, profile
from polyrank.schema.guessing.repeats import guess_repeats
from polyrank.schema.guessing.spaces import guess_spaces
from polyrank.schema.guessing.tasks import Found, guess_tasks
from polyrank.schema.guessing.view import View
from polyrank.schema.schema import Schema

TRUTH_PREFIX = "truth_"
"""Columns of a simulated log that no real one has begin with it."""
_MAX_COLUMN = 256


@dataclass(frozen=True)
class Guess:
    """A guessed schema, and why."""

    schema: Schema
    notes: dict[str, str]
    """One sentence each, by place: ``features.NAME``, ``tasks.NAME``, ``keys.ROLE``,
    ``tables.NAME``, ``deduplicate``, and ``ignored.COLUMN`` for a column left out."""


def guess_schema(
    sample: Any,
    *,
    num_rows: int | None = None,
    tables: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Guess:
    """Guess what a log means from a sample of it.

    Args:
        sample: A ``pyarrow.Table``: some rows of the log, at least 1. A few ten thousand show what
            names do not tell.
        num_rows: Rows of the whole log; null: those of the sample.
        tables: Side tables by name, each with one row a key of the log.
        labels: The tasks by name, where their columns do not look like labels: a column, or
            ``column=value`` with the value that means 1. No other column becomes a task then.

    Raises:
        DataError: The sample is empty or names a column twice.
        ConfigError: No column looks like a label or can be a feature; or ``labels`` or a table
            does not fit the log.
    """
    ignored: dict[str, str] = {}
    profiles = _profiles(sample, "log", ignored)
    total = max(num_rows or 0, sample.num_rows)
    asked = read_asked(labels, profiles) if labels else {}
    wanted = {column for column, _ in asked.values()}
    view = _view({name: p for name, p in profiles.items() if name not in wanted})
    found = guess_tasks(view)
    if asked:
        found = ask_tasks(asked, profiles, found)
    if not found.tasks:
        raise no_label(view.profiles.values())
    guess_spaces(found, profiles)
    joins = _joins(tables or {}, view, ignored)
    gathered = gather(view, joins, _labels(found), total)
    gathered.ignored.update(ignored)
    return _assemble(view, found, joins, gathered, total)


def _profiles(table: Any, where: str, ignored: dict[str, str]) -> dict[str, Profile]:
    """Profiles of the columns that may be used; the others go to ``ignored``."""
    if table.num_rows == 0:
        raise DataError("has no rows", where=where, hint="Guessing needs at least one.")
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise DataError(
            f"names columns twice: {', '.join(map(repr, twice))}", where=where, hint="Rename them."
        )
    found: dict[str, Profile] = {}
    for name in table.column_names:
        if name.startswith(TRUTH_PREFIX):
            ignored[name] = "It is the truth of a simulation, which no real log has."
        elif not 0 < len(name) <= _MAX_COLUMN:
            ignored[name[:_MAX_COLUMN]] = f"A column's name has 1 to {_MAX_COLUMN} characters."
        else:
            found[name] = profile(name, table.column(name))
    return found


def _view(profiles: Mapping[str, Profile]) -> View:
    """The log with its keys."""
    entities = guess_entities(profiles)
    view = View(profiles, entities)
    time = guess_time(view)
    keys = {**entities, **({} if time is None else {"time": time})}
    free = {name: p for name, p in profiles.items() if name not in keys.values()}
    rows = guess_row_keys(View({**free, **{c: profiles[c] for c in entities.values()}}, entities))
    return View(profiles, {**keys, **rows})


def _labels(found: Found) -> dict[str, str]:
    """Columns that are no features: labels and masks without a reason, the refused with one."""
    columns = {task.label: "" for task in found.tasks.values()}
    masks = {task.mask: "" for task in found.tasks.values() if task.mask is not None}
    return {**found.refused, **masks, **columns}


def _joins(tables: Mapping[str, Any], view: View, ignored: dict[str, str]) -> list[Join]:
    joins: list[Join] = []
    taken = set(view.profiles) | set(ignored)
    for name, table in tables.items():
        unused: dict[str, str] = {}
        profiles = _profiles(table, f"table {name!r}", unused)
        join = guess_join(name, profiles, view, taken)
        joins.append(join)
        ignored.update({join.joined(column): why for column, why in unused.items()})
        taken.update(join.joined(column) for column in join.profiles)
    return joins


def _assemble(
    view: View, found: Found, joins: list[Join], gathered: Gathered, num_rows: int
) -> Guess:
    order = {column: index for index, column in enumerate(view.profiles)}
    features = sorted(
        gathered.features.values(), key=lambda feature: order.get(feature.column, len(order))
    )
    if not features:
        raise ConfigError(
            "no column of the log can be a feature",
            hint=" ".join(f"{column!r}: {why}" for column, why in gathered.ignored.items())
            or "Beside labels it needs what was known before the impression.",
        )
    repeats = _repeats(view, found, gathered, num_rows)
    schema = Schema(
        features=tuple(features),
        tasks=tuple(found.tasks.values()),
        keys=Keys(**view.keys),
        tables=tuple(join.table for join in joins),
        deduplicate=None if repeats is None else repeats[0],
    )
    notes = {
        **_placed("features", ((f.name, gathered.notes[f.name]) for f in features)),
        **_placed("tasks", ((name, f"{why}.") for name, why in found.notes.items())),
        **_placed("keys", ((role, _key_note(view, role)) for role in view.keys)),
        **_placed("tables", ((join.table.name, _join_note(join)) for join in joins)),
        **_placed("ignored", gathered.ignored.items()),
    }
    if repeats is not None:
        notes["deduplicate"] = f"{repeats[1]}."
    return Guess(schema, notes)


def _placed(place: str, notes: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {f"{place}.{name}": note for name, note in notes}


def _key_note(view: View, role: str) -> str:
    distinct = view.profiles[view.keys[role]].distinct
    why = {
        "user": "Named like the id of a user",
        "item": "Named like the id of an item",
        "request": "Named like the list in which rows were ranked, and repeats",
        "time": "The finest moment that every row has",
        "position": "Named like the place in the shown list, and counts from 1",
        "propensity": "Named like the probability of being shown, and lies in (0, 1]",
        "weight": "Named like the weight of the row",
    }[role]
    return f"{why}; {distinct:,} different values in the sample."


def _join_note(join: Join) -> str:
    renamed = f"; its columns are called {join.table.prefix}..." if join.table.prefix else ""
    return f"One row for each {join.table.on!r}: {join.key.rows:,}{renamed}."


def _repeats(
    view: View, found: Found, gathered: Gathered, num_rows: int
) -> tuple[Deduplicate, str] | None:
    """Only rows with a user and a moment can be the same impression twice."""
    if not {"user", "time"} <= view.keys.keys():
        return None
    read = {*gathered.features, *view.keys.values()} & view.profiles.keys()
    scalar = [p for name, p in view.profiles.items() if name in {*read, *_labels(found)}]
    return guess_repeats(
        [p.values for p in scalar if p.kind not in ("list", "vector", "other")], num_rows
    )
