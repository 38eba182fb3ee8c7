"""Features: what the model may know before the impression.

Every feature is one class with a ``kind``; ``side`` says whose it is, so that scoring can compute
the user's part once a request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from polyrank.schema.model import Column, Declared, Name

Side = Literal["user", "item", "context", "bias"]
"""``bias`` says how a row was shown (position, device): only bias models read it, in training."""


class _Feature(Declared):
    """What all features share."""

    name: Name
    """How the feature is addressed; also its column, unless ``column`` says otherwise."""
    column: Column = ""
    """The column of the log (or of a joined side table) that holds it."""
    side: Side = "context"
    """Whose feature it is."""
    missing_values: tuple[int | float | str, ...] = ()
    """Values that stand for missing, beside null and NaN (KuaiRand writes -124)."""

    @model_validator(mode="before")
    @classmethod
    def _column_is_name(cls, tree: object) -> object:
        if isinstance(tree, dict) and "column" not in tree and "name" in tree:
            return {**tree, "column": tree["name"]}
        return tree


class _Vocabulary(_Feature):
    """Features made of ids. Ids are int64 or strings, never floats."""

    min_frequency: PositiveInt = 2
    """Ids seen fewer times in the training split share the out-of-vocabulary row."""
    max_size: PositiveInt | None = None
    """Keep only that many of the most frequent ids; null keeps all."""
    buckets: Annotated[int, Field(ge=2)] | None = None
    """Hash ids into that many rows and keep no vocabulary: for open vocabularies."""

    @model_validator(mode="after")
    def _one_way(self) -> _Vocabulary:
        if self.buckets is not None and self.max_size is not None:
            raise ValueError("`buckets` and `max_size` exclude each other: a hash keeps no list")
        return self


class Categorical(_Vocabulary):
    """One id a row."""

    kind: Literal["categorical"] = "categorical"


class Numeric(_Feature):
    """One number a row, scaled by what the training split shows.

    ``quantile`` maps to the normal score of the empirical quantile, within [-3, 3]; ``log`` to the
    standardised sign(x) log(1 + |x|), within [-10, 10]; ``standard`` to zero mean and unit
    variance, within [-10, 10]; ``none`` leaves it; ``bins`` learns one embedding for each of
    ``num_bins`` quantile bins. A missing value is imputed by the training median and, if any was
    missing in training, flagged in a column of its own (in ``bins``: a bin of its own).
    """

    kind: Literal["numeric"] = "numeric"
    scaling: Literal["quantile", "log", "standard", "none", "bins"] = "quantile"
    num_bins: Annotated[int, Field(ge=2, le=4096)] = 32
    """Quantile bins with ``scaling: bins``."""
    on_missing: Literal["impute", "refuse"] = "impute"
    """What null and NaN mean: a value of their own, or a row to refuse. Infinity is refused."""


class Bag(_Vocabulary):
    """Several ids a row, without order, averaged: tags, genres."""

    kind: Literal["bag"] = "bag"
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Splits a string column; null expects a list column."""
    shares: Name | None = None
    """A categorical feature whose vocabulary and table rows this one uses."""
    max_length: PositiveInt = 32
    """Ids beyond the first ``max_length`` are dropped."""


class Sequence(_Feature):
    """Ordered ids, oldest first, that share the table of a categorical feature: a watch history."""

    kind: Literal["sequence"] = "sequence"
    shares: Name
    """The categorical feature whose vocabulary and table rows this one uses."""
    pooling: Literal["mean", "attention"] = "mean"
    """``attention``: target attention as in DIN (Zhou et al., KDD 2018, eq. 3)."""
    target: Name = ""
    """With ``attention``: the categorical feature that asks; defaults to ``shares``."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Splits a string column; null expects a list column."""
    max_length: PositiveInt = 50
    """The newest ``max_length`` ids are kept."""

    @model_validator(mode="before")
    @classmethod
    def _target_is_shared(cls, tree: object) -> object:
        if isinstance(tree, dict) and "target" not in tree and "shares" in tree:
            return {**tree, "target": tree["shares"]}
        return tree


class Embedding(_Feature):
    """A vector computed elsewhere: a fixed number of floats a row. Null is the zero vector."""

    kind: Literal["embedding"] = "embedding"
    dim: PositiveInt
    """Length of the vector."""


Feature = Annotated[Categorical | Numeric | Bag | Sequence | Embedding, Field(discriminator="kind")]


class SideTable(Declared):
    """A table with one row a key, joined to the log from the left. Its path is configuration."""

    name: Name
    on: Column
    """The key column of the log."""
    key: Column = ""
    """The key column of the table; defaults to ``on``."""
    prefix: str = ""
    """Put before each column of the table, where its names clash with the log's."""

    @model_validator(mode="before")
    @classmethod
    def _key_is_on(cls, tree: object) -> object:
        if isinstance(tree, dict) and "key" not in tree and "on" in tree:
            return {**tree, "key": tree["on"]}
        return tree


class Keys(Declared):
    """Columns that identify a row; null where the log has none."""

    user: Column | None = None
    item: Column | None = None
    request: Column | None = None
    """The list a candidate was ranked in."""
    time: Column | None = None
    """When the impression happened: an integer, a date or a timestamp; its order is what counts."""
    position: Column | None = None
    """Rank in the shown list, from 1."""
    propensity: Column | None = None
    """Probability with which the logging policy showed this row, in (0, 1]."""
    weight: Column | None = None
    """Weight of the row, at least 0."""

    def named(self) -> dict[str, str]:
        """The keys the log has: role to column."""
        return {role: column for role, column in self if column is not None}


class Deduplicate(Declared):
    """What to do with rows that repeat the same columns."""

    columns: tuple[Column, ...] = ()
    """The columns that identify an impression; empty: all columns read."""
    keep: Literal["first", "error"] = "first"
    window: NonNegativeInt = 0
    """Rows to look back; 0 compares the whole log."""

    @field_validator("columns")
    @classmethod
    def _unique(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) != len(columns):
            raise ValueError("`columns` names a column twice")
        return columns
