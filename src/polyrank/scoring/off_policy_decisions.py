"""A log as decisions of known chance: lists drawn place by place, or weights drawn by request.

Shapes: N rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError
from polyrank.fusion import Demotion, ValueModel, WeightedSum
from polyrank.fusion.off_policy import Logged, Over, PlackettLuce, RankedLog, WeightJitter, kish
from polyrank.scoring.off_policy_log import LoggedRows
from polyrank.scoring.order import Order

Floats = NDArray[np.float64]
WARMER = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Temperatures that a refusal tries, to say which would do."""


class Decisions(ABC):
    """A log as decisions of known chance."""

    @abstractmethod
    def under(self, order: Order) -> Logged:
        """The decisions as a ranking by ``order`` would take them."""

    @abstractmethod
    def as_logged(self) -> Logged:
        """As they were taken."""

    @property
    @abstractmethod
    def told(self) -> str:
        """How a ranking draws its lists, in words."""

    def advice(self, order: Order, least: float) -> str:
        """What would help where ``order`` is refused; may be empty."""
        del order, least
        return ""


@dataclass(frozen=True, kw_only=True)
class DrawnLists(Decisions):
    """Lists that were drawn place by place."""

    found: LoggedRows
    places: int = 1
    policy: PlackettLuce = field(default_factory=PlackettLuce)
    over: Over = "prefix"
    with_model: bool = False
    """Whether the bundle's predictions stand by as a reward model."""

    def under(self, order: Order) -> Logged:
        """With importances from place 1 to each."""
        return self._ranked.under(self._scores(order), self.policy)

    def as_logged(self) -> Logged:
        """With importances of 1."""
        return self._ranked.as_logged()

    @property
    def told(self) -> str:
        """The noise, and what importances run over."""
        temperature = self.policy.temperature
        noise = (
            f"its score with Gumbel noise of {temperature:g} standard deviations within requests"
            if temperature
            else "its score alone"
        )
        alone = "" if self.over == "prefix" else ", at one place below what was logged above it"
        return noise + alone

    def advice(self, order: Order, least: float) -> str:
        """The least temperature at which each place has enough effective rows."""
        score_N, most = self._scores(order), 0.0
        for temperature in (one for one in WARMER if one > self.policy.temperature):
            policy = PlackettLuce(temperature=temperature)
            effective = least_effective(self._ranked.under(score_N, policy))
            if effective >= least:
                return f"With --temperature {temperature:g} there would be {effective:.0f}."
            most = max(most, effective)
        fewer = " Ask for fewer places." if self.places > 1 else ""
        return f"No temperature up to {WARMER[-1]:g} gives more than {most:.0f}.{fewer}"

    def _scores(self, order: Order) -> Floats:
        found = self.found
        return order.score(found.predictions, found.request_N, found.columns).score_N

    @cached_property
    def _ranked(self) -> RankedLog:
        found = self.found
        return RankedLog(
            request_N=found.request_N,
            place_N=found.place_N,
            propensity_N=found.propensity_N,
            reward_N=found.reward_N,
            places=self.places,
            over=self.over,
            weight_N=found.weight_N,
            cluster_N=found.cluster_N,
            model_N=found.model_N if self.with_model else None,
        )


@dataclass(frozen=True, kw_only=True)
class DrawnWeights(Decisions):
    """Requests that were ranked by weights drawn around a centre.

    A ranking is then the same with ``jitter`` around its own weights, which must stay inside what
    was drawn from.
    """

    found: LoggedRows
    centre: Mapping[str, float]
    logging: WeightJitter
    jitter: WeightJitter
    places: int = 1

    def under(self, order: Order) -> Logged:
        """With the ratio of densities of the request's weights."""
        weights = weights_of(order)
        return self._logged(
            self.logging.importance(self.centre, self.found.drawn, self.jitter, weights)
        )

    def as_logged(self) -> Logged:
        """With importances of 1."""
        return self._logged(np.ones(len(self.found.request_N)))

    @property
    def told(self) -> str:
        """The scale."""
        return f"its weights, each drawn within {self.jitter.scale:.1%} of it for every request"

    def _logged(self, importance_N: Floats) -> Logged:
        found = self.found
        inside_N = found.place_N <= self.places
        return Logged(
            reward_N=found.reward_N[inside_N],
            propensity_N=np.ones(int(inside_N.sum())),
            target_N=importance_N[inside_N],
            weight_N=found.weight_N[inside_N],
            cluster_N=found.cluster_N[inside_N],
            densities=True,
        )


def least_effective(logged: Logged) -> float:
    """Effective clusters of the place that has the fewest."""
    weighted_N = logged.weights_N * logged.importance_N
    return min(kish(logged.sums(weighted_N * here_N)) for _, here_N in logged.by_place())


def weights_of(order: Order) -> dict[str, float]:
    """By name, what of an order a jitter draws."""
    return dict(order.weights) if order.model is None else order.model.tunable


def tuned(order: Order, weights: Mapping[str, float]) -> Order:
    """The same order with other weights, by the names of ``weights_of``.

    Raises:
        ConfigError: As ``ValueModel.tuned``.
    """
    if order.model is None:
        return replace(order, weights=dict(weights))
    return replace(order, model=order.model.tuned(weights))


def refuse_formulas(centre: Order, orders: Mapping[str, Order]) -> None:
    """Refuse a ranking that is not ``centre`` with other weights: no request was ranked by it.

    One that has not the same weights by name is left to ``WeightJitter``.

    Raises:
        ConfigError: The first one.
    """
    weights = weights_of(centre)
    for name, order in orders.items():
        if weights_of(order).keys() == weights.keys() and (
            _formula(order, weights) != _formula(centre, weights)
        ):
            raise ConfigError(
                "ranks by another formula than the log did, of which weights alone were drawn",
                where=name,
                hint="Change nothing but weights, or give in --centre what the log was ranked by.",
            )


def _formula(order: Order, weights: Mapping[str, float]) -> tuple[ValueModel, Demotion | None]:
    """What ranks, with these weights in place of its own."""
    model = WeightedSum(terms=order.weights) if order.model is None else order.model
    return model.tuned(weights), order.demotion
