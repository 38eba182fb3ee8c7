"""Duration tasks: the label's rank among things of like length, free of what the length explains.

Shapes: B rows, Q knots.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from polyrank.data.layout import TargetStats
from polyrank.data.lengths import no_length
from polyrank.heads._censoring import one_sided
from polyrank.heads._law import ranks, times
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, at_least_float32
from polyrank.schema import Duration


class D2QHead(Head):
    """Predicts the time at rank sigmoid(logit) of the training labels of the row's length group.

    A row whose length is not known takes the quantiles of all labels.

    Raises:
        DataError: No length was known in training.
    """

    def __init__(self, task: Duration, stats: TargetStats) -> None:
        self._seconds = task.seconds_per_unit
        groups = stats.groups
        if groups is None:
            raise no_length(task)
        knots = len(groups.quantiles[0]) - 1
        rows = [*groups.quantiles, stats.quantiles[:: (len(stats.quantiles) - 1) // knots]]
        # A bundle builds its network on the meta device, which holds no values.
        self._knots_GQ = torch.tensor(rows, dtype=torch.float64, device="cpu")
        self._edges = torch.tensor(groups.edges, dtype=torch.float32, device="cpu")

    def initial_logits(self) -> Tensor:
        """0: the median of each group."""
        return torch.zeros(1)

    def loss(self, logits_BL: Tensor, labels_B: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Squared error of the rank; of a lower bound, only where the prediction is below it.

        Tied labels have the rank in the middle of theirs: where half of a group's labels are 0,
        theirs is 0.25.
        """
        logit_B = at_least_float32(logits_BL[:, 0])
        knots_BQ = self._knots(logit_B, extras)
        below_B, up_to_B = ranks(knots_BQ, labels_B.double() * self._seconds)
        target_B = ((below_B + up_to_B) / 2).to(logit_B.dtype)
        rank_B = torch.sigmoid(logit_B)
        return one_sided((rank_B - target_B) ** 2, rank_B, target_B, extras)

    def predict(self, logits_BL: Tensor, extras: Extras = NO_EXTRAS) -> Tensor:
        """Time in the label's unit, within the training labels of the group."""
        rank_B = torch.sigmoid(logits_BL[:, 0].double())
        return times(self._knots(logits_BL, extras), rank_B) / self._seconds

    def _knots(self, rows: Tensor, extras: Extras) -> Tensor:
        """(B, Q) quantiles of each row's group."""
        overall_B = torch.full((rows.shape[0],), len(self._knots_GQ) - 1, device=rows.device)
        length_B = extras.get("length")
        group_B = overall_B
        if length_B is not None:
            # As searchsorted(right=True), which other runtimes lack.
            found_B = (length_B[:, None] >= self._edges.to(rows.device)).sum(1)
            group_B = torch.where(length_B.isnan(), overall_B, found_B)
        return self._knots_GQ.to(rows.device)[group_B]


class D2Q(HeadConfig):
    """Duration-deconfounded quantiles (Zhan et al., D2Q, KDD 2022).

    Things are grouped by their length (``length`` and ``length_groups`` of the task); the label
    becomes its rank within the group, sigmoid(logit) is regressed on it by squared error, and a
    prediction is read off the group's quantiles. What is learned is how a view compares with others
    of the same length. The prediction is the time at the expected rank, which is no expected time;
    the law of the time given the row is not learned, so there are no further quantiles.

    A label that is a lower bound counts only where the prediction is below it. This one-sided loss
    is ours; it takes away the pull down to the bound, but estimates no law beyond it, so that
    predictions stay low where many labels are bounds.
    """

    kind: Literal["d2q"] = "d2q"
    suits: ClassVar[tuple[str, ...]] = ("duration",)
    reads_length: ClassVar[bool] = True

    def check(self, task: Duration) -> None:
        """Refuse a task without lengths."""
        if task.length is None:
            raise ValueError(
                f"head {self.kind!r} groups rows by the length of what is watched, and task "
                f"{task.name!r} has no `length`. Name its column, or choose head 'tpm' or 'cread'"
            )

    def build(self, task: Duration, stats: TargetStats) -> D2QHead:
        """The head."""
        return D2QHead(task, stats)
