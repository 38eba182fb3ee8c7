"""What a metric is: a name, the kinds of task it is defined for, and its formula.

Shapes: N rows, K rows in a group, C cells of a histogram.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from polyrank.errors import DataError
from polyrank.evaluation._measure import NO_ROWS, Measure, undefined
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows, column, select_rows
from polyrank.evaluation._sums import Sums

Statistic = Callable[[Draw], Measure]

BINARY = frozenset({"binary"})
CONTINUOUS = frozenset({"regression", "duration", "ordinal", "multiclass"})
NONNEGATIVE = frozenset({"binary", "duration"})


NO_GROUP = -1
"""The code of a row whose key is null: it is in no group."""


def undefined_everywhere(draw: Draw) -> Measure:
    """The statistic of no rows at all."""
    return undefined(NO_ROWS)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; call it with arrays, or bind it to rows and draw from them many times.

    Args:
        name: The name in ``METRICS``, tables and configurations; holds no dot.
        kinds: The kinds of task it is defined for.
        higher_is_better: ``None`` where neither end is best (``ratio``, best at 1).
        bind_rows: Does once what is the same for every draw (sorting above all) and returns the
            statistic. It gets canonical rows, at least one, and the groups in the same order.
        group_keys: For a metric by group, the keys it may be grouped by, best first.
        stream: The value from sums, where sums are enough; ``None`` needs all rows at once.
        stream_error: How far that value may be from the exact one, if sums do not give it exactly.
        biased_by_drawing: Whether replicates lie above the value on average, as those of a mean of
            absolute values do; it is at least 0. Its intervals are shifted back onto the value.
    """

    name: str
    kinds: frozenset[str]
    higher_is_better: bool | None
    bind_rows: Callable[[Rows, Ints], Statistic]
    group_keys: tuple[str, ...] = ()
    stream: Callable[[Sums], Measure] | None = None
    stream_error: Callable[[Sums], float] | None = None
    biased_by_drawing: bool = False

    @property
    def needs(self) -> Literal["groups"] | None:
        """``"groups"`` if the metric is an average over groups of rows."""
        return "groups" if self.group_keys else None

    def __call__(
        self,
        labels_N: ArrayLike,
        predictions_N: ArrayLike,
        *,
        mask_N: ArrayLike | None = None,
        weights_N: ArrayLike | None = None,
        groups_N: ArrayLike | None = None,
    ) -> Measure:
        """The metric of these rows.

        Args:
            labels_N: Observed values.
            predictions_N: Probabilities of a binary task, else predictions in the label's unit.
            mask_N: True where the label was observed (boolean); all, if left out.
            weights_N: Weight of each row, at least 0; 1, if left out.
            groups_N: The group of each row (integers), for a metric that ``needs`` them; -1 is no
                group, and the row is left out.

        Returns:
            The value, or NaN and the reason.

        Raises:
            DataError: Unequal lengths, a label or prediction the metric is not defined for (with
                their number), or no groups where they are needed.
        """
        rows = select_rows(labels_N, predictions_N, mask_N, weights_N, self.name).canonical()
        groups = self._groups(groups_N, np.size(np.asarray(labels_N)))
        return measure(self.bind(rows, groups[rows.index_N]), rows.draw)

    def bind(self, rows: Rows, groups_N: Ints) -> Statistic:
        """The statistic over canonical ``rows``; ``groups_N`` is in their order."""
        if len(rows) == 0:
            return undefined_everywhere
        with np.errstate(over="ignore", invalid="ignore"):
            if self.group_keys and (groups_N == NO_GROUP).any():
                return self._bind_grouped(rows, groups_N)
            return self.bind_rows(rows, groups_N)

    def _bind_grouped(self, rows: Rows, groups_N: Ints) -> Statistic:
        """The statistic over the rows that are in a group."""
        kept_K = np.flatnonzero(groups_N != NO_GROUP)
        if len(kept_K) == 0:
            return lambda draw: undefined(f"every {' and '.join(self.group_keys)} is null")
        grouped = rows.take(kept_K)
        statistic = self.bind_rows(grouped, groups_N[kept_K])
        return lambda draw: measure(statistic, grouped.draw_of(draw.counts_N[kept_K]))

    def _groups(self, groups_N: ArrayLike | None, size: int) -> Ints:
        if not self.group_keys:
            return np.zeros(size, dtype=np.int64)
        if groups_N is None:
            raise DataError("groups_N is missing", where=self.name, hint="pass a group a row")
        groups = column(groups_N, "groups_N", size, self.name)
        if groups.dtype.kind not in "iu":
            message = f"groups_N must be integers, got {groups.dtype}"
            raise DataError(message, where=self.name, hint="encode the ids first")
        return groups.astype(np.int64)


def measure(statistic: Statistic, draw: Draw) -> Measure:
    """The statistic of a draw; of an empty one, undefined. Overflow is undefined, not a warning."""
    if draw.total == 0:
        return undefined(NO_ROWS)
    with np.errstate(over="ignore", invalid="ignore"):
        return statistic(draw)


def dot(a_N: Floats, b_N: Floats) -> float:
    """The sum of products."""
    return float(np.dot(a_N, b_N))
