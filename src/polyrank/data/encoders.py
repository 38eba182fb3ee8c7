"""Encoders: fitted on the training split, they turn checked tables into batches.

>>> import pyarrow as pa
>>> from polyrank.schema import Binary, Categorical, Numeric, Schema
>>> schema = Schema(
...     features=(Categorical(name="item", min_frequency=1), Numeric(name="age")),
...     tasks=(Binary(name="click"),),
... )
>>> log = pa.table({"item": ["a", "b", "a"], "age": [20.0, None, 40.0], "click": [1.0, 0.0, 0.0]})
>>> encoders = Encoders.fit(schema, [log])
>>> encoders.encode(pa.table({"item": ["b", "new"], "age": [1.0, 2.0]}), labels=False).ids_BF
tensor([[3],
        [1]])
>>> [column.name for column in encoders.layout.numerics]
['age', 'age?missing']

Shapes: B rows, F id columns, N numeric columns, T tasks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import pyarrow as pa
import torch

from polyrank.data.age_extras import age_extras
from polyrank.data.batch import Batch, Ragged
from polyrank.data.encoding import state as states
from polyrank.data.encoding.columns import (
    ListFeature,
    id_column,
    list_column,
    owner_of,
    pick,
    place_of,
)
from polyrank.data.encoding.extend import extend, rows_before
from polyrank.data.encoding.fitting import Fitted, fit
from polyrank.data.encoding.groups import as_codes
from polyrank.data.encoding.ids import check_kind, kind_of
from polyrank.data.encoding.laying import lay_out, layout_of
from polyrank.data.encoding.numeric import Floats, as_numbers
from polyrank.data.encoding.state import Array
from polyrank.data.encoding.targets import labels_of, weights_of
from polyrank.data.encoding.vectors import as_vectors
from polyrank.data.encoding.vocabulary import MISSING, UNSEEN, Vocabulary
from polyrank.data.extras import Extra, extras_of
from polyrank.data.layout import (
    DwellThresholds,
)
from polyrank.data.made import Thresholds, with_made
from polyrank.errors import DataError
from polyrank.schema import Bag, Categorical, Embedding, Numeric, Schema, Sequence, Side
from polyrank.schema.schema import is_id

_GROUPS = ("user", "request")
SIDES: tuple[Side, ...] = get_args(Side)


class Encoders:
    """What the training split taught about each column; nothing changes it once it is fitted.

    Attributes:
        schema: What the log means.
        layout: Which column of a batch is what.
        rows: By feature, its rows of the flat table: those of the feature it shares with, too.
            Row 0 of a range stands for missing, row 1 for out of vocabulary (with a vocabulary),
            then ids by falling frequency, hash buckets or bins.
    """

    def __init__(self, schema: Schema, fitted: Fitted) -> None:
        self.schema = schema
        self._fitted = fitted
        self._id_features = [
            feature
            for feature in schema.features
            if isinstance(feature, Categorical | Numeric) and is_id(feature)
        ]
        self.rows: Mapping[str, range] = lay_out(schema, fitted)
        self.layout = layout_of(schema, fitted, self.rows)
        starts = [self.rows[feature.name].start for feature in self._id_features]
        self._missing_F = np.array(starts, dtype=np.int64)

    @classmethod
    def fit(
        cls,
        schema: Schema,
        chunks: Iterable[pa.Table],
        *,
        seed: int = 0,
        thresholds: Thresholds | None = None,
    ) -> Encoders:
        """Learns from the training split in one pass.

        The result does not depend on how the rows are cut into chunks. Vocabularies and, up to
        131,072 values a feature, medians and quantiles do not depend on the order of the rows
        either; beyond that they come from an even sample of them. A sequence or a bag that shares
        a vocabulary adds no ids to it.

        Args:
            schema: What the log means.
            chunks: Tables of checked columns; other columns are ignored.
            seed: Of the hashes and of the sample.
            thresholds: From ``fit_thresholds``, of labels that ``long_dwell`` makes.

        Raises:
            DataError: No rows, a missing column, ids that are floats or of changing type, an
                infinite number, a task without any observed label.
            ConfigError: More than 2^31 - 1 rows of table, or a threshold is missing.
        """
        encoders = cls(schema, fit(schema, chunks, seed, thresholds))
        pa.default_memory_pool().release_unused()
        return encoders

    def extended(
        self,
        schema: Schema,
        chunks: Iterable[pa.Table],
        *,
        seed: int = 0,
        grow: bool = True,
        thresholds: Thresholds | None = None,
    ) -> Encoders:
        """These encoders with further tasks, fitted on a further log.

        What they know stays: ids keep their meaning, numbers their scaling, tasks their moments.

        Args:
            schema: The same features in the same order, behind them further ones on the side
                ``bias``, if any, and at least the same tasks.
            chunks: As in ``fit``.
            seed: As in ``fit``.
            grow: Whether ids that are new get rows of their own, behind those of their feature;
                else they stay out of vocabulary.
            thresholds: As in ``fit``, of the further tasks.

        Raises:
            DataError, ConfigError: As ``fit``; or ids of another kind than before.
        """
        known = schema.features[: len(self.schema.features)]
        assert known == self.schema.features, "checked before any log is read"
        found = fit(schema, chunks, seed, {**(thresholds or {}), **self.thresholds})
        return Encoders(schema, extend(self._fitted, found, schema, grow=grow))

    def rows_before(self, old: Encoders) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(R,): for each row of the table, and behind it of the features on the side ``bias`` that
        ``old`` has too, the row of ``old``, out of which these encoders grew, that meant the same;
        for a new id, the row of those out of vocabulary."""
        return rows_before(self.rows, old.rows)

    @property
    def thresholds(self) -> dict[str, DwellThresholds]:
        """By task whose label ``long_dwell`` makes: what was fitted."""
        found = {name: stats.thresholds for name, stats in self._fitted.targets.items()}
        return {name: fitted for name, fitted in found.items() if fitted is not None}

    def encode(
        self,
        table: pa.Table,
        *,
        labels: bool = True,
        bias: bool = True,
        lengths: Collection[str] | None = None,
        sides: Collection[Side] = SIDES,
        columns: Collection[str] | None = None,
    ) -> Batch:
        """The rows of a table as a batch.

        Args:
            table: Checked columns; other columns are ignored.
            labels: Whether to read labels, weights and keys; without, only features are needed, and
                those on the side ``bias`` are missing whatever the table holds.
            bias: Whether, with labels, to read what only bias models read: else features on the
                side ``bias`` are missing, and positions and propensities are no extras.
            lengths: The tasks whose ``length`` is read; null: all.
            sides: The sides whose features are read; of all others the columns need not be there,
                and the batch holds missing ids, zeros and empty lists.
            columns: Of these sides the columns whose features are read; null: all.

        Raises:
            DataError: A missing column, ids of another kind than in training, an infinite number,
                a missing number where the schema refuses one.
        """
        bias = bias and labels
        read = self._read(sides if bias else frozenset(sides) - {"bias"}, columns)
        table = with_made(table, self.schema, self.thresholds) if labels else table
        extras = extras_of(self.schema, labels=labels, bias=bias, lengths=lengths)
        names = [*self._names(read, labels=labels), *(extra.column for extra in extras)]
        arrays = pick(table, names)
        size = table.num_rows
        batch = Batch(
            ids_BF=self._ids(arrays, size, read),
            numeric_BN=self._numerics(arrays, size, read),
            ragged={
                feature.name: self._ragged(feature, arrays)
                if feature.name in read
                else _no_entries(size)
                for feature in self.schema.features
                if isinstance(feature, Bag | Sequence)
            },
            vectors={
                feature.name: _vectors(feature, arrays)
                if feature.name in read
                else torch.zeros((size, feature.dim))
                for feature in self.schema.features
                if isinstance(feature, Embedding)
            },
            extras={extra.name: self._extra(extra, arrays) for extra in extras},
        )
        return self._with_labels(batch, table, arrays) if labels else batch

    def unseen(self, table: pa.Table, *, there_only: bool = False) -> dict[str, float]:
        """By feature with a vocabulary: the share of its ids that are out of vocabulary.

        Missing ids count neither way; NaN where a feature has no id at all. With ``there_only``,
        features whose column the table lacks are left out.
        """
        features = [
            feature
            for feature in self.schema.features
            if isinstance(feature, Categorical | Bag | Sequence)
            and isinstance(self._fitted.vocabularies[owner_of(feature)], Vocabulary)
            and (not there_only or feature.column in table.column_names)
        ]
        columns = pick(table, [feature.column for feature in features])
        shares = {}
        for feature in features:
            rows = self._table_rows(feature, columns) - self.rows[feature.name].start
            present = int(np.count_nonzero(rows != MISSING))
            unseen = int(np.count_nonzero(rows == UNSEEN))
            shares[feature.name] = unseen / present if present else math.nan
        return shares

    def state(self) -> tuple[dict[str, object], dict[str, Array]]:
        """Everything fitted, as JSON values and as arrays for safetensors; without the schema."""
        return states.dump(self._fitted)

    @classmethod
    def from_state(
        cls, schema: Schema, meta: Mapping[str, object], arrays: Mapping[str, Array]
    ) -> Encoders:
        """The encoders whose ``state`` this is.

        Raises:
            ArtefactError: It is not the state of encoders of this schema.
        """
        return cls(schema, states.restore(schema, meta, arrays))

    def fingerprint(self) -> str:
        """SHA-256 of schema and state, in hexadecimal: equal for equal encoders only."""
        meta, arrays = self.state()
        digest = hashlib.sha256(self.schema.model_dump_json().encode())
        digest.update(json.dumps(meta, sort_keys=True).encode())
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.view(np.uint8).data)
        return digest.hexdigest()

    def _read(self, sides: Collection[Side], columns: Collection[str] | None) -> frozenset[str]:
        """The features that are read."""
        return frozenset(
            each.name
            for each in self.schema.features
            if each.side in sides and (columns is None or each.column in columns)
        )

    def _names(self, read: Collection[str], *, labels: bool) -> list[str]:
        names = [each.column for each in self.schema.features if each.name in read]
        if labels:
            keys = self.schema.keys.named()
            names += self.schema.label_columns()
            names += [keys[role] for role in (*_GROUPS, "weight") if role in keys]
            names += [keys["time"]] if self.schema.maturing else []
        return names

    def _extra(self, extra: Extra, columns: dict[str, pa.Array]) -> torch.Tensor:
        value_B = extra.read(columns)
        if extra.curve is not None:
            curve = self._fitted.targets[extra.curve].examination
            assert curve is not None, "fitted where the schema asks for it"
            value_B = curve.at(value_B.astype(np.float64)).astype(np.float32)
        return torch.from_numpy(value_B)

    def _ids(
        self, columns: dict[str, pa.Array], num_rows: int, read: Collection[str]
    ) -> torch.Tensor:
        ids_BF = np.empty((num_rows, len(self._id_features)), dtype=np.int64)
        ids_BF[:] = self._missing_F
        for place, feature in enumerate(self._id_features):
            if feature.name not in read:
                continue
            if isinstance(feature, Categorical):
                rows = self._rows_of(feature, id_column(feature, columns))
                np.add(rows, self.rows[feature.name].start, out=ids_BF[:, place])
            else:
                rows = self._fitted.scalers[feature.name].rows(_numbers(feature, columns))
                np.add(rows, self.rows[feature.name].start, out=ids_BF[:, place])
        return torch.from_numpy(ids_BF)

    def _table_rows(
        self, feature: Categorical | ListFeature, columns: dict[str, pa.Array]
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The table rows of all ids of a feature, flat."""
        ids = (
            id_column(feature, columns)
            if isinstance(feature, Categorical)
            else list_column(feature, columns).ids
        )
        return self._rows_of(feature, ids).astype(np.int64) + self.rows[feature.name].start

    def _rows_of(
        self, feature: Categorical | ListFeature, ids: pa.Array
    ) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """Rows within the feature's own."""
        table = self._fitted.vocabularies[owner_of(feature)]
        kind = kind_of(ids)
        if kind != table.kind:
            check_kind(kind, table.kind, place_of(feature.name, feature.column))
        return table.rows(ids)

    def _ragged(self, feature: ListFeature, columns: dict[str, pa.Array]) -> Ragged:
        lists = list_column(feature, columns)
        values_V = self._rows_of(feature, lists.ids).astype(np.int64)
        values_V += self.rows[feature.name].start
        return Ragged(
            values_V=torch.from_numpy(values_V),
            lengths_B=torch.from_numpy(np.ascontiguousarray(lists.lengths_B)),
        )

    def _numerics(
        self, columns: dict[str, pa.Array], num_rows: int, read: Collection[str]
    ) -> torch.Tensor:
        numeric_BN = np.zeros((num_rows, len(self.layout.numerics)), dtype=np.float32)
        place = 0
        for name, scaler in self._fitted.scalers.items():
            if scaler.feature.scaling == "bins":
                continue
            if name in read:
                values = _numbers(scaler.feature, columns)
                numeric_BN[:, place] = scaler.scale(values)
                if scaler.flagged:
                    numeric_BN[:, place + 1] = np.isnan(values)
            place += 1 + scaler.flagged
            assert self.layout.numerics[place - 1].name.startswith(name)
        return torch.from_numpy(numeric_BN)

    def _with_labels(self, batch: Batch, table: pa.Table, columns: dict[str, pa.Array]) -> Batch:
        labels_BT, observed_BT = labels_of(self.schema, table)
        weight_B = weights_of(self.schema, table)
        ages = age_extras(table, self.schema)
        keys = self.schema.keys.named()
        return replace(
            batch,
            labels_BT=torch.from_numpy(labels_BT),
            observed_BT=torch.from_numpy(observed_BT),
            weight_B=torch.from_numpy(weight_B.astype(np.float32)),
            extras={**batch.extras, **{name: torch.from_numpy(ages[name]) for name in ages}},
            groups={
                role: torch.from_numpy(as_codes(columns[keys[role]]))
                for role in _GROUPS
                if role in keys
            },
        )


def _vectors(feature: Embedding, columns: dict[str, pa.Array]) -> torch.Tensor:
    where = place_of(feature.name, feature.column)
    return torch.from_numpy(as_vectors(columns[feature.column], feature.dim, where))


def _no_entries(num_rows: int) -> Ragged:
    none = torch.zeros(0, dtype=torch.int64)
    return Ragged(values_V=none, lengths_B=torch.zeros(num_rows, dtype=torch.int64))


def _numbers(feature: Numeric, columns: dict[str, pa.Array]) -> Floats:
    where = place_of(feature.name, feature.column)
    values = as_numbers(columns[feature.column], where)
    if feature.on_missing == "refuse" and np.isnan(values).any():
        raise DataError(
            f"{int(np.count_nonzero(np.isnan(values)))} values are missing",
            where=where,
            hint="fill them in, leave the rows out, or set `on_missing: impute`",
        )
    return values
