"""What ranks: a bundle, as it would in production; the ranking of the log; chance; the truth.

R requests, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from polyrank.scoring import Order, Scorer
from polyrank.scoring.slices import slice_values
from polyrank.simulation.experiment.config import ReturnConfig
from polyrank.simulation.experiment.offer import Offer
from polyrank.simulation.ranking import Ranking, rank_candidates

FloatArray = npt.NDArray[np.float64]


class Policy(Protocol):
    """Puts the candidates of each request in order."""

    def rank(self, offer: Offer) -> Ranking:
        """The order of the candidates of each request, best first."""


@dataclass(frozen=True, eq=False)
class BundlePolicy:
    """Ranks by the predictions of a bundle, through the scorer that serves them.

    It is given ``Offer.table`` alone: no label, no truth.
    """

    scorer: Scorer
    order: Order | None = None
    """Null: what the bundle is ranked by."""

    def rank(self, offer: Offer) -> Ranking:
        """As ``Scorer.rank`` does, request by request."""
        order = self.order or Order.of(self.scorer.bundle)
        order.check_columns(offer.table.column_names)
        columns = {name: slice_values(offer.table, name) for name in order.columns}
        scored = order.score(offer.predictions(self.scorer), offer.request_N, columns)
        return by_score(scored.score_N.reshape(offer.shape))


@dataclass(frozen=True)
class LoggingPolicy:
    """The ranking that made the log."""

    def rank(self, offer: Offer) -> Ranking:
        """With the same noise a candidate wherever it is asked."""
        return offer.world.logging_ranking(offer.day.requests, offer.day.causes)


@dataclass(frozen=True)
class RandomPolicy:
    """Any order is as likely."""

    def rank(self, offer: Offer) -> Ranking:
        """By noise alone."""
        gumbel_RK = offer.day.requests.gumbel_RK
        return rank_candidates(np.zeros(offer.shape), 1.0, gumbel_RK)


@dataclass(frozen=True)
class SatisfactionOracle:
    """Knows the truth: ranks by the satisfied views that showing a candidate is to bring."""

    def rank(self, offer: Offer) -> Ranking:
        """By P(click) * P(satisfied)."""
        truth = offer.day.truth
        return by_score(truth.click * truth.satisfaction)


@dataclass(frozen=True)
class ReturnOracle:
    """Knows the truth: ranks by what showing a candidate is expected to do for return.

    By the first event of a day: with those that came before, each does less.
    """

    returns: ReturnConfig

    def rank(self, offer: Offer) -> Ranking:
        """By P(click) times what a click is expected to add to the logit of return."""
        returns, truth = self.returns, offer.day.truth
        below = offer.world.watched_less
        quick_RK = below(offer.day.causes, returns.quick_exit_s)
        background_RK = 1.0 - below(offer.day.causes, returns.background_play_s)
        unsatisfied_RK = 1.0 - truth.satisfaction
        worth_RK = returns.satisfied_view * truth.satisfaction * truth.long_view
        worth_RK = worth_RK - returns.report * truth.report
        worth_RK -= unsatisfied_RK * returns.quick_exit * quick_RK
        worth_RK -= unsatisfied_RK * returns.background_play * background_RK
        return by_score(truth.click * worth_RK)


def by_score(score_RK: FloatArray) -> Ranking:
    """Best first; ties as they stand, what has no score last."""
    return rank_candidates(score_RK, 0.0, np.zeros_like(score_RK))
