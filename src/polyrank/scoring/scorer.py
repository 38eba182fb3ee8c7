"""The scorer: any table in, predictions or a ranked list out.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.bundle import Bundle
from polyrank.data import Join, Reader, Source, load_side_table, open_log
from polyrank.data.sources.files import FileSource
from polyrank.errors import ConfigError, suggest
from polyrank.schema import Schema, SideTable
from polyrank.scoring.engine import Engine, TorchEngine
from polyrank.scoring.order import default_weights, score
from polyrank.scoring.output import write_parquet

PREFIX = "predicted_"
"""Before a task's name: the column of its predictions."""
SCORE = "score"
Predictions = dict[str, NDArray[np.float64]]


class Scorer:
    """Scores with one bundle; safe to keep, since a bundle never changes.

    Args:
        bundle: The model with all it needs.
        engine: What computes; null: eager torch in fp32.
        tables: Files of side tables to use instead of the bundle's, by name.

    Raises:
        ConfigError: ``tables`` names a table that the schema does not declare.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine | None = None,
        *,
        tables: Mapping[str, Path] | None = None,
    ) -> None:
        self.bundle = bundle
        self._engine = engine or TorchEngine(bundle.model)
        self._table_files = tuple((tables or {}).values())
        self._tables = {**bundle.tables, **_load_tables(bundle.schema, tables or {})}
        self._joins: dict[tuple[SideTable, ...], Join] = {}

    def score(self, table: Any, keep: Sequence[str] = ()) -> pa.Table:
        """Predict every task for every row.

        Args:
            table: A path, glob or folder, or an Arrow-compatible table. It needs the schema's
                features or, instead of a side table's columns, that table's key. No labels.
            keep: Columns to copy beside the keys.

        Returns:
            The keys that are there, ``keep``, and ``predicted_<task>`` in the label's unit, each in
            its task's sample space; one row for each of ``table``, in its order.

        Raises:
            DataError: A column is missing or of another type, or a value is refused.
        """
        return pa.concat_tables(list(self.score_chunks(table, keep)))

    def score_chunks(self, table: Any, keep: Sequence[str] = ()) -> Iterator[pa.Table]:
        """``score``, some thousand rows at a time."""
        source = open_log(table)
        given = source.schema().names
        columns = self._kept(given, keep)
        for chunk in self.reader(source, extra=columns, labels=False).chunks("all"):
            found = {name: chunk[name] for name in columns}
            yield pa.table(found | {PREFIX + k: v for k, v in self.predict(chunk).items()})

    def score_file(
        self, log: Any, out: Path, *, keep: Sequence[str] = (), replace: bool = False
    ) -> int:
        """``score`` from a log to a Parquet file, in bounded memory; all of it or nothing.

        Returns:
            The number of rows.

        Raises:
            ConfigError: ``out`` exists and ``replace`` is not set, or it is what is read.
            StorageError: The disk refused.
        """
        source = open_log(log)
        self._refuse_input(source, out)
        return write_parquet(self.score_chunks(source, keep), out, replace=replace)

    def rank(
        self, candidates: Any, by: Mapping[str, float] | None = None, keep: Sequence[str] = ()
    ) -> pa.Table:
        """The candidates of one request, best first.

        Args:
            candidates: As in ``score``.
            by: Weight by task of the sum that is ranked by, each task's prediction multiplied by
                the probabilities of its sample space; null: weights under which every task
                contributes about equally on average, negative where less is better.
            keep: Columns to copy beside the keys.

        Returns:
            As ``score``, and a column ``score``, falling; equal scores keep the given order.
        """
        scored = self.score(candidates, keep)
        weights = default_weights(self.bundle.schema, self.bundle.encoders.layout)
        predictions = {
            task: scored[PREFIX + task].to_numpy() for task in self.bundle.schema.task_names
        }
        value_N = score(self.bundle.schema, predictions, weights if by is None else by)
        order_N = np.argsort(-value_N, kind="stable")
        return scored.append_column(SCORE, pa.array(value_N)).take(pa.array(order_N))

    def predict(self, chunk: pa.Table) -> Predictions:
        """(N,) predictions by task for rows as a ``Reader`` gives them."""
        return self._engine.predict(self.bundle.encoders.encode(chunk, labels=False))

    def reader(self, source: Source, *, extra: Sequence[str], labels: bool) -> Reader:
        """A reader of ``source`` that joins the side tables whose columns it lacks."""
        schema = _without_given(self.bundle.schema, self._tables, source.schema().names)
        return Reader(source, schema, tables=self._join(schema), extra=extra, labels=labels)

    def _join(self, schema: Schema) -> Join:
        """The side tables of ``schema``, indexed once."""
        if schema.tables not in self._joins:
            tables = {side.name: self._tables[side.name] for side in schema.tables}
            self._joins[schema.tables] = Join(schema, tables)
        return self._joins[schema.tables]

    def _kept(self, given: Sequence[str], keep: Sequence[str]) -> list[str]:
        for name in keep:
            if name not in given:
                raise ConfigError(f"there is no column {name!r} to keep", hint=suggest(name, given))
        keys = self.bundle.schema.keys.named().values()
        kept = list(dict.fromkeys([*(key for key in keys if key in given), *keep]))
        own = {SCORE, *(PREFIX + task for task in self.bundle.schema.task_names)}
        for name in kept:
            if name in own:
                raise ConfigError(
                    f"column {name!r} cannot be kept: the result has one of that name",
                    hint="Rename it in the log, or do not keep it.",
                )
        return kept

    def _refuse_input(self, source: Source, out: Path) -> None:
        files = source.paths if isinstance(source, FileSource) else ()
        for path in (*files, *self._table_files):
            if out.exists() and path.exists() and out.samefile(path):
                raise ConfigError(
                    "is read, and would be replaced by its own scores",
                    where=str(out),
                    hint="Write to another path.",
                )


def _load_tables(schema: Schema, paths: Mapping[str, Path]) -> dict[str, pa.Table]:
    declared = {side.name: side for side in schema.tables}
    for name in paths:
        if name not in declared:
            raise ConfigError(
                f"the schema declares no side table {name!r}", hint=suggest(name, declared)
            )
    return {name: load_side_table(path, declared[name], schema) for name, path in paths.items()}


def _without_given(schema: Schema, tables: Mapping[str, pa.Table], given: Sequence[str]) -> Schema:
    """The schema less the side tables all of whose wanted columns are in the input already."""
    wanted = set(schema.feature_columns())
    left = tuple(
        side
        for side in schema.tables
        if not {side.prefix + name for name in tables[side.name].column_names if name != side.key}
        & wanted
        <= set(given)
    )
    return schema if left == schema.tables else schema.model_copy(update={"tables": left})
