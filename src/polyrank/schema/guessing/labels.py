"""What the values of a label show."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from polyrank.schema.guessing import words as tell
from polyrank.schema.guessing.profile import Profile
from polyrank.schema.guessing.sentinels import missing_values
from polyrank.schema.tasks import Binary, Duration, Regression

AnyTask = Binary | Duration | Regression

_YES = {"yes": "no", "y": "n", "true": "false", "t": "f", "1": "0"}
_LONG_MS = 3_600.0
"""Median time spent from which the unit is a millisecond: a median view lasts less than an hour."""
_DAY_S = 86_400.0


def binary(profile: Profile, name: str, sign: Literal["good", "bad"]) -> Binary | None:
    """The binary task of ``profile``; None if its values are not two that say yes and no."""
    missing = missing_values(profile) if profile.kind != "text" else ()
    values = set(profile.uniques) - set(missing)
    if values == {0, 1}:
        return Binary(name=name, label=profile.name, sign=sign, missing_values=missing)
    if set(profile.uniques) == {-1, 1}:
        return Binary(name=name, label=profile.name, sign=sign, positive=(1,))
    if profile.kind == "text":
        said = {value.strip().lower(): value for value in profile.uniques}
        for yes, no in _YES.items():
            if set(said) == {yes, no} and len(said) == profile.distinct:
                return Binary(name=name, label=profile.name, sign=sign, positive=(said[yes],))
    return None


def duration(profile: Profile, name: str) -> Duration | None:
    """The duration of ``profile``; None if it holds negative times that do not mean missing."""
    missing = missing_values(profile)
    numbers = profile.numbers[~np.isin(profile.numbers, np.asarray(missing))]
    if profile.kind not in ("integer", "number") or (numbers < 0).any():
        return None
    unit = tell.unit(profile.name) or _unit_by_size(numbers)
    longest = float(numbers.max()) * {"ms": 1e-3, "s": 1.0, "min": 60.0}[unit]
    return Duration(
        name=name,
        label=profile.name,
        unit=unit,
        missing_values=missing,
        limit=_DAY_S if longest <= _DAY_S else float(math.ceil(longest)),
    )


def _unit_by_size(numbers: npt.NDArray[np.float64]) -> Literal["ms", "s"]:
    above = numbers[numbers > 0]
    if not len(above):
        return "s"
    return "ms" if np.median(above) >= _LONG_MS or np.quantile(above, 0.99) > _DAY_S else "s"


def regression(profile: Profile, name: str) -> Regression | None:
    """The regression of ``profile``; None if it holds no numbers."""
    if profile.kind not in ("integer", "number"):
        return None
    return Regression(name=name, label=profile.name, missing_values=missing_values(profile))


def observed(profile: Profile, task: AnyTask, mask: Profile | None = None) -> npt.NDArray[np.bool_]:
    """The rows in which the label of ``task`` was observed."""
    known = _where(profile, [value not in task.missing_values for value in profile.uniques])
    return known if mask is None else known & _where(mask, [v == 1 for v in mask.uniques])


def ones(profile: Profile, task: Binary) -> npt.NDArray[np.bool_]:
    """The rows in which the label of ``task`` is 1."""
    wanted = set(task.positive) or {1}
    return _where(profile, [value in wanted for value in profile.uniques])


def _where(profile: Profile, flags: list[bool]) -> npt.NDArray[np.bool_]:
    """``flags``, given for each different value, for each row; null is False."""
    return np.asarray([*flags, False])[profile.codes]


def rare_class(profile: Profile, task: Binary, mask: Profile | None = None) -> str | None:
    """Why ``task`` cannot be learned from the sample: hardly any row of one class."""
    known = observed(profile, task, mask)
    num_ones = int((known & ones(profile, task)).sum())
    num_zeros = int(known.sum()) - num_ones
    needed = max(1, min(5, profile.rows // 100))
    if min(num_ones, num_zeros) >= needed:
        return None
    return f"it is 1 in {num_ones} and 0 in {num_zeros} rows of the sample: too few to learn from"
