"""The users of one arm of an experiment, with what they did.

Shapes: U users, K covariates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError, suggest

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """Sums by user, the same U users for every metric. A user is what was assigned to the arm.

    Args:
        numerators: By metric, (U,): what the user did in all, 0 if nothing.
        denominators: By ratio metric, (U,), at least 0: what it is divided by, for the arm as a
            whole (clicks / impressions). A metric without one is the mean over users.
        covariates: By metric, (U,) or (U, K): what was known of the user before the experiment,
            the same metric in the weeks before above all; of a ratio its numerator and its
            denominator. Nothing that the arms may have changed.
        weights: (U,) finite and at least 0: how much a user counts; ``None`` is 1 each. A user of
            weight 2 is one user who counts twice, not two. Weight 0: as if not there.
        users: (U,) who they are, if known: arms are checked to hold different users, paired arms
            the same.

    Raises:
        DataError: Not one number a user everywhere, a value that is not finite, a denominator or
            weight below 0, a user twice.
        ConfigError: A denominator or covariate of a metric without numerator.
    """

    numerators: Mapping[str, Array]
    denominators: Mapping[str, Array] = field(default_factory=dict)
    covariates: Mapping[str, Array] = field(default_factory=dict)
    weights: Array | None = None
    users: Array | None = None

    def __post_init__(self) -> None:
        if not self.numerators:
            raise ConfigError("`numerators` must hold at least one metric")
        for name in ("denominators", "covariates"):
            for metric in getattr(self, name):
                if metric not in self.numerators:
                    hint = suggest(metric, self.numerators)
                    raise ConfigError(f"`{name}` of '{metric}', which has no numerator", hint=hint)
        for name in ("numerators", "denominators", "covariates"):
            for metric, values in getattr(self, name).items():
                self._require_numbers(values, f"{name}['{metric}']", 1 + (name == "covariates"))
        for metric, values in self.denominators.items():
            _require(
                np.asarray(values) >= 0, values, f"denominators['{metric}'] must be at least 0"
            )
        if self.weights is not None:
            self._require_numbers(self.weights, "weights", 1)
            _require(np.asarray(self.weights) >= 0, self.weights, "weights must be at least 0")
        if self.users is not None:
            self._require_users(self.users)

    @property
    def size(self) -> int:
        """U, users of weight 0 included."""
        return np.size(next(iter(self.numerators.values())))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(U,) users of positive weight."""
        if self.weights is None:
            return np.ones(self.size, dtype=np.bool_)
        return np.asarray(self.weights) > 0

    def _require_numbers(self, values: Array, name: str, most_dimensions: int) -> None:
        array = np.asarray(values)
        fits = 1 <= array.ndim <= most_dimensions and len(array) == self.size
        if not fits or array.dtype.kind not in "biuf":
            message = f"{name} is {array.dtype} of shape {array.shape}, expected one number a user"
            raise DataError(message, hint=f"the first metric has {self.size} users")
        hint = "of a user without history give 0, and 1 in a covariate that says so"
        rule = f"{name} must be finite"
        _require(np.isfinite(array), array, rule, hint if most_dimensions > 1 else None)

    def _require_users(self, users: Array) -> None:
        if np.shape(users) != (self.size,):
            message = f"users has shape {np.shape(users)}, expected ({self.size},)"
            raise DataError(message, hint="name each user once")
        names, counts = np.unique(users, return_counts=True)
        if len(names) < self.size:
            twice = names[counts.argmax()]
            message = f"user {twice} stands in {counts.max()} places"
            raise DataError(message, hint="sum what each user did")


def _require(right: NDArray[np.bool_], values: Array, rule: str, hint: str | None = None) -> None:
    if not right.all():
        first = np.asarray(values)[~right][0]
        raise DataError(f"{rule}, got {first} (in all {int((~right).sum())} times)", hint=hint)
