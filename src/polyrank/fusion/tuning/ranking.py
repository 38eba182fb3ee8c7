"""A value model whose weights are tried on a log.

Shapes: N rows, B weight vectors, W searched weights, K goals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import DataError
from polyrank.fusion.base import ValueModel, refuse_rows
from polyrank.fusion.candidates import told
from polyrank.fusion.demotion import Demotion
from polyrank.fusion.tuning.meter import Meter
from polyrank.fusion.tuning.objectives import Objective
from polyrank.fusion.tuning.replayed import Replayed

Floats = NDArray[np.float64]
VECTORS = 8
"""Scored by the model itself before they are ranked."""


class Ranking:
    """The goals of a log under any weights of a model.

    Where scores are sums of weight times part (``ValueModel.parts``) and nothing is demoted, parts
    are computed once; else each weight vector is scored anew.
    """

    def __init__(
        self,
        log: Replayed,
        model: ValueModel,
        demotion: Demotion | None,
        objectives: Sequence[Objective],
    ) -> None:
        self.log, self.model, self.demotion = log, model, demotion
        self.meter = Meter(log, objectives)
        model.check(log.candidates.predictions)
        parts = None if demotion is not None else model.parts(log.candidates)
        self.fast = parts is not None
        self._names: list[str] = []
        if parts is not None:
            for part_N in parts.values():
                refuse_unscored(log, part_N)
            self._names = sorted(parts)
            self.meter.hold(parts)

    def values(self, names: Sequence[str], weight_BW: Floats, held: Mapping[str, float]) -> Floats:
        """(B, K) under weights of ``names``; the others as ``held`` says."""
        if not self.fast:
            return self._plain(names, weight_BW, held)
        weight_BT = np.tile([held[name] for name in self._names], (len(weight_BW), 1))
        weight_BT[:, [self._names.index(name) for name in names]] = weight_BW
        return self.meter.of_weights(weight_BT)

    def scores(self, weights: Mapping[str, float]) -> Floats:
        """(N,) by the model itself.

        Raises:
            ConfigError: A row has no finite score.
            DataError: A row has no score.
        """
        scored = self.model.tuned(weights).score(self.log.candidates)
        if self.demotion is not None:
            scored = self.demotion.apply(scored, self.log.candidates)
        refuse_unscored(self.log, scored.score_N)
        return scored.score_N

    def _plain(self, names: Sequence[str], weight_BW: Floats, held: Mapping[str, float]) -> Floats:
        found = []
        for first in range(0, len(weight_BW), VECTORS):
            score_BN = [
                self.scores({**held, **dict(zip(names, map(float, weight_W), strict=True))})
                for weight_W in weight_BW[first : first + VECTORS]
            ]
            found.append(self.meter.of_scores(np.stack(score_BN)))
        return np.concatenate(found)


def refuse_unscored(log: Replayed, score_N: Floats) -> None:
    """Refuse rows that no ranking can place.

    Raises:
        DataError: A row that counts has no score.
    """
    bad_N = np.isnan(score_N) & log.counted_N
    if bad_N.any():
        raise DataError(
            f"{told(bad_N)} have no score: a prediction is missing",
            where="tuning",
            hint="Leave these rows out of the log.",
        )
    refuse_rows(np.isinf(score_N), "a score is infinite", hint="Make the weights smaller.")
