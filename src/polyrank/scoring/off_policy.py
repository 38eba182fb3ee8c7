"""What a bundle's ranking and others would have earned on a log of known chances.

Shapes: N rows.
"""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy import (
    SNIPS,
    Difference,
    Estimate,
    Estimator,
    Logged,
    Over,
    PlackettLuce,
    RankedLog,
    WeightJitter,
    kish,
)
from polyrank.scoring.off_policy_log import WHERE, LoggedRows, Question, read_logged
from polyrank.scoring.order import Order
from polyrank.scoring.scorer import Scorer

Floats = NDArray[np.float64]
WARMER = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Temperatures that a refusal tries, to say which would do."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One ranking."""

    name: str
    estimate: Estimate | None
    """Null: ``refused`` says why."""
    refused: str | None = None
    to_logged: Difference | None = None
    """What it would have earned beyond what was logged."""
    to_in_force: Difference | None = None
    """And beyond the first ranking; null of that one."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was logged, and each ranking beside it, the one in force first."""

    on: str
    rewards: Mapping[str, float]
    places: int
    estimator: str
    confidence: float
    ranking: str
    """What stands for "ranked by": how each ranking draws its lists, in words."""
    requests: int
    left_out: Mapping[str, int]
    clusters: str
    logged: Estimate
    policies: tuple[Judged, ...]

    def to_json(self) -> str:
        """All of it; what is not known is null."""
        return json.dumps(_without_nan(asdict(self)), indent=2, ensure_ascii=False)


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
            effective = _least_effective(self._ranked.under(score_N, policy))
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


def estimate_log(
    scorer: Scorer,
    log: Any,
    orders: Mapping[str, Order],
    question: Question,
    *,
    estimator: Estimator | None = None,
    temperature: float = 0.0,
    over: Over = "prefix",
    part: str = "all",
    max_quarantine_share: float | None = None,
) -> Judgement:
    """What each ranking would have earned a place on a log of lists of known chances.

    Args:
        scorer: Of the bundle.
        log: A path, glob, folder or Arrow-compatible table, with labels.
        orders: By name, the one in force first.
        question: The reward, and how chances are known.
        estimator: Null: ``snips``. Of ``dr`` the bundle's own predictions are the reward model.
        temperature: As in ``PlackettLuce``.
        over: As in ``RankedLog``.
        part: As in ``read_logged``.
        max_quarantine_share: As in ``read_logged``.

    Raises:
        ConfigError: The question fits no log, or an unknown part.
        DataError: The log is refused or says not what was likely, or every ranking is refused.
    """
    found = read_logged(
        scorer,
        log,
        list(orders.values()),
        question,
        part=part,
        max_quarantine_share=max_quarantine_share,
    )
    estimator = SNIPS() if estimator is None else estimator
    lists = DrawnLists(
        found=found,
        places=question.places,
        policy=PlackettLuce(temperature=temperature),
        over=over,
        with_model=estimator.kind == "dr",
    )
    return judge(lists, found, orders, question, estimator)


def estimate_jittered(
    scorer: Scorer,
    log: Any,
    orders: Mapping[str, Order],
    question: Question,
    *,
    centre: Mapping[str, float],
    jitter: tuple[WeightJitter, WeightJitter],
    estimator: Estimator | None = None,
    part: str = "all",
    max_quarantine_share: float | None = None,
) -> Judgement:
    """As ``estimate_log``, of requests whose weights were drawn by ``WeightJitter``.

    Args:
        scorer: As in ``estimate_log``.
        log: With a column ``weight_<name>`` for each weight of ``centre``.
        orders: As in ``estimate_log``; each has the weights of ``centre``.
        question: The reward.
        centre: The weights that were drawn around.
        jitter: What was logged with, and the narrower one that each ranking is judged with, around
            its own weights.
        estimator: Null: ``snips``; ``dr`` has no model of what other weights would show.
        part: As in ``read_logged``.
        max_quarantine_share: As in ``read_logged``.

    Raises:
        ConfigError: As ``estimate_log``; or a ranking has other weights, or leaves the jitter.
        DataError: As ``estimate_log``; or the drawn weights are not of this jitter.
    """
    estimator = SNIPS() if estimator is None else estimator
    if estimator.kind == "dr":
        raise ConfigError(
            "needs what a model expects of lists that other weights would make",
            where=f"{WHERE}: dr",
            hint="Use snips, ips or clipped_ips with drawn weights.",
        )
    found = read_logged(
        scorer,
        log,
        list(orders.values()),
        dataclasses.replace(question, drawn=tuple(centre)),
        part=part,
        max_quarantine_share=max_quarantine_share,
    )
    weights = DrawnWeights(
        found=found,
        centre=centre,
        logging=jitter[0],
        jitter=jitter[1],
        places=question.places,
    )
    return judge(weights, found, orders, question, estimator)


def weights_of(order: Order) -> dict[str, float]:
    """By name, what of an order a jitter draws."""
    return dict(order.weights) if order.model is None else order.model.tunable


def judge(
    decisions: Decisions,
    found: LoggedRows,
    orders: Mapping[str, Order],
    question: Question,
    estimator: Estimator,
) -> Judgement:
    """Each ranking by ``estimator``, and its difference to the first, on the same decisions.

    Raises:
        DataError: Every one is refused; each with its reason and what would help.
    """
    rows = {name: decisions.under(order) for name, order in orders.items()}
    base = next(iter(rows.values()))
    policies: list[Judged] = []
    refused: list[DataError] = []
    for name, logged in rows.items():
        try:
            estimate = estimator.estimate(logged)
        except DataError as error:
            refused.append(_advised(error, logged, decisions, orders[name], estimator))
            policies.append(Judged(name=name, estimate=None, refused=str(refused[-1])))
            continue
        beside = logged is not base and policies[0].estimate is not None
        policies.append(
            Judged(
                name=name,
                estimate=estimate,
                to_logged=estimator.difference(logged),
                to_in_force=estimator.difference(logged, base) if beside else None,
            )
        )
    if len(refused) == len(policies):
        raise _all_refused(refused, found, list(orders))
    return Judgement(
        on=found.on,
        rewards=dict(question.worth),
        places=question.places,
        estimator=estimator.kind,
        confidence=estimator.confidence,
        ranking=decisions.told,
        requests=found.num_requests,
        left_out=dict(found.left_out),
        clusters=found.clusters,
        logged=estimator.logged_mean(decisions.as_logged()),
        policies=tuple(policies),
    )


def _advised(
    error: DataError, logged: Logged, decisions: Decisions, order: Order, estimator: Estimator
) -> DataError:
    """The error, with what would help where the overlap is too small."""
    least = estimator.min_effective
    advice = decisions.advice(order, least) if _least_effective(logged) < least else ""
    hint = f"{error.hint} {advice}".strip()
    return DataError(error.message, where=error.where, hint=hint)


def _all_refused(
    refused: Sequence[DataError], found: LoggedRows, names: Sequence[str]
) -> DataError:
    if len(refused) == 1:
        return refused[0]
    problems = tuple(
        DataError(one.message, where=name, hint=one.hint)
        for name, one in zip(names, refused, strict=True)
    )
    told = f"{len(refused)} rankings cannot be judged by {found.on}"
    return DataError(told, where=WHERE, problems=problems)


def _least_effective(logged: Logged) -> float:
    """Effective clusters of the place that has the fewest."""
    weighted_N = logged.weights_N * logged.importance_N
    return min(kish(logged.sums(weighted_N * here_N)) for _, here_N in logged.by_place())


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and math.isnan(tree) else tree
