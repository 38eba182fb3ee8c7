"""How a log is divided into training, validation and test.

Validation chooses, test is read once; what the model learns from comes before what it is judged
on. So the split by time is the honest one for a log with times; the split by user asks how the
model does on people it has never seen; the random split is for logs without either.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, field_validator, model_validator

from polyrank.data.arrays import nulls_of, plain
from polyrank.data.hashing import hash_column, mix, seed_of, unit_interval
from polyrank.data.instants import TICKS, in_unit, whole
from polyrank.errors import ConfigError
from polyrank.schema import Declared, Schema
from polyrank.schema.instants import instant, iso
from polyrank.schema.model import Column

PARTS = ("train", "validation", "test")
"""The parts of a log; their places are the codes that ``assign`` gives."""

Codes = NDArray[np.int8]


class _Split(Declared):
    """What all splits share."""

    @abstractmethod
    def decided_by(self, schema: Schema) -> str | None:
        """The column that decides; None if the row's place does."""

    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The parts that it is meant to fill."""

    @abstractmethod
    def assign(self, table: pa.Table, first_row: int, *, column: str | None = None) -> Codes:
        """The part of each row.

        Args:
            table: Rows as ``Reader`` gives them, or at least the column that decides.
            first_row: Place of the first one in the whole log.
            column: The column that decides.

        Returns:
            0, 1, 2: the place in ``PARTS``. Where that column is null, 0. A row dropped in the gap
            behind part p has the code -1 - p.
        """


class _Shares(_Split):
    """A split by hash: the same row goes to the same part, whatever else is in the log."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share that goes to validation."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that goes to test."""
    salt: str = ""
    """Another salt gives another split."""

    @model_validator(mode="after")
    def _leaves_training(self) -> _Shares:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"`validation` and `test` must leave rows for training, got {self.validation} "
                f"and {self.test}"
            )
        return self

    def parts(self) -> tuple[str, ...]:
        """Those with a share."""
        shares = (1.0, self.validation, self.test)
        return tuple(part for part, share in zip(PARTS, shares, strict=True) if share)

    def _codes(self, unit_B: NDArray[np.float64]) -> Codes:
        codes = np.zeros(len(unit_B), dtype=np.int8)
        codes[unit_B < self.test + self.validation] = PARTS.index("validation")
        codes[unit_B < self.test] = PARTS.index("test")
        return codes


class TimeSplit(_Split):
    """Train before ``validation_from``, validate before ``test_from``, test from there on.

    Where the column holds whole numbers, so are the bounds, in the same unit (20220429 for days
    written so). Where it holds dates or timestamps, they are ISO 8601: "2022-04-29" or
    "2022-04-29T06:00:00+00:00"; without a zone, UTC.
    """

    kind: Literal["time"] = "time"
    column: Column | None = None
    """Default: the key ``time``."""
    validation_from: int | str
    """The first time of validation."""
    test_from: int | str | None = None
    """The first time of the test; null: no test."""
    gap: NonNegativeFloat = 0
    """Rows so close before a bound are dropped, since their labels may still have been open: in
    the unit of a whole-number column, in days for dates, in seconds for timestamps."""

    @field_validator("validation_from", "test_from", mode="before")
    @classmethod
    def _iso(cls, value: object) -> object:
        return iso(value)

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        if self.test_from is not None:
            first, second = instant(self.validation_from), instant(self.test_from)
            if isinstance(first, int) != isinstance(second, int):
                raise ValueError("`validation_from` and `test_from` must be of one kind")
            if not first < second:  # type: ignore[operator]  # both of one kind
                raise ValueError(
                    f"`test_from` must lie after `validation_from`, got {self.test_from} and "
                    f"{self.validation_from}"
                )
        else:
            instant(self.validation_from)
        return self

    def parts(self) -> tuple[str, ...]:
        """The test only with ``test_from``."""
        return PARTS if self.test_from is not None else PARTS[:2]

    def decided_by(self, schema: Schema) -> str | None:
        """The column of times.

        Raises:
            ConfigError: There is none.
        """
        column = self.column or schema.keys.time
        if column is None:
            raise ConfigError(
                "a split by time needs a column of times, and the schema has no key `time`",
                where="data.split",
                hint="Name one in `keys.time` or in `data.split.column`.",
            )
        return column

    def assign(self, table: pa.Table, first_row: int, *, column: str | None = None) -> Codes:
        """By the time of each row.

        Raises:
            ConfigError: The bounds are of another kind than the column.
        """
        array = plain(table.column(column or self.column))
        time_B = whole(array)
        codes = np.zeros(len(time_B), dtype=np.int8)
        gap = round(self.gap * _units_per_gap(array.type))
        for part, bound in ((1, self.validation_from), (2, self.test_from)):
            if bound is not None:
                told = f"column {column or self.column!r} is {array.type}, and the bound "
                told += f"{bound!r} is of another kind"
                first = in_unit(instant(bound), array.type, told=told, where="data.split")
                codes[(time_B >= first - gap) & (time_B < first) & (codes >= 0)] = -part
                codes[time_B >= first] = part
        codes[nulls_of(array)] = 0
        return codes


class UserSplit(_Shares):
    """All rows of a user in one part, by a hash of the key ``user``."""

    kind: Literal["user"] = "user"

    def decided_by(self, schema: Schema) -> str | None:
        """The key ``user``.

        Raises:
            ConfigError: There is none.
        """
        if schema.keys.user is None:
            raise ConfigError(
                "a split by user needs the key `user`",
                where="data.split",
                hint="Name its column in `keys.user`.",
            )
        return schema.keys.user

    def assign(self, table: pa.Table, first_row: int, *, column: str | None = None) -> Codes:
        """By the user of each row; ``column`` names theirs."""
        assert column is not None, "a split by user is told its column"
        users = plain(table.column(column))
        codes = self._codes(unit_interval(hash_column(users, seed_of(self.salt))))
        codes[nulls_of(users)] = 0
        return codes


class RandomSplit(_Shares):
    """Each row by a hash of its place in the log: for logs without times or users."""

    kind: Literal["random"] = "random"
    accept_leakage: bool = False
    """Split a log with times all the same, so that training sees rows later than those judged."""

    def decided_by(self, schema: Schema) -> str | None:
        """Nothing but the row's place.

        Raises:
            ConfigError: The log has times, and ``accept_leakage`` is not set.
        """
        if schema.keys.time is not None and not self.accept_leakage:
            raise ConfigError(
                f"a random split lets training see what comes after the rows it is judged on, and "
                f"this log has times ({schema.keys.time!r})",
                where="data.split",
                hint="Split with `kind: time`, or set `accept_leakage: true`.",
            )
        return None

    def assign(self, table: pa.Table, first_row: int, *, column: str | None = None) -> Codes:
        """By the place of each row in the log."""
        place_B = np.arange(first_row, first_row + table.num_rows, dtype=np.uint64)
        return self._codes(unit_interval(mix(place_B ^ mix(np.array([seed_of(self.salt)])))))


AnySplit = Annotated[TimeSplit | UserSplit | RandomSplit, Field(discriminator="kind")]
"""Any split, told apart by ``kind``."""


def _units_per_gap(dtype: Any) -> int:
    return TICKS[dtype.unit] if pa.types.is_timestamp(dtype) else 1
