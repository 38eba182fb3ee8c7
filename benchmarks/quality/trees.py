"""LightGBM, one model a task, on the features of a polyrank schema.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from polyrank.schema import Bag, Binary, Categorical, Duration, Numeric, Schema, Task
from polyrank.schema import Sequence as History

Floats = NDArray[np.float64]
OPEN = 1000
"""A categorical feature with more values than this in training counts as an id, and so does one
that repeats a number: with or without these is a choice of the tuning."""
MAX_ROUNDS, PATIENCE = 2000, 50


@dataclass
class Matrix:
    """The features as trees can take them, coded by what the training rows show.

    Numbers stay as they are, missing ones NaN. A categorical feature is its code, for LightGBM's
    own splits on sets of categories. A bag is one 0/1 column a tag. A history is its length and how
    often the candidate stands in it; a tree cannot take the ids of a list.
    """

    schema: Schema
    train: pa.Table
    names: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    _codes: dict[str, pa.Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {f.column for f in self.schema.features if isinstance(f, Numeric)}
        for feature in self.schema.features:
            column = self.train[feature.column]
            if isinstance(feature, Categorical):
                self._codes[feature.name] = values = pc.unique(column.drop_null())
                self.categorical.append(feature.name)
                if len(values) > OPEN or feature.column in numbers:
                    self.ids.append(feature.name)
            elif isinstance(feature, Bag):
                self._codes[feature.name] = pc.unique(pc.list_flatten(column).drop_null())

    def of(self, rows: pa.Table) -> Floats:
        """(N, C) features of ``rows``; ``names`` says which is which."""
        columns = dict(
            pair for feature in self.schema.features for pair in self._columns(feature, rows)
        )
        self.names = list(columns)
        return np.column_stack(list(columns.values()))

    def _columns(self, feature: Any, rows: pa.Table) -> Iterator[tuple[str, Floats]]:
        column = rows[feature.column].combine_chunks()
        if isinstance(feature, Numeric):
            yield feature.name, column.to_numpy(zero_copy_only=False)
        elif isinstance(feature, Categorical):
            codes = pc.index_in(column, value_set=self._codes[feature.name])
            yield feature.name, codes.cast(pa.float64()).to_numpy(zero_copy_only=False)
        elif isinstance(feature, Bag):
            yield from self._indicators(feature, column)
        elif isinstance(feature, History):
            yield from self._history(feature, column, rows)

    def _indicators(self, feature: Bag, column: Any) -> Iterator[tuple[str, Floats]]:
        parents = pc.list_parent_indices(column).to_numpy()
        flat = pc.index_in(pc.list_flatten(column), value_set=self._codes[feature.name])
        places = flat.fill_null(-1).to_numpy()
        for code, value in enumerate(self._codes[feature.name].to_pylist()):
            found = np.zeros(len(column))
            found[parents[places == code]] = 1
            yield f"{feature.name}_{value}", found

    def _history(
        self, feature: History, column: Any, rows: pa.Table
    ) -> Iterator[tuple[str, Floats]]:
        lengths = pc.list_value_length(column).fill_null(0)
        yield f"{feature.name}_length", lengths.cast(pa.float64()).to_numpy()
        target = rows[self.schema.feature(feature.target).column].combine_chunks()
        parents = pc.list_parent_indices(column)
        same = pc.equal(pc.list_flatten(column), target.take(parents)).fill_null(False)
        times = np.bincount(
            parents.to_numpy()[same.to_numpy(zero_copy_only=False)], minlength=len(column)
        )
        yield f"{feature.name}_has_it", times.astype(np.float64)


Settings = Mapping[str, Any]


def grid(task: Task, *, has_ids: bool) -> list[Settings]:
    """What tuning tries."""
    ids = (False, True) if has_ids else (True,)
    objectives = ["binary"] if isinstance(task, Binary) else ["l1", "l2"]
    return [
        {"objective": o, "num_leaves": n, "learning_rate": r, "min_child_samples": m, "with_ids": i}
        for o, n, r, m, i in itertools.product(
            objectives, (15, 31, 63), (0.03, 0.1), (20, 100), ids
        )
        if not (isinstance(task, Duration) and m == 100)
    ]


@dataclass(frozen=True)
class Labelled:
    """Features and, by task, labels and masks."""

    x_NC: Floats
    labels: Mapping[str, Floats]
    masks: Mapping[str, NDArray[np.bool_]]

    def of(self, task: Task, columns: Sequence[int]) -> tuple[Floats, Floats]:
        """The observed rows of a task; durations on log(1 + seconds), as polyrank's head."""
        mask = self.masks[task.name]
        y_N = self.labels[task.name][mask]
        if isinstance(task, Duration):
            y_N = np.log1p(y_N * task.seconds_per_unit)
        return self.x_NC[mask][:, columns], y_N


def fit(
    task: Task, settings: Settings, matrix: Matrix, train: Labelled, held: Labelled, *, seed: int
) -> tuple[lgb.Booster, list[int]]:
    """One model, stopped early on ``held``; with the columns it reads."""
    columns = [
        place
        for place, name in enumerate(matrix.names)
        if settings["with_ids"] or name not in matrix.ids
    ]
    names = [matrix.names[place] for place in columns]
    binary = isinstance(task, Binary)
    parameters = {
        "objective": settings["objective"],
        "metric": ["auc"] if binary else [settings["objective"]],
        "num_leaves": settings["num_leaves"],
        "learning_rate": settings["learning_rate"],
        "min_child_samples": settings["min_child_samples"],
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "verbosity": -1,
    }
    categorical = [name for name in names if name in matrix.categorical]
    make = {"feature_name": names, "categorical_feature": categorical}
    first = lgb.Dataset(*train.of(task, columns), **make)
    second = lgb.Dataset(*held.of(task, columns), reference=first, **make)
    booster = lgb.train(
        parameters,
        first,
        num_boost_round=MAX_ROUNDS,
        valid_sets=[second],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return booster, columns


def predict(task: Task, booster: lgb.Booster, columns: Sequence[int], x_NC: Floats) -> Floats:
    """(N,) probabilities, or durations in the label's unit."""
    predicted: Floats = np.asarray(booster.predict(x_NC[:, columns], num_threads=1))
    if isinstance(task, Duration):
        return np.expm1(np.maximum(predicted, 0.0)) / task.seconds_per_unit
    return predicted
