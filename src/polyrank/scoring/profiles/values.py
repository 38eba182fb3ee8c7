"""What of a table is counted: each feature as numbers or categories, each prediction as numbers.

Shapes: N rows, K values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.bundle.profile import Part
from polyrank.data.arrays import floats_of, is_list, lengths_of, nulls_of, plain
from polyrank.schema import Bag, Embedding, Feature, Keys, Numeric, Schema, Sequence
from polyrank.scoring.scorer import PREFIX

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """The values of one column that are there, and which rows have none."""

    name: str
    part: Part
    kind: Literal["number", "category"]
    value_K: Any
    """Float64 of numbers; an Arrow array of text of categories."""
    row_K: Ints
    """Where each stands."""
    missing_N: NDArray[np.bool_]
    compared: bool = True
    feature: str | None = None
    """The feature that has a vocabulary for them."""


def inputs_of(table: pa.Table, schema: Schema, keys: Keys | None = None) -> Iterator[Values]:
    """The features whose columns are there, but those on the side ``bias``.

    Args:
        table: In the types that a ``Reader`` gives.
        schema: Its features say what each column is.
        keys: Columns of ids that come and go; null: those of ``schema``.
    """
    keys = schema.keys if keys is None else keys
    identities = {name for name in (keys.user, keys.item, keys.request) if name is not None}
    names = set(table.column_names)
    for feature in schema.features:
        if feature.side != "bias" and feature.column in names:
            yield from _of_feature(feature, plain(table[feature.column]), identities)


def outputs_of(table: pa.Table, names: Collection[str]) -> Iterator[Values]:
    """Predictions and scores, by the columns that are there."""
    for name in names:
        if name in table.column_names:
            told = name.removeprefix(PREFIX)
            yield numbers(told, "prediction", floats_of(plain(table[name])))


def numbers(name: str, part: Part, value_N: NDArray[np.float64]) -> Values:
    """A number a row; NaN is missing."""
    missing_N = np.isnan(value_N)
    row_K = np.flatnonzero(~missing_N)
    return Values(
        name=name,
        part=part,
        kind="number",
        value_K=value_N[row_K],
        row_K=row_K,
        missing_N=missing_N,
    )


def categories(name: str, array: Any, **told: Any) -> Values:
    """An id or text a row."""
    missing_N = nulls_of(array)
    row_K = np.flatnonzero(~missing_N)
    return Values(
        name=name,
        part="input",
        kind="category",
        value_K=array.drop_null().cast(pa.large_string()),
        row_K=row_K,
        missing_N=missing_N,
        **told,
    )


def lengths(name: str, array: Any) -> Values:
    """How many values a list has."""
    length_N = np.where(nulls_of(array), np.nan, lengths_of(array).astype(np.float64))
    return numbers(f"{name} (length)", "input", length_N)


def elements(name: str, array: Any, **told: Any) -> Values:
    """The values in lists; a missing list has none."""
    length_N = np.where(nulls_of(array), 0, lengths_of(array)).astype(np.int64)
    flat = plain(array.flatten())
    row_K = np.repeat(np.arange(len(length_N)), length_N)
    present_K = ~nulls_of(flat)
    return Values(
        name=name,
        part="input",
        kind="category",
        value_K=flat.drop_null().cast(pa.large_string()),
        row_K=row_K[present_K],
        missing_N=nulls_of(array),
        **told,
    )


def _of_feature(feature: Feature, array: Any, identities: set[str]) -> Iterator[Values]:
    name = feature.name
    if isinstance(feature, Numeric):
        yield numbers(name, "input", floats_of(array))
    elif isinstance(feature, Embedding):
        yield numbers(f"{name} (length)", "input", _norms(array))
    elif isinstance(feature, Bag | Sequence):
        if not is_list(array.type):
            array = array.cast(pa.large_list(pa.large_string()))
        shared = feature.shares is not None
        yield lengths(name, array)
        yield elements(name, array, feature=name, compared=not shared)
    else:
        yield categories(name, array, feature=name, compared=feature.column not in identities)


def _norms(array: Any) -> NDArray[np.float64]:
    """Of vectors, NaN where null."""
    missing_N = nulls_of(array)
    if not is_list(array.type):
        return np.full(len(array), np.nan)
    value_K = floats_of(plain(array.flatten()))
    length_N = np.where(missing_N, 0, lengths_of(array)).astype(np.int64)
    row_K = np.repeat(np.arange(len(array)), length_N)
    square_N = np.bincount(row_K, value_K**2, minlength=len(array))
    return np.where(missing_N, np.nan, np.sqrt(square_N))
