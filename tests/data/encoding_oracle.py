"""A second, slow implementation of the encoders, in plain Python and from the documentation alone.

Tables are lists of rows here, a row a dict of Python values.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Keys,
    Numeric,
    Regression,
    Schema,
    Task,
)
from polyrank.schema import Sequence as Watched

Row = dict[str, Any]
WORD = 2**64

SCHEMA = Schema(
    features=(
        Categorical(name="item", side="item", min_frequency=2),
        Numeric(name="age", side="user", scaling="bins", num_bins=4),
        Categorical(name="city", side="user", min_frequency=1, max_size=3),
        Categorical(name="query", buckets=5),
        Categorical(name="code", buckets=3),
        Bag(name="tags", min_frequency=1, max_length=2),
        Bag(name="similar", shares="item", max_length=2),
        Watched(name="watched", shares="item", pooling="attention", max_length=3),
        Numeric(name="rank", scaling="quantile"),
        Numeric(name="price", scaling="log"),
        Numeric(name="length", scaling="standard"),
        Numeric(name="raw", scaling="none"),
        Embedding(name="image", dim=2),
    ),
    tasks=(
        Binary(name="click"),
        Binary(name="buy", within="click", mask="buy_known"),
        Binary(name="vote", positive=("up", "top")),
        Duration(name="seen", unit="ms", within="buy"),
        Regression(name="stars"),
    ),
    keys=Keys(user="user", request="request", weight="weight"),
)

IDS = pa.large_list(pa.int64())
TYPES: dict[str, pa.DataType] = {
    "item": pa.int64(),
    "age": pa.float64(),
    "city": pa.large_string(),
    "query": pa.large_string(),
    "code": pa.int64(),
    "tags": pa.large_list(pa.large_string()),
    "similar": IDS,
    "watched": IDS,
    "rank": pa.float64(),
    "price": pa.float64(),
    "length": pa.float64(),
    "raw": pa.float64(),
    "image": pa.list_(pa.float32(), 2),
    "click": pa.float64(),
    "buy": pa.float64(),
    "buy_known": pa.float64(),
    "vote": pa.large_string(),
    "seen": pa.float64(),
    "stars": pa.float64(),
    "user": pa.large_string(),
    "request": pa.int64(),
    "weight": pa.float64(),
}


ANCHOR: Row = {
    **dict.fromkeys(TYPES),
    "item": 7,
    "click": 1.0,
    "buy": 1.0,
    "buy_known": 1.0,
    "vote": "up",
    "seen": 2500.0,
    "stars": 4.0,
    "user": "u1",
    "request": 0,
    "weight": 1.0,
}
ROWS: list[Row] = [
    {
        **ANCHOR,
        "item": n % 4,
        "city": f"city {n % 3} \U0001f600",
        "query": f"q{n}",
        "code": n,
        "tags": ["new", f"tag {n % 2}"],
        "age": float(n),
        "rank": n / 3,
        "price": None if n == 3 else 2.0**n,
        "length": float(n * n),
        "raw": float(n),
    }
    for n in range(12)
]


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as a canonical table."""
    columns = [pa.array([row[name] for row in rows], TYPES[name]) for name in TYPES]
    return pa.table(columns, names=list(TYPES))


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def mix(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) % WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def hash_id(value: int | str | bytes, key: int) -> int:
    if isinstance(value, int):
        return mix(mix(value % WORD ^ key) ^ key)
    text = value.encode() if isinstance(value, str) else value
    state = mix(len(text) ^ key)
    if len(text) > 128:
        return mix(state ^ digest(text) ^ key)
    for start in range(0, len(text), 8):
        state = mix(state ^ int.from_bytes(text[start : start + 8], "little"))
    return mix(state ^ key)


@dataclass
class Vocabulary:
    ids: list[Any]

    @classmethod
    def of(cls, values: Sequence[Any], least: int, most: int | None) -> Vocabulary:
        def sortable(value: Any) -> Any:
            return value.encode() if isinstance(value, str) else value

        counts = Counter(value for value in values if value is not None)
        kept = [value for value, count in counts.items() if count >= least]
        kept.sort(key=lambda value: (-counts[value], sortable(value)))
        return cls(kept[:most])

    @property
    def num_rows(self) -> int:
        return 2 + len(self.ids)

    def row(self, value: Any) -> int:
        if value is None:
            return 0
        return 2 + self.ids.index(value) if value in self.ids else 1


@dataclass
class Buckets:
    name: str
    size: int
    seed: int

    @property
    def num_rows(self) -> int:
        return 1 + self.size

    def row(self, value: Any) -> int:
        key = digest(f"str:buckets\0int:{self.seed}\0str:{self.name}".encode())
        return 0 if value is None else 1 + hash_id(value, key) % self.size


@dataclass
class Number:
    feature: Numeric
    values: list[float]
    had_missing: bool

    @property
    def bounds(self) -> list[float]:
        """Where each bin but the first begins."""
        ordered, bins = sorted(self.values), self.feature.num_bins
        starts = {ordered[place * len(ordered) // bins] for place in range(1, bins) if ordered}
        return sorted(start for start in starts if start > ordered[0])

    def bin(self, value: Any) -> int:
        return 0 if missing(value) else 1 + sum(bound <= value for bound in self.bounds)

    def scale(self, value: Any) -> float:
        median = statistics.median(self.values) if self.values else 0.0
        value = median if missing(value) else value
        if self.feature.scaling == "none":
            return float(value)
        if self.feature.scaling == "quantile":
            return self._score(value)
        before = _sign_log if self.feature.scaling == "log" else float
        return _standard([before(known) for known in self.values], before(value))

    def _score(self, value: float) -> float:
        """Linear between the normal scores of the values seen, flat outside."""
        points = [(known, self._normal(known)) for known in sorted(set(self.values))]
        if not points:
            return 0.0
        below = [point for point in points if point[0] <= value]
        above = [point for point in points if point[0] > value]
        if not below or not above:
            return (below[-1] if below else above[0])[1]
        (left, low), (right, high) = below[-1], above[0]
        return low + (high - low) * (value - left) / (right - left)

    def _normal(self, value: float) -> float:
        less = sum(other < value for other in self.values)
        equal = sum(other == value for other in self.values)
        quantile = (less + equal / 2) / len(self.values)
        return min(3.0, max(-3.0, statistics.NormalDist().inv_cdf(quantile)))


def _sign_log(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


def _standard(values: Sequence[float], value: float) -> float:
    if not values:
        return min(10.0, max(-10.0, value))
    spread = statistics.pstdev(values) if len(set(values)) > 1 else 1.0
    return min(10.0, max(-10.0, (value - statistics.fmean(values)) / spread))


def observed(rows: Sequence[Row], task: Task) -> list[bool]:
    """Where the label counts."""

    def one(row: Row, name: str) -> bool:
        other = SCHEMA.task(name)
        return own(row, other) and label(row, other) == 1

    def own(row: Row, other: Task) -> bool:
        known = other.mask is None or row[other.mask] == 1
        return known and not missing(row[other.label])

    return [
        own(row, task) and all(one(row, parent) for parent in SCHEMA.space(task.name))
        for row in rows
    ]


def label(row: Row, task: Task) -> float:
    value = row[task.label]
    if isinstance(task, Binary) and task.positive:
        return float(value in task.positive)
    return float(value)


@dataclass
class Oracle:
    """Fitted on the rows when it is made."""

    rows: Sequence[Row]
    seed: int = 0
    tables: dict[str, Vocabulary | Buckets] = field(init=False, default_factory=dict)
    numbers: dict[str, Number] = field(init=False, default_factory=dict)
    offsets: dict[str, int] = field(init=False, default_factory=dict)
    num_rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for feature in SCHEMA.features:
            self._fit(feature)

    def _fit(self, feature: Any) -> None:
        column = [row[feature.column] for row in self.rows]
        if isinstance(feature, Categorical | Bag) and not getattr(feature, "shares", None):
            if isinstance(feature, Bag):
                column = [value for ids in column for value in (ids or [])[: feature.max_length]]
            self._add(feature.name, self._table(feature, column))
        elif isinstance(feature, Numeric):
            known = [value for value in column if not missing(value)]
            number = Number(feature, known, any(missing(value) for value in column))
            self.numbers[feature.name] = number
            if feature.scaling == "bins":
                self.offsets[feature.name] = self.num_rows
                self.num_rows += 2 + len(number.bounds)

    def _table(self, feature: Any, values: Sequence[Any]) -> Vocabulary | Buckets:
        if feature.buckets is not None:
            return Buckets(feature.name, feature.buckets, self.seed)
        return Vocabulary.of(values, feature.min_frequency, feature.max_size)

    def _add(self, name: str, table: Vocabulary | Buckets) -> None:
        self.tables[name] = table
        self.offsets[name] = self.num_rows
        self.num_rows += table.num_rows

    def ids(self, row: Row) -> list[int]:
        """The row's table rows, a column each."""
        found = []
        for feature in SCHEMA.features:
            value = row[feature.column]
            if isinstance(feature, Categorical):
                found.append(self.offsets[feature.name] + self.tables[feature.name].row(value))
            elif isinstance(feature, Numeric) and feature.scaling == "bins":
                number = self.numbers[feature.name]
                found.append(self.offsets[feature.name] + number.bin(value))
        return found

    def numerics(self, row: Row) -> list[float]:
        """The row's numbers, each with its flag."""
        found = []
        for name, number in self.numbers.items():
            if number.feature.scaling != "bins":
                flag = [float(missing(row[name]))] if number.had_missing else []
                found += [number.scale(row[name]), *flag]
        return found

    def ragged(self, row: Row, name: str) -> list[int]:
        """The table rows of a bag or a sequence."""
        feature = SCHEMA.feature(name)
        assert isinstance(feature, Bag | Watched)
        ids = row[feature.column] or []
        length = feature.max_length
        ids = ids[-length:] if isinstance(feature, Watched) else ids[:length]
        owner = feature.shares or feature.name
        return [self.offsets[owner] + self.tables[owner].row(value) for value in ids]

    def stats(self, name: str) -> tuple[float, float, int]:
        """Mean, deviation and count of a task's label as its head sees it."""
        task = SCHEMA.task(name)
        space: Callable[[float], float] = float
        if isinstance(task, Duration):
            scale = task.seconds_per_unit

            def space(value: float) -> float:
                return math.log1p(value * scale)

        seen = observed(self.rows, task)
        pairs = [
            (space(label(row, task)), row["weight"])
            for row, counts in zip(self.rows, seen, strict=True)
            if counts and row["weight"] > 0
        ]
        total = math.fsum(weight for _, weight in pairs)
        mean = math.fsum(value * weight for value, weight in pairs) / total
        variance = math.fsum(weight * (value - mean) ** 2 for value, weight in pairs) / total
        constant = len({value for value, _ in pairs}) == 1
        return mean, 1.0 if constant else math.sqrt(variance), len(pairs)
