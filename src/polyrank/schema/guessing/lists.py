"""Several ids a row: lists, and strings that a separator divides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from polyrank.schema.guessing import vocabulary
from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.profile import Profile

_SEPARATORS = ("|", ";", ",", " ")
_MAX_LOOKED_AT = 20_000
"""Different strings and rows looked at: enough to know."""
_MIN_SHARE_SPACED = 0.5
"""Share of strings that a space must divide: titles and names hold spaces, too."""

_MIN_OVERLAP = 0.5
"""Share of known ids from which a past repeats another feature."""
_MIN_ITEMS = 0.1
"""The same for the item's id, of which a sample shows only some."""


@dataclass(frozen=True)
class Ids:
    """The ids of a column that holds several a row."""

    counts: Counter[str]
    """Rows (or strings) by id, ids as text."""
    longest: int
    separator: str | None


def ids_of(profile: Profile) -> Ids | None:
    """The ids in ``profile``; None if it holds one value a row."""
    if profile.kind == "list":
        flat = profile.values.flatten().drop_null()
        longest = int(pc.max(pc.list_value_length(profile.values)).as_py() or 0)
        return Ids(Counter(map(str, flat[: 50 * _MAX_LOOKED_AT].to_pylist())), longest, None)
    if profile.kind != "text" or profile.distinct < 2:
        return None
    strings = profile.uniques[:_MAX_LOOKED_AT]
    return next((ids for sep in _SEPARATORS if (ids := _divided(strings, sep))), None)


def is_json(profile: Profile) -> bool:
    """Whether the strings are JSON lists or mappings."""
    strings = [value.strip() for value in profile.uniques[:_MAX_LOOKED_AT] if value.strip()]
    return bool(strings) and all(re.fullmatch(r"\[.*\]|\{.*\}", s, re.DOTALL) for s in strings)


def _divided(strings: list[str], separator: str) -> Ids | None:
    """The ids that ``separator`` divides ``strings`` into, if they recur as ids would.

    Words of a phrase and ends of a range ("(0,10]") hardly recur: there are about as many
    different parts as strings.
    """
    is_space = separator == " "
    divided = sum(separator in value for value in strings)
    if divided < max(2, len(strings) * (_MIN_SHARE_SPACED if is_space else 0.02)):
        return None
    spaced = f"{separator} "
    if not is_space and all(v.count(separator) == v.count(spaced) for v in strings):
        separator = spaced
    parts = [[part for part in value.split(separator) if part.strip()] for value in strings]
    counts = Counter(part for row in parts for part in row)
    if len(counts) >= (0.5 if is_space else 0.8) * len(strings):
        return None
    return Ids(counts, max(map(len, parts)), separator)


def best_match(
    name: str, ids: Ids, vocabularies: Mapping[str, frozenset[str]], item: str | None
) -> str | None:
    """The categorical feature whose ids a column named after a past repeats.

    A feature that the name tells of comes first; else it is the item, unless the name tells of
    one of the item's traits.

    Args:
        name: Of the column.
        ids: What it holds.
        vocabularies: Ids of each categorical feature, as text.
        item: The feature that is the item's id.
    """
    said = _singular(tell.words(name))
    shares = {feature: overlap(ids, known) for feature, known in vocabularies.items()}
    named = [
        feature
        for feature, share in shares.items()
        if feature != item and share >= _MIN_OVERLAP and _subject(feature) & said
    ]
    if named:
        return max(named, key=lambda feature: shares[feature])
    is_trait = bool(said & _singular(vocabulary.ITEM_TRAITS))
    return item if item and shares[item] >= _MIN_ITEMS and not is_trait else None


def is_vocabulary_of(ids: Ids, known: frozenset[str]) -> bool:
    """Whether the ids are so many, and so often known ones, that chance is no explanation."""
    return len(ids.counts) >= 100 and overlap(ids, known) >= 0.8


def overlap(ids: Ids, known: frozenset[str]) -> float:
    """The share of the different ids that are ``known``."""
    return sum(part in known for part in ids.counts) / max(len(ids.counts), 1)


def _subject(feature: str) -> frozenset[str]:
    """What the ids of ``feature`` identify: author_id and item_author are about authors."""
    general = {*vocabulary.ID_MARKS, *vocabulary.USER, *vocabulary.ITEM}
    return _singular(word for word in tell.words(feature) if word not in general)


def _singular(said: Iterable[str]) -> frozenset[str]:
    """Words without their plural."""
    return frozenset(re.sub(r"ies$", "y", word).removesuffix("s") for word in said)
