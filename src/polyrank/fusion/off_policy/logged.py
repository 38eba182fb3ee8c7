"""What estimators read: rewards, and how likely each logged action was and would be.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError, counted

Floats = NDArray[np.float64]
WHERE = "off-policy"
NUMBERS = ("reward", "model", "model_target")
CHANCES = ("propensity", "target")
NAMES = ("cluster", "place")


@dataclass(frozen=True, eq=False)
class Logged:
    """Decisions that were logged with their chance, and the chance that another policy gives them.

    A row is one decision: a list, a slot of it given what stands above, or the weights drawn for a
    request. Every decision is a row, also where the new policy would never have taken it. Rows of
    weight 0 are dropped first, whatever they hold.

    Raises:
        ConfigError: One of ``model_N`` and ``model_target_N`` is given without the other.
        DataError: Lengths differ, nothing is left, a number is not finite or out of its range, a
            cluster is unknown, or a row that the new policy may choose has a propensity that is 0
            or unknown: its importance is not known, and leaving it out would favour other rows.
    """

    reward_N: Floats
    """What the decision earned, in any unit."""
    propensity_N: Floats
    """Probability of the logged action under the policy that logged; above 0 but for rows whose
    target is 0, where it does not matter."""
    target_N: Floats
    """Probability of the same action under the new policy, in its place."""
    weight_N: Floats | None = None
    """How many such rows a row stands for, at least 0; 1 each if left out."""
    cluster_N: NDArray[Any] | None = None
    """What rows are independent between: request or user, as whole numbers or texts. Left out,
    every row is independent, and intervals are too narrow where it is not."""
    model_N: Floats | None = None
    """A reward model's prediction for the logged action."""
    model_target_N: Floats | None = None
    """Its prediction for the new policy: by action, probability times prediction, summed."""
    place_N: NDArray[Any] | None = None
    """The place of the list that a row is of. What is said of all places has to hold at each:
    importances average 1 at each, ``snips`` normalises each by itself, and each needs its effective
    rows."""
    densities: bool = False
    """Whether ``propensity_N`` and ``target_N`` are densities, which may exceed 1."""

    def __post_init__(self) -> None:
        if (self.model_N is None) != (self.model_target_N is None):
            raise ConfigError(
                "`model_N` and `model_target_N` must be given together",
                where=WHERE,
                hint="The first predicts what was logged, the second what the new policy would do.",
            )
        for name, column_N in self._kept().items():
            object.__setattr__(self, f"{name}_N", column_N)
        self._check_numbers()
        self._check_chances()
        for name in ("cluster", "place"):
            given_N = getattr(self, f"{name}_N")
            if given_N is not None:
                object.__setattr__(self, f"{name}_N", _numbered(given_N, name))

    def __len__(self) -> int:
        return len(self.reward_N)

    @property
    def importance_N(self) -> Floats:
        """target / propensity, finite; 0 where the target is."""
        chosen_N = self.target_N > 0
        propensity_N = np.where(chosen_N, self.propensity_N, 1.0)
        return np.asarray(np.where(chosen_N, self.target_N / propensity_N, 0.0))

    @property
    def weights_N(self) -> Floats:
        """``weight_N``, or 1 each."""
        return np.ones(len(self)) if self.weight_N is None else self.weight_N

    def sums(self, value_N: Floats) -> Floats:
        """Sums by cluster; the values themselves where there are no clusters."""
        if self.cluster_N is None:
            return value_N
        return np.bincount(self.cluster_N, value_N).astype(np.float64)

    def by_place(self) -> Iterator[tuple[str, Floats]]:
        """By place, how messages name it and (N,) 1 for its rows; once where there are none."""
        if self.place_N is None:
            yield "", np.ones(len(self))
            return
        for place in range(int(self.place_N.max()) + 1):
            yield f" of place {place + 1}", (self.place_N == place).astype(np.float64)

    def _kept(self) -> dict[str, NDArray[Any]]:
        """The columns that are given, without rows of weight 0."""
        columns = {}
        num_rows = len(np.atleast_1d(self.reward_N))
        for name in (*NUMBERS, *CHANCES, "weight", "cluster", "place"):
            given = getattr(self, f"{name}_N")
            if given is None:
                continue
            columns[name] = np.asarray(given, dtype=np.float64 if name not in NAMES else None)
            if columns[name].shape != (num_rows,):
                raise DataError(
                    f"`{name}_N` has shape {columns[name].shape}, but there are "
                    f"{counted(num_rows, 'row')}",
                    where=WHERE,
                    hint="Give one value for each row.",
                )
        if "weight" in columns:
            weight_N = columns["weight"]
            _require(np.isfinite(weight_N) & (weight_N >= 0), weight_N, "weight", "at least 0")
            columns = {name: column_N[weight_N > 0] for name, column_N in columns.items()}
        if not len(columns["reward"]):
            raise DataError("no rows", where=WHERE, hint="Give rows of a weight above 0.")
        return columns

    def _check_numbers(self) -> None:
        for name in NUMBERS:
            value_N = getattr(self, f"{name}_N")
            if value_N is not None:
                _require(np.isfinite(value_N), value_N, name, "a number")

    def _check_chances(self) -> None:
        most, rule = (np.inf, "at least 0") if self.densities else (1.0, "from 0 to 1")
        for name in CHANCES:
            value_N = getattr(self, f"{name}_N")
            good_N = np.isfinite(value_N) & (value_N >= 0) & (value_N <= most)
            unknown_N = np.isnan(value_N) if name == "propensity" else np.zeros_like(good_N)
            _require(good_N | unknown_N, value_N, name, rule)
        lost_N = (self.target_N > 0) & ~(self.propensity_N > 0)
        if lost_N.any():
            raise DataError(
                f"propensity is 0 or unknown in {int(lost_N.sum()):,} of "
                f"{counted(len(self), 'row')} that the new policy may choose, so their importance "
                "is not known",
                where=WHERE,
                hint="Log the probability of every action; where only some rows are randomised, "
                "give those alone, all of them.",
            )
        with np.errstate(over="ignore"):
            infinite_N = np.isinf(self.importance_N)
        _require(~infinite_N, self.propensity_N, "propensity", "large enough to divide by")


def _require(good_N: NDArray[np.bool_], given_N: NDArray[Any], name: str, rule: str) -> None:
    if not good_N.all():
        raise DataError(
            f"`{name}_N` must be {rule}, got {given_N[~good_N][0]:g} in "
            f"{int((~good_N).sum()):,} of {counted(len(good_N), 'row')}",
            where=WHERE,
            hint="Weigh 0 the rows that do not count.",
        )


def _numbered(name_N: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Names as numbers from 0, in their order."""
    if name_N.dtype.kind == "O":
        if not all(isinstance(value, str | int | np.integer) for value in name_N):
            _refuse_names(what, "hold a value that is neither a whole number nor a text")
        name_N = name_N.astype(np.str_)
    if name_N.dtype.kind not in "iuU":
        _refuse_names(what, f"are {name_N.dtype}")
    return np.unique(name_N, return_inverse=True)[1].astype(np.int64)


def _refuse_names(what: str, why: str) -> None:
    raise DataError(
        f"`{what}_N` must be whole numbers or texts, but they {why}",
        where=WHERE,
        hint="Number the requests or users; give a row of unknown cluster a number of its own.",
    )
