"""What a bundle's ranking and others would have earned on a log of known chances."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy import (
    SNIPS,
    Difference,
    Estimate,
    Estimator,
    Logged,
    Over,
    PlackettLuce,
    WeightJitter,
)
from polyrank.scoring.off_policy_columns import WHERE
from polyrank.scoring.off_policy_decisions import (
    Decisions,
    DrawnLists,
    DrawnWeights,
    least_effective,
    refuse_formulas,
    weights_of,
)
from polyrank.scoring.off_policy_log import (
    LoggedRows,
    Question,
    drawn_from,
    read_logged,
)
from polyrank.scoring.order import Order
from polyrank.scoring.scorer import Scorer


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
    centre: Order,
    jitter: tuple[WeightJitter, WeightJitter],
    estimator: Estimator | None = None,
    part: str = "all",
    max_quarantine_share: float | None = None,
) -> Judgement:
    """As ``estimate_log``, of requests whose weights were drawn by ``WeightJitter``.

    Args:
        scorer: As in ``estimate_log``.
        log: With a column ``weight_<name>`` for each weight of ``centre``.
        orders: As in ``estimate_log``; each differs from ``centre`` in its weights alone.
        question: The reward.
        centre: What the log was ranked by, but for the noise on its weights.
        jitter: What was logged with, and the narrower one that each ranking is judged with, around
            its own weights.
        estimator: Null: ``snips``; ``dr`` has no model of what other weights would show.
        part: As in ``read_logged``.
        max_quarantine_share: As in ``read_logged``.

    Raises:
        ConfigError: As ``estimate_log``; or a ranking is of another formula or other weights, or
            leaves the jitter.
        DataError: As ``estimate_log``; or the drawn weights are not of this jitter.
    """
    estimator = SNIPS() if estimator is None else estimator
    if estimator.kind == "dr":
        raise ConfigError(
            "needs what a model expects of lists that other weights would make",
            where=f"{WHERE}: dr",
            hint="Use snips, ips or clipped_ips with drawn weights.",
        )
    refuse_formulas(centre, orders)
    found = read_logged(
        scorer,
        log,
        list(orders.values()),
        dataclasses.replace(
            question,
            drawn=tuple(weights_of(centre)),
            drawn_from=drawn_from(weights_of(centre), jitter[0]),
        ),
        part=part,
        max_quarantine_share=max_quarantine_share,
    )
    weights = DrawnWeights(
        found=found,
        centre=weights_of(centre),
        logging=jitter[0],
        jitter=jitter[1],
        places=question.places,
    )
    return judge(weights, found, orders, question, estimator)


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
    advice = decisions.advice(order, least) if least_effective(logged) < least else ""
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


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and math.isnan(tree) else tree
