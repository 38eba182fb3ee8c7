"""Features: what can be made of a column that was known before the impression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from polyrank.schema.features import (
    Bag,
    Categorical,
    Embedding,
    Feature,
    Numeric,
    Sequence,
    Side,
)
from polyrank.schema.guessing import lists
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.sentinels import missing_values

MAX_CODES = 64
"""Different whole numbers up to which they are codes, where the name says nothing."""
HASHED = 10**9
"""Whole numbers above are hashes or ids, where the name says nothing."""
MANY_IDS = 1_000
"""Different ids from which a feature is of high cardinality."""
FREE_TEXT = 0.5
"""Different strings a row from which a column is free text."""


@dataclass(frozen=True)
class Scene:
    """What the other columns say to the one a feature is made of."""

    num_rows: int
    """Rows of the log."""
    vocabularies: Mapping[str, frozenset[str]]
    """Ids of each categorical feature that stands so far, as text."""
    item: str | None
    """The feature that is the item's id."""


Made = tuple[Feature, str] | str
"""A feature and why it is of this kind; or why there is none."""


def make_feature(profile: Profile, column: str, name: str, side: Side, scene: Scene) -> Made:
    """The feature of ``profile``.

    Args:
        profile: Its values.
        column: What it is called once its table is joined.
        name: What the feature is to be called.
        side: Whose it is.
        scene: What else is known.
    """
    common: dict[str, Any] = {"name": name, "column": column, "side": side}
    if profile.kind == "vector":
        width = int(pc.max(pc.list_value_length(profile.values)).as_py())
        return Embedding(**common, dim=width), f"Vectors of {width} floats"
    is_code = profile.kind in ("integer", "text") and not _is_amount(profile)
    if is_code and profile.all_differ:
        return "Every row has a value of its own: an id of the row."
    if profile.kind == "text" and lists.is_json(profile):
        return "It is JSON in text; write it as a list column."
    ids = lists.ids_of(profile)
    if ids is not None:
        return _several(profile, ids, common, scene)
    if profile.kind == "text":
        return _text(profile, common, scene)
    if profile.kind == "number":
        return _real(profile, common)
    return _whole(profile, common, scene)


def id_feature(profile: Profile, common: dict[str, Any], num_rows: int) -> Categorical:
    """A categorical feature; of high cardinality, its rarest ids share a row."""
    least = min_frequency(profile, num_rows)
    rare: dict[str, Any] = {} if least is None else {"min_frequency": least}
    return Categorical(**common, **rare, missing_values=missing_values(profile))


def min_frequency(profile: Profile, num_rows: int) -> int | None:
    """5 where ids are many but mostly frequent, 10 in a log of 10 million rows; None: default."""
    if profile.distinct < MANY_IDS or profile.rows < 10 * profile.distinct:
        return None
    return 10 if num_rows >= 10_000_000 else 5


def _several(profile: Profile, ids: lists.Ids, common: dict[str, Any], scene: Scene) -> Made:
    matched = lists.best_match(profile.name, ids, scene.vocabularies, scene.item)
    how = "" if ids.separator is None else f", divided by {ids.separator!r}"
    is_past = tell.is_sequence(profile.name) and matched is not None
    if not is_past and scene.item is not None:
        is_past = lists.is_vocabulary_of(ids, scene.vocabularies[scene.item])
        matched = scene.item if is_past else matched
    if is_past and matched is not None:
        sequence = Sequence(**common, shares=matched, pooling="attention", separator=ids.separator)
        return sequence, f"Ids of {matched!r}, read as a past, oldest first{how}"
    length: dict[str, Any] = {} if ids.longest <= 32 else {"max_length": min(ids.longest, 128)}
    return Bag(**common, **length, separator=ids.separator), f"Several values a row{how}"


def _text(profile: Profile, common: dict[str, Any], scene: Scene) -> Made:
    is_free = profile.rows >= 20 and profile.distinct > FREE_TEXT * profile.rows
    if is_free and not tell.is_id(profile.name):
        return "It is free text, or an id of the row: most rows have a value of their own."
    return (
        id_feature(profile, common, scene.num_rows),
        f"Text with {profile.distinct:,} different values",
    )


def _whole(profile: Profile, common: dict[str, Any], scene: Scene) -> Made:
    if profile.kind == "boolean":
        return Categorical(**common), "Yes or no"
    if _is_amount(profile):
        return _amount(profile, common)
    return (
        id_feature(profile, common, scene.num_rows),
        f"Whole numbers with {profile.distinct:,} different values, read as codes",
    )


def _is_amount(profile: Profile) -> bool:
    if profile.kind != "integer" or profile.distinct <= 2:
        return False
    named = tell.is_measured(profile.name)
    if named is not None:
        return named
    low, high = int(profile.numbers.min()), int(profile.numbers.max())
    is_dense = profile.distinct > 0.5 * (high - low + 1)
    are_many = profile.distinct > MAX_CODES or profile.all_differ
    return are_many and not is_dense and max(abs(low), abs(high)) < HASHED


def _amount(profile: Profile, common: dict[str, Any]) -> Made:
    missing = missing_values(profile)
    numbers = profile.numbers[~np.isin(profile.numbers, np.asarray(missing))]
    zeros, largest = float((numbers == 0).mean()), float(numbers.max())
    if numbers.min() >= 0 and largest >= 1_000 and zeros > 0.5:
        why = f"Counts up to {largest:,.0f}, most of them 0"
        return Numeric(**common, scaling="log", missing_values=missing), why
    return Numeric(**common, missing_values=missing), "Whole numbers, read as amounts"


def _real(profile: Profile, common: dict[str, Any]) -> Made:
    missing = missing_values(profile)
    if profile.is_whole and tell.is_id(profile.name):
        return "It is an id stored as floats, which hold no large ids; cast it to int64."
    return Numeric(**common, missing_values=missing), "Real numbers"
