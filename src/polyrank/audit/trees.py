"""The encoded rows as LightGBM takes them, and one of its models.

Shapes: N rows, C columns, V ids in all rows of a ragged feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polyrank.audit.thinning import thinned_rows
from polyrank.data import Batch, EncodedLog, Encoders, Ragged, in_unit, values_observed
from polyrank.schema import Bag, Binary, Duration, Numeric, Regression, Schema, Task
from polyrank.schema import Sequence as History

MOST_ROWS = 1_000_000
"""Of training and of validation."""
OPEN = 1000
"""A categorical feature with more ids than this may be left out."""
MOST_TAGS = 100
"""Of a bag, those that get a column of their own: the most frequent ones."""
ROUNDS, PATIENCE = 2000, 50

Floats = NDArray[np.float64]
Narrow = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What stands where in (N, C)."""

    names: tuple[str, ...]
    categorical: frozenset[str]
    """Codes without an order."""
    open: frozenset[str]
    """Of these, those with more than ``OPEN`` ids."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Features and labels of a part."""

    columns: Columns
    x_NC: Narrow
    labels: Mapping[str, Floats]
    """(N,) by task, in its unit."""
    weights: Mapping[str, Floats]
    """(N,) by task, 0 where the label was not observed."""
    whole: bool
    """Whether no row was left out."""

    def of(self, task: str) -> tuple[Floats, Floats]:
        """The labels and weights of a task's observed rows."""
        there_N = self.weights[task] > 0
        return self.labels[task][there_N], self.weights[task][there_N]


def known_rows(
    log: EncodedLog,
    schema: Schema,
    encoders: Encoders,
    *,
    features: bool = True,
    thinned: bool = True,
) -> Known:
    """The rows of a log.

    Args:
        log: The part.
        schema: Its tasks.
        encoders: They say which id is which.
        features: Without, there are no columns.
        thinned: Take ``MOST_ROWS`` at most, evenly.
    """
    blocks, labels, weights = [], [], []
    for taken in thinned_rows(log, MOST_ROWS if thinned else None):
        named = dict(_columns(taken, schema, encoders)) if features else {}
        block_CN = [np.asarray(values, dtype=np.float32) for values in named.values()]
        blocks.append(np.column_stack([np.zeros((len(taken), 0), dtype=np.float32), *block_CN]))
        label_NT, weight_NT = _labels(taken, schema)
        labels.append(label_NT)
        weights.append(weight_NT)
    by_task = zip(schema.task_names, np.concatenate(labels).T, strict=True)
    weighed = zip(schema.task_names, np.concatenate(weights).T, strict=True)
    return Known(
        columns=_described(tuple(named), schema, encoders),
        x_NC=np.concatenate(blocks),
        labels=dict(by_task),
        weights=dict(weighed),
        whole=not thinned or log.num_rows <= MOST_ROWS,
    )


def _labels(batch: Batch, schema: Schema) -> tuple[Floats, Floats]:
    assert batch.labels_BT is not None, "an encoded log carries labels"
    assert batch.weight_B is not None, "an encoded log carries weights"
    columns = zip(schema.tasks, batch.labels_BT.numpy().T, strict=True)
    labels_NT = np.stack([in_unit(task, label_N) for task, label_N in columns], axis=1)
    seen_NT = values_observed(batch, schema)
    return labels_NT, np.where(seen_NT, batch.weight_B.double().numpy()[:, None], 0.0)


def _columns(batch: Batch, schema: Schema, encoders: Encoders) -> Iterator[tuple[str, Any]]:
    """What the network reads, but for the side ``bias``."""
    layout, features = encoders.layout, {feature.name: feature for feature in schema.features}
    for place, column in enumerate(layout.ids):
        if column.side != "bias":
            yield column.name, batch.ids_BF[:, place].numpy() - encoders.rows[column.name].start
    for place, number in enumerate(layout.numerics):
        if number.side != "bias":
            yield number.name, batch.numeric_BN[:, place].numpy()
    for ragged in layout.ragged:
        lists, rows = batch.ragged[ragged.name], encoders.rows[ragged.name]
        yield f"{ragged.name}: length", lists.lengths_B.numpy()
        feature = features[ragged.name]
        if isinstance(feature, Bag):
            yield from _tags(ragged.name, lists, rows)
        elif isinstance(feature, History) and encoders.rows.get(feature.target) == rows:
            asked = [column.name for column in layout.ids].index(feature.target)
            yield f"{ragged.name}: has it", _times(lists, batch.ids_BF[:, asked])
    for vector in layout.vectors:
        for place in range(vector.dim):
            yield f"{vector.name}: {place}", batch.vectors[vector.name][:, place].numpy()


def _owners(lists: Ragged) -> NDArray[np.int64]:
    """(V,): the row of each id."""
    lengths = lists.lengths_B.numpy()
    return np.repeat(np.arange(len(lengths)), lengths)


def _tags(name: str, lists: Ragged, rows: range) -> Iterator[tuple[str, Narrow]]:
    codes_V, owner_V = lists.values_V.numpy() - rows.start, _owners(lists)
    for code in range(min(len(rows), MOST_TAGS)):
        found_N = np.zeros(len(lists.lengths_B), dtype=np.float32)
        found_N[owner_V[codes_V == code]] = 1.0
        yield f"{name}: {code}", found_N


def _times(lists: Ragged, asked_N: torch.Tensor) -> Floats:
    """How often the candidate stands in the list."""
    owner_V = _owners(lists)
    same_V = lists.values_V.numpy() == asked_N.numpy()[owner_V]
    return np.bincount(owner_V[same_V], minlength=len(asked_N)).astype(np.float64)


def _described(names: tuple[str, ...], schema: Schema, encoders: Encoders) -> Columns:
    bins = {feature.name for feature in schema.features if isinstance(feature, Numeric)}
    ids = {column.name for column in encoders.layout.ids} - bins
    return Columns(
        names=names,
        categorical=frozenset(name for name in names if name in ids),
        open=frozenset(n for n in names if n in ids and len(encoders.rows[n]) > OPEN),
    )


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One model."""

    booster: Any
    places: Sequence[int]
    """The columns that it reads."""
    rounds: int
    score: float
    """Its loss on validation."""
    without_ids: bool


def fit(task: Task, places: Sequence[int], train: Known, held: Known, *, seed: int) -> Fitted:
    """One model, ended early by ``held``."""
    import lightgbm as lgb

    names = [f"c{place}" for place in places]  # LightGBM refuses some signs in names
    columns = train.columns
    categorical = [f"c{place}" for place in places if columns.names[place] in columns.categorical]
    objective = _objective(task)
    parameters = {
        "objective": objective,
        "metric": ["binary_logloss" if objective == "binary" else objective],
        "num_leaves": 31,
        "learning_rate": 0.05,
        "min_child_samples": 20,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "verbosity": -1,
    }
    make: dict[str, Any] = {"feature_name": names, "categorical_feature": categorical}
    first = lgb.Dataset(**_observed(task, train, places), **make)
    second = lgb.Dataset(**_observed(task, held, places), reference=first, **make)
    booster = lgb.train(
        parameters,
        first,
        num_boost_round=ROUNDS,
        valid_sets=[second],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    (score,) = booster.best_score["valid_0"].values()
    read = {columns.names[place] for place in places}
    return Fitted(
        booster=booster,
        places=places,
        rounds=booster.best_iteration,
        score=float(score),
        without_ids=not columns.open <= read,
    )


def _objective(task: Task) -> str:
    if isinstance(task, Binary):
        return "binary"
    return "l1" if isinstance(task, Duration | Regression) else "l2"


def _observed(task: Task, known: Known, places: Sequence[int]) -> dict[str, Any]:
    there_N = known.weights[task.name] > 0
    labels_N, weights_N = known.of(task.name)
    if isinstance(task, Duration):
        labels_N = np.log1p(labels_N * task.seconds_per_unit)
    return {"data": known.x_NC[there_N][:, places], "label": labels_N, "weight": weights_N}


def predict(task: Task, fitted: Fitted, x_NC: Narrow) -> Floats:
    """(N,) probabilities, as if no negative had been dropped, or values in the label's unit."""
    found: Any = fitted.booster.predict(x_NC[:, fitted.places], num_threads=1)
    found_N = np.asarray(found, dtype=np.float64)
    if isinstance(task, Binary):
        return found_N * task.keep_rate / (found_N * task.keep_rate + 1.0 - found_N)
    if isinstance(task, Duration):
        return np.expm1(np.maximum(found_N, 0.0)) / task.seconds_per_unit
    return found_N
