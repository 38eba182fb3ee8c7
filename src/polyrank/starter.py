"""A first configuration of a log that nobody described yet: guessed, commented, ready to train.

>>> import tempfile
>>> from pathlib import Path
>>> from polyrank.simulation import Feed, FeedConfig
>>> from polyrank.starter import write_starter
>>> with tempfile.TemporaryDirectory() as folder:
...     log = Path(folder) / "log.parquet"
...     _ = Feed(FeedConfig(num_users=50, num_items=50)).write(log, num_rows=2000)
...     guess = write_starter(log, Path(folder) / "ranker.yaml")
...     text = (Path(folder) / "ranker.yaml").read_text()
>>> guess.schema.task_names
('click', 'long_view', 'purchase', 'like', 'report', 'watch_time_s')
>>> "log: log.parquet" in text
True
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyrank.config import TrainingConfig
from polyrank.data import (
    AnySplit,
    Quarantine,
    RandomSplit,
    Reader,
    Source,
    TimeSplit,
    UserSplit,
    load_side_table,
    open_log,
)
from polyrank.errors import DataError
from polyrank.model import ModelConfig
from polyrank.schema import Schema, guess_schema, to_yaml
from polyrank.schema.guess import Guess
from polyrank.sharing import MMoE
from polyrank.storage.failures import storage_errors
from polyrank.storage.targets import check_file

SAMPLE_ROWS = 100_000
"""Rows looked at, in blocks spread evenly over the log."""
HELD_OUT = 0.1
"""Share of the rows that validation takes, and test."""
MOST_REFUSED = 0.1
"""Where the guess refuses more of the rows, it is the guess that needs mending."""
_BLOCK = 1_000
_STEPS_PER_EPOCH = 100
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


def write_starter(
    log: str | Path,
    out: Path,
    *,
    labels: Mapping[str, str] | None = None,
    tables: Mapping[str, Path] | None = None,
) -> Guess:
    """Guess what a log means and write a run of it as commented YAML.

    The log is read twice: to look at it, and to count the rows that the guess refuses. If there
    are some, ``data.max_quarantine_share`` allows so many, and a comment says so.

    Args:
        log: A file, glob or folder.
        out: The file to write; one that is there is replaced.
        labels: As in ``guess_schema``: the tasks by name, where columns do not look like labels.
        tables: Side tables by name.

    Returns:
        The guess, with its reasons.

    Raises:
        ConfigError: Nothing is there, no column looks like a label, or a table does not fit.
        DataError: The log is damaged or empty, or does not fit the guess; the file is written all
            the same, if there is a guess.
        StorageError: The file cannot be written.
    """
    tables = tables or {}
    source = open_log(log)
    sample, num_rows = _look(source)
    side = {name: _look(open_log(path))[0] for name, path in tables.items()}
    guess = guess_schema(sample, num_rows=num_rows, tables=side, labels=labels)
    starter = _Starter(str(log), out, sample, num_rows, guess, tables)
    _write(out, starter.text(num_refused=0))
    num_refused = _count_refused(source, guess.schema, tables)
    if num_refused:
        _write(out, starter.text(num_refused))
    return guess


def _look(source: Source) -> tuple[pa.Table, int]:
    """A sample of whole blocks, since repetitions and requests show in neighbours; all rows."""
    kept: dict[int, pa.Table] = {}
    stride, place, num_rows = 1, 0, 0
    for chunk in source.chunks():
        for start in range(0, chunk.table.num_rows, _BLOCK):
            if place % stride == 0:
                kept[place] = chunk.table.slice(start, _BLOCK)
            place += 1
        num_rows += chunk.table.num_rows
        while sum(table.num_rows for table in kept.values()) > SAMPLE_ROWS and len(kept) > 1:
            stride *= 2
            kept = {at: table for at, table in kept.items() if at % stride == 0}
    if not kept:
        return source.schema().empty_table(), 0
    try:
        return pa.concat_tables(kept.values(), promote_options="permissive"), num_rows
    except pa.ArrowException as error:
        raise DataError(
            f"its files disagree on the type of a column: {error}",
            hint="Write the column with one type in all files.",
        ) from error


def _count_refused(source: Source, schema: Schema, tables: Mapping[str, Path]) -> int:
    """Rows of the log that break a rule."""
    loaded = {side.name: load_side_table(tables[side.name], side, schema) for side in schema.tables}
    reader = Reader(source, schema, tables=loaded, quarantine=Quarantine(max_share=1.0))
    for _ in reader.chunks("all"):
        pass
    return reader.ledger.quarantined


def _write(out: Path, text: str) -> None:
    with storage_errors("write the configuration", out.name):
        check_file(out, kind="YAML", replace=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class _Starter:
    """The text of a configuration."""

    log: str
    out: Path
    sample: pa.Table
    num_rows: int
    guess: Guess
    tables: Mapping[str, Path]

    def text(self, num_refused: int) -> str:
        """The YAML; ``num_refused`` rows break a rule."""
        split, why = guess_split(self.guess.schema, self.sample)
        parts = [
            self._head(),
            "data:",
            '  root: "."  # where relative paths start: the folder of this file',
            f"  log: {quoted(self._path(self.log))}",
            f"  # {why}",
            f"  split: {flow(split)}",
            *self._tables(),
            *_quarantine(num_refused, self.num_rows),
            "schema:",
            to_yaml(self.guess, indent=2).rstrip("\n"),
            *model_lines(),
            *_training(self.num_rows),
            f"output: {quoted(f'runs/{self.out.stem}')}  # from the working directory",
            "seed: 0",
        ]
        return "\n".join(parts) + "\n"

    def _head(self) -> str:
        name = json.dumps(Path(self.log).name, ensure_ascii=False)
        out = self.out.name
        return (
            f"# What {name} seems to mean; {self.num_rows:,} rows, {self.sample.num_rows:,} looked "
            "at.\n"
            "# Each line says why it is there. Mend what was guessed wrong, then:\n"
            f"#   polyrank validate {out}\n"
            f"#   polyrank train {out}"
        )

    def _path(self, path: str | Path) -> str:
        """Relative where it lies beside or below the file."""
        full = Path(path).expanduser().absolute()
        inside = os.path.relpath(full, self.out.absolute().parent)
        return str(full) if inside.startswith("..") else inside

    def _tables(self) -> list[str]:
        lines = [f"    {name}: {quoted(self._path(path))}" for name, path in self.tables.items()]
        return ["  tables:", *lines] if lines else []


def guess_split(schema: Schema, sample: pa.Table) -> tuple[AnySplit, str]:
    """How to divide a log, and why so.

    By time, so that about the last tenth of the rows is the test and the tenth before validation;
    without times by user; without users at random.

    Args:
        schema: Of the log.
        sample: Some of its rows, spread over all of it.
    """
    time = schema.keys.time
    bounds = None if time is None else _bounds(sample.column(time))
    if bounds is not None:
        split = TimeSplit(validation_from=bounds[0], test_from=bounds[1])
        return (
            split,
            f"By {_words(time)}: about a tenth of the rows chooses, the last tenth judges.",
        )
    few = "" if time is None else f", since {_words(time)} has fewer than three values"
    if schema.keys.user is not None:
        by_user = UserSplit(validation=HELD_OUT, test=HELD_OUT)
        return by_user, f"By user{few}: a tenth of them chooses, another judges."
    at_random = RandomSplit(validation=HELD_OUT, test=HELD_OUT)
    if time is not None:
        at_random = RandomSplit(validation=HELD_OUT, test=HELD_OUT, accept_leakage=True)
    return at_random, f"At random{few}: a tenth of the rows chooses, another judges."


def _words(column: str | None) -> str:
    return json.dumps(column, ensure_ascii=False)


def _bounds(column: Any) -> tuple[int | str, int | str] | None:
    """The times at which validation and test begin; None where there are too few."""
    array = column.combine_chunks().drop_null()
    if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        array = array.cast(pa.int64())
    counts = pc.value_counts(array)
    order = pc.sort_indices(counts.field("values"))
    times, count_T = counts.field("values").take(order), counts.field("counts").take(order)
    if len(times) < 3:
        return None
    before_T = np.cumsum(np.concatenate([[0], count_T.to_numpy()[:-1]])) / len(array)
    test = 2 + int(np.argmin(np.abs(before_T[2:] - (1 - HELD_OUT))))
    validation = 1 + int(np.argmin(np.abs(before_T[1:test] - (1 - 2 * HELD_OUT))))
    return _bound(times[validation]), _bound(times[test])


def _bound(time: Any) -> int | str:
    """A moment as ``TimeSplit`` takes it."""
    if pa.types.is_timestamp(time.type):
        # Downwards to what ISO 8601 can say; both sides of the split stay filled.
        moment = time.cast(pa.timestamp("us", time.type.tz), safe=False).as_py()
        return str((moment if moment.tzinfo is None else moment.astimezone(UTC)).isoformat())
    value = time.as_py()
    return str(value.isoformat()) if hasattr(value, "isoformat") else int(value)


def _quarantine(num_refused: int, num_rows: int) -> list[str]:
    if not num_refused:
        return []
    told = f"  # {num_refused:,} rows break a rule (polyrank validate says which)"
    if num_refused > MOST_REFUSED * num_rows:
        return [f"{told}: mend them, or the schema."]
    # Parts have more or less than their share of them.
    share = min(1.0, math.ceil(1000 * (3 * num_refused / num_rows)) / 1000)
    return [
        f"{told}. They are set aside, in quarantine.parquet,",
        "  # as long as they are no larger share of a part than this:",
        f"  max_quarantine_share: {share}",
    ]


def model_lines() -> list[str]:
    """The ``model`` section, as it is by default."""
    model, sharing = ModelConfig(), MMoE()
    widths, towers = _list(sharing.widths), _list(model.towers.widths)
    return [
        "model:",
        f"  embedding_dim: {model.embedding_dim}  # width of the vector of an id",
        f"  # Or {{kind: shared_bottom, widths: {widths}}}, or {{kind: single_task, ...}}.",
        f"  sharing: {{kind: mmoe, num_experts: {sharing.num_experts}, widths: {widths}}}",
        f"  towers: {{widths: {towers}}}  # what each task has to itself",
    ]


def _training(num_rows: int) -> list[str]:
    training = TrainingConfig()
    wanted = max(1.0, num_rows * (1 - 2 * HELD_OUT) / _STEPS_PER_EPOCH)
    batch = min(training.batch_size, max(64, 2 ** int(math.log2(wanted))))
    return [
        "training:",
        f"  batch_size: {batch}",
        "  epochs: 10  # at most: it stops where validation gets no better",
        f"  learning_rate: {training.learning_rate}  # of the network",
        f"  table_learning_rate: {training.table_learning_rate}  # of the vectors of ids",
    ]


def flow(split: AnySplit) -> str:
    """What was set, on one line."""
    told = [
        f"{key}: {json.dumps(value)}" for key, value in split.model_dump(exclude_unset=True).items()
    ]
    return "{" + ", ".join([f"kind: {split.kind}", *told]) + "}"


def _list(widths: tuple[int, ...]) -> str:
    return json.dumps(list(widths))


def quoted(text: str) -> str:
    """Text as YAML, in quotes where a reader could take it for something else."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
