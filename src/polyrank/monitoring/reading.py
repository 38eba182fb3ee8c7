"""One pass over a log: some of its rows for distributions, all of them for counts and labels.

Shapes: N rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.bundle import Bundle
from polyrank.data import Quarantine, Reader, Source, in_unit, observed_mask, open_log
from polyrank.data.arrays import floats_of, nulls_of, plain
from polyrank.data.hashing import hash_column
from polyrank.data.made import with_made
from polyrank.data.observed import settled_codes
from polyrank.evaluation import NO_GROUP, Observations
from polyrank.monitoring.part_schema import left_out, readable
from polyrank.monitoring.volume import AT, BY, DEGRADED, REQUEST, Counting, Volume
from polyrank.schema import Duration, Schema, Task
from polyrank.scoring import PREFIX, SCORE
from polyrank.scoring.labels import cut_at
from polyrank.scoring.profiles import Thinned
from polyrank.scoring.shown import not_shown, shown

MOST_ROWS = 200_000
"""That distributions are made of: a uniform sample of the log."""
MOST_LABELLED = 5_000_000
"""That calibration is made of: the first ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A log."""

    sample: pa.Table | None
    """Null where there is no row."""
    schema: Schema | None
    """What the sample was read by."""
    outputs: tuple[str, ...]
    """Its columns of predictions and scores."""
    volume: Volume
    absent: tuple[str, ...] = ()
    """Features that the log does not have."""
    observations: Observations | None = None
    """Predictions beside labels; null where no task has both."""
    tasks: tuple[Task, ...] = ()
    """Those that do."""
    not_shown: int = 0
    """Rows that nobody saw: they are left out."""


def read(log: Any, bundle: Bundle | None = None, observed_until: int | str | None = None) -> Seen:
    """Read a log.

    Args:
        log: A path, glob, folder or Arrow-compatible table; of what was served, the rows that were
            shown (``shown``).
        bundle: Says what its columns mean; null: their types alone say.
        observed_until: When the labels were looked at, of tasks whose labels come late; null: when
            the training log was cut.

    Raises:
        ConfigError: Nothing is there.
        DataError: It cannot be read.
    """
    whole = open_log(log)
    source = shown(whole)
    if bundle is None:
        seen = _by_types(source)
    else:
        seen = _by_schema(source, bundle, cut_at(bundle.schema, observed_until))
    return dataclasses.replace(seen, not_shown=not_shown(whole))


def _by_types(source: Source) -> Seen:
    outputs = outputs_in(source.schema().names)
    counting, thinned = Counting(None, None, None), Thinned(MOST_ROWS)
    for chunk in source.chunks():
        counting.add(chunk.table)
        thinned.add(chunk.table)
    return Seen(
        sample=thinned.table(), schema=None, outputs=outputs, volume=counting.volume(refused=0)
    )


def _by_schema(source: Source, bundle: Bundle, whole: Schema) -> Seen:
    given, keys = source.schema().names, whole.keys
    schema = readable(whole, given, bundle.tables, labels=True)
    outputs = outputs_in(given)
    labelled = [task for task in schema.tasks if PREFIX + task.name in outputs]
    if not labelled:
        schema = readable(whole, given, bundle.tables, labels=False)
    known = [keys.user, keys.request, keys.time]
    extra = [name for name in (*known, REQUEST, AT, DEGRADED, *BY, *outputs) if name in given]
    reader = Reader(
        source,
        schema,
        tables={side.name: bundle.tables[side.name] for side in schema.tables},
        quarantine=Quarantine(max_share=1.0),
        extra=tuple(dict.fromkeys(name for name in extra if name is not None)),
        labels=bool(labelled),
        thresholds=bundle.encoders.thresholds,
    )
    counting, thinned = Counting(*known), Thinned(MOST_ROWS)
    gathered = _Gathered(bundle, schema, labelled)
    for chunk in thinned.watch(reader.chunks("all")):
        counting.add(chunk)
        gathered.add(chunk)
    return Seen(
        sample=thinned.table(),
        schema=schema,
        outputs=outputs,
        volume=counting.volume(refused=reader.ledger.quarantined),
        absent=left_out(whole, schema),
        observations=gathered.observations(),
        tasks=tuple(labelled),
    )


def outputs_in(names: Sequence[str]) -> tuple[str, ...]:
    """The columns of predictions and scores, without those of further quantities."""
    found = [name for name in names if name.startswith(PREFIX) and "." not in name]
    return (*found, *(name for name in names if name == SCORE))


class _Gathered:
    """Predictions and labels of the first rows."""

    def __init__(self, bundle: Bundle, schema: Schema, tasks: Sequence[Task]) -> None:
        self._bundle, self._schema, self._tasks = bundle, schema, tasks
        self._parts: list[Observations] = []
        self._rows = 0

    def add(self, chunk: pa.Table) -> None:
        """Some rows."""
        if self._tasks and self._rows < MOST_LABELLED:
            self._parts.append(self._observed(chunk))
            self._rows += chunk.num_rows

    def observations(self) -> Observations | None:
        """All of them."""
        return Observations.concatenate(self._parts) if self._parts else None

    def _observed(self, chunk: pa.Table) -> Observations:
        """A log of what was served has all negatives, so no label weighs more than another."""
        schema = self._schema
        chunk = with_made(chunk, schema, self._bundle.encoders.thresholds)
        masks = observed_mask(chunk, schema)
        predictions, labels = {}, {}
        for task in self._tasks:
            name = task.name
            predictions[name] = floats_of(plain(chunk[PREFIX + name]))
            labels[name] = in_unit(task, settled_codes(chunk, schema, task))
            masks[name] &= ~np.isnan(predictions[name])
            if isinstance(task, Duration) and task.censored is not None:
                masks[name] &= floats_of(plain(chunk[task.censored])) != 1
        weight = schema.keys.weight
        return Observations(
            predictions=predictions,
            labels=labels,
            masks={task.name: masks[task.name] for task in self._tasks},
            weights=None if weight is None else floats_of(plain(chunk[weight])),
            groups=dict(self._groups(chunk)),
        )

    def _groups(self, chunk: pa.Table) -> Iterator[tuple[str, NDArray[np.int64]]]:
        keys = self._bundle.schema.keys
        for what, names in (("user", (keys.user,)), ("request", (REQUEST, keys.request))):
            column = next((n for n in names if n is not None and n in chunk.column_names), None)
            if column is not None:
                array = plain(chunk[column])
                # 62 bits: a code is never -1, which stands for no group.
                hash_N = hash_column(array.cast(pa.large_string())) >> np.uint64(2)
                yield what, np.where(nulls_of(array), NO_GROUP, hash_N.astype(np.int64))
