"""The scorer: any table in, predictions or a ranked list out.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.bundle import Bundle
from polyrank.data import (
    REFUSED,
    AnySplit,
    Batch,
    Join,
    Ledger,
    Quarantine,
    Reader,
    Source,
    open_log,
)
from polyrank.data.roles import context_uses
from polyrank.data.sources.files import FileSource
from polyrank.errors import ConfigError, suggest
from polyrank.heads.funnels import quantity, quantity_beside
from polyrank.schema import Schema, SideTable
from polyrank.scoring.engines import Engine, TorchEngine, UserRows
from polyrank.scoring.engines.failures import engine_errors
from polyrank.scoring.held_out import max_quarantine_share
from polyrank.scoring.inputs import (
    load_tables,
    without_given,
    without_lengths,
    without_missing_bias,
)
from polyrank.scoring.order import SCORE, Order, ranked
from polyrank.scoring.output import write_parquet
from polyrank.scoring.slices import slice_values

PREFIX = "predicted_"
"""Before a task's name: the column of its predictions."""
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
        self.engine = engine or TorchEngine(bundle.model)
        self._table_files = tuple((tables or {}).values())
        self._tables = {**bundle.tables, **load_tables(bundle.schema, tables or {})}
        self._joins: dict[tuple[SideTable, ...], Join] = {}
        heads = bundle.model_config.heads
        self.timed = frozenset(task for task, head in heads.items() if head.reads_length)
        """The tasks whose head reads the length of what is watched."""

    @property
    def segment_columns(self) -> tuple[str, ...]:
        """What calibration reads of a row beside its prediction."""
        found = (curve.segment_by for curve in self.bundle.calibration.values())
        return tuple(dict.fromkeys(name for name in found if name is not None))

    @property
    def max_quarantine_share(self) -> float:
        """The share of rows that the bundle's run allowed to be refused."""
        return max_quarantine_share(self.bundle)

    def notices(self, table: Any) -> tuple[str, ...]:
        """What scoring ``table`` (as in ``score``) will do with it that a reader should know."""
        schema = self.bundle.schema
        columns = {schema.feature(name).column for name in schema.bias_names}
        columns -= set(schema.feature_columns(bias=False))
        given = [name for name in open_log(table).schema().names if name in columns]
        if not given:
            return ()
        told = f"given and ignored: {', '.join(given)}, since only training reads `side: bias`"
        return (told,)

    def score(self, table: Any, keep: Sequence[str] = (), *, further: bool = False) -> pa.Table:
        """Predict every task for every row.

        Args:
            table: A path, glob or folder, or an Arrow-compatible table. It needs the schema's
                features or, instead of a side table's columns, that table's key. No labels.
            keep: Columns to copy beside the keys.
            further: With what heads predict beside, such as the quantile ``predicted_<task>.p90``.

        Returns:
            The keys that are there, ``keep``, and ``predicted_<task>`` in the label's unit, each in
            its task's sample space, with the field metadata "quantity" that says which quantity it
            is (``P(buy = 1 | click = 1)``); one row for each of ``table``, in its order. A row with
            a value that is refused has NaN predictions, where so many may be as in the bundle's
            run.

        Raises:
            DataError: A column is missing or of another type, or too many rows are refused.
            ConfigError: ``further`` is asked for, and no head predicts anything beside.
        """
        return pa.concat_tables(list(self.score_chunks(table, keep, further=further)))

    def score_chunks(
        self,
        table: Any,
        keep: Sequence[str] = (),
        *,
        further: bool = False,
        max_quarantine_share: float | None = None,
        ledger: Ledger | None = None,
    ) -> Iterator[pa.Table]:
        """``score``, some thousand rows at a time.

        Args:
            table: As in ``score``.
            keep: As in ``score``.
            further: As in ``score``.
            max_quarantine_share: Share of rows that may be refused; null: as in the bundle's run.
            ledger: Where the rows are counted, the refused ones as quarantined.
        """
        beside = self._beside() if further else {}
        source = open_log(table)
        columns = self._kept(source.schema().names, keep, beside)
        return self._scored(source, columns, beside, max_quarantine_share, ledger)

    def _scored(
        self,
        source: Source,
        columns: Sequence[str],
        beside: Mapping[str, str],
        max_quarantine_share: float | None = None,
        ledger: Ledger | None = None,
    ) -> Iterator[pa.Table]:
        """Columns of ``source`` beside predictions, some thousand rows at a time."""
        reader = self.reader(
            source,
            extra=columns,
            labels=False,
            max_quarantine_share=max_quarantine_share,
            ledger=ledger,
        )
        for chunk in reader.chunks("all"):
            found = {name: chunk[name] for name in columns}
            predicted = {
                PREFIX + name: value_N
                for name, value_N in self._predict_good(chunk, bool(beside)).items()
            }
            yield self._described(pa.table(found | predicted), beside)

    def score_file(
        self,
        log: Any,
        out: Path,
        *,
        keep: Sequence[str] = (),
        further: bool = False,
        replace: bool = False,
        max_quarantine_share: float | None = None,
        ledger: Ledger | None = None,
    ) -> int:
        """``score_chunks`` from a log to a Parquet file; all of it or nothing.

        Returns:
            The number of rows.

        Raises:
            ConfigError: ``out`` exists and ``replace`` is not set, or it is what is read.
            StorageError: The disk refused.
        """
        source = open_log(log)
        self._refuse_input(source, out)
        scored = self.score_chunks(
            source,
            keep,
            further=further,
            max_quarantine_share=max_quarantine_share,
            ledger=ledger,
        )
        return write_parquet(scored, out, replace=replace)

    def rank(
        self,
        candidates: Any,
        by: Mapping[str, float] | None = None,
        keep: Sequence[str] = (),
        *,
        explain: bool = False,
    ) -> pa.Table:
        """The candidates of one request, best first.

        Args:
            candidates: As in ``score``, with the context columns that the value model reads.
            by: Weight by task of the sum that is ranked by, each task's prediction multiplied by
                the probabilities of its sample space; null: the bundle's value model or, where it
                has none, weights under which every task contributes about equally on average,
                negative where less is better.
            keep: Columns to copy beside the keys.
            explain: With a column ``term_<name>`` for each term, which together are the score, to
                1e-6 of the largest; of a product they are its logarithm.

        Returns:
            As ``score``, and a column ``score``, falling; equal scores keep the given order, and
            rows without a score come last.

        Raises:
            DataError: A context column is missing.
            ConfigError: ``by`` is refused, or a row has no finite score.
        """
        order = Order.of(self.bundle, by)
        source = open_log(candidates)
        given = source.schema().names
        order.check_columns(given)
        kept = self._kept(given, keep, {})
        columns = self._kept(given, [*keep, *order.columns], {})
        scored = pa.concat_tables(list(self._scored(source, columns, {})))
        tasks = {task: scored[PREFIX + task].to_numpy() for task in self.bundle.schema.task_names}
        table = scored.drop_columns([name for name in columns if name not in kept])
        context = {name: slice_values(scored, name) for name in order.columns}
        return ranked(order, table, tasks, context, explain)

    def predict(self, chunk: pa.Table, *, further: bool = False) -> Predictions:
        """(N,) calibrated predictions by task for rows as a ``Reader`` gives them; see
        ``Engine.predict``."""
        batch = self.bundle.encoders.encode(chunk, labels=False, lengths=self.timed)
        predictions = self.computed(batch, further=further)
        segments = {name: slice_values(chunk, name) for name in self.segment_columns}
        return self.calibrated(predictions, segments)

    def computed(
        self, batch: Batch, *, users: UserRows | None = None, further: bool = False
    ) -> Predictions:
        """``Engine.predict`` of the engine; whatever one of somebody else throws is an
        ``EngineError``."""
        with engine_errors():
            return self.engine.predict(batch, users=users, further=further)

    def calibrated(
        self, predictions: Predictions, columns: Mapping[str, NDArray[Any]]
    ) -> Predictions:
        """What the engine predicts, as probabilities that hold.

        Args:
            predictions: (N,) by task.
            columns: (N,) by name, at least the ``segment_columns``.
        """
        curved = dict(predictions)
        for task, curve in self.bundle.calibration.items():
            segment_N = None if curve.segment_by is None else columns[curve.segment_by]
            curved[task] = curve(curved[task], segment_N)
        return curved

    def _beside(self) -> dict[str, str]:
        """By "<task>.<name>", the quantities that heads predict beside.

        Raises:
            ConfigError: There are none.
        """
        schema, seen = self.bundle.schema, self.bundle.model_config.seen_tasks
        found = {
            f"{task}.{name}": quantity_beside(schema, task, name, seen=task in seen)
            for task, head in self.bundle.model.heads.items()
            for name in head.further(head.initial_logits()[None])
        }
        if not found:
            raise ConfigError(
                "no task of this bundle predicts anything beside",
                hint="The heads log_normal, tpm, cread, quantile with several levels, cumulative "
                "and softmax do.",
            )
        return found

    def _quantity(self, task: str) -> str:
        seen = self.bundle.model_config.seen_tasks
        return quantity(self.bundle.schema, task, seen=task in seen)

    def _predict_good(self, chunk: pa.Table, further: bool) -> Predictions:
        """``predict``, NaN for the rows that are refused."""
        good_N = ~chunk[REFUSED].to_numpy(zero_copy_only=False)
        if good_N.all():
            return self.predict(chunk, further=further)
        predictions = {}
        good = chunk.filter(pa.array(good_N))
        for name, value_K in self.predict(good, further=further).items():
            predictions[name] = np.full(len(good_N), np.nan)
            predictions[name][good_N] = value_K
        return predictions

    def _described(self, scored: pa.Table, beside: Mapping[str, str]) -> pa.Table:
        """The same table, whose predictions say in their metadata which quantity they are."""
        own = {task: self._quantity(task) for task in self.bundle.schema.task_names}
        said = {PREFIX + name: told for name, told in {**own, **beside}.items()}
        fields = [
            field.with_metadata({"quantity": said[field.name]}) if field.name in said else field
            for field in scored.schema
        ]
        return pa.Table.from_arrays(scored.columns, schema=pa.schema(fields))

    def reader(
        self,
        source: Source,
        *,
        extra: Sequence[str],
        labels: bool,
        split: AnySplit | None = None,
        max_quarantine_share: float | None = None,
        ledger: Ledger | None = None,
    ) -> Reader:
        """A reader of ``source`` that joins the side tables whose columns it lacks.

        Without labels, the rows that are refused are among those it gives, marked as such, and
        lengths that no head reads are not read. What only bias models read may be missing.
        """
        given = source.schema().names
        schema = self.bundle.schema
        schema = schema if labels else without_lengths(schema, self.timed)
        contexts = context_uses(schema) if labels else ()
        schema = without_given(schema, self._tables, given, contexts)
        schema = without_missing_bias(schema, self._tables, given)
        share = self.max_quarantine_share if max_quarantine_share is None else max_quarantine_share
        return Reader(
            source,
            schema,
            tables=self._join(schema),
            split=split,
            quarantine=Quarantine(max_share=share, setting="--max-quarantine-share"),
            ledger=ledger,
            extra=tuple(dict.fromkeys((*extra, *self.segment_columns))),
            labels=labels,
            mark_refused=not labels,
            thresholds=self.bundle.encoders.thresholds,
        )

    def _join(self, schema: Schema) -> Join:
        """The side tables of ``schema``, indexed once."""
        if schema.tables not in self._joins:
            tables = {side.name: self._tables[side.name] for side in schema.tables}
            self._joins[schema.tables] = Join(schema, tables)
        return self._joins[schema.tables]

    def _kept(self, given: Sequence[str], keep: Sequence[str], beside: Iterable[str]) -> list[str]:
        for name in keep:
            if name not in given:
                raise ConfigError(f"there is no column {name!r} to keep", hint=suggest(name, given))
        keys = self.bundle.schema.keys.named().values()
        kept = list(dict.fromkeys([*(key for key in keys if key in given), *keep]))
        own = {SCORE, *(PREFIX + each for each in (*self.bundle.schema.task_names, *beside))}
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
