"""The course of an experiment: arms, day by day.

A arms, U users, R requests, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.errors import ConfigError, PolyrankError, counted
from polyrank.simulation.examination import examination_curve
from polyrank.simulation.experiment.config import ExperimentConfig
from polyrank.simulation.experiment.days import draw_day
from polyrank.simulation.experiment.offer import Offer
from polyrank.simulation.experiment.outcomes import outcomes
from polyrank.simulation.experiment.policies import LoggingPolicy, Policy
from polyrank.simulation.experiment.returning import draw_bases, return_probability
from polyrank.simulation.ranking import Ranking
from polyrank.simulation.responses import Labels, respond
from polyrank.simulation.streams import Stream, generator
from polyrank.simulation.world import World

BoolArray = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[np.generic]]
Report = Callable[[int, Mapping[str, int]], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What happened, a row a user and day on which the user was there.

    Columns: ``user`` (row of the feed's users), ``day`` (from 1), those of ``COUNTS`` and
    ``TIMES``, ``return_probability`` (truth) and ``returned`` (was there the next day).
    """

    config: ExperimentConfig
    before: pa.Table
    """The day before, day 0, on which every user was there and the logging policy ranked."""
    arms: Mapping[str, pa.Table]
    assigned: Mapping[str, npt.NDArray[np.int64]]
    """By arm, the users that it has, in order."""


class Experiment:
    """Arms that rank for the same users, candidates and fates.

    Args:
        world: The feed.
        config: The parameters.

    Raises:
        ConfigError: Fewer candidates than are shown, or more than there are items.
    """

    def __init__(self, world: World, config: ExperimentConfig | None = None) -> None:
        self.world = world
        self.config = config or ExperimentConfig()
        feed = world.config
        if not feed.candidates_per_request <= self.config.candidates <= feed.num_items:
            raise ConfigError(
                f"`candidates` must be from {feed.candidates_per_request}, which are shown, to the "
                f"{feed.num_items} items of the feed, got {self.config.candidates}"
            )
        shown_K = examination_curve(
            feed.candidates_per_request, feed.examination_power, feed.examination_floor
        )
        self._examination_K = np.pad(shown_K, (0, self.config.candidates - len(shown_K)))
        self._base_U = draw_bases(feed, self.config.returns)

    def check(self, arms: Mapping[str, Policy]) -> None:
        """Let each arm rank one request, before there is anything to lose.

        Raises:
            ConfigError: One cannot; it says why.
        """
        day = draw_day(self.world, self.config, 0)
        first_R = np.arange(len(day.requests.user_R)) == 0
        offer = Offer(self.world, day.chosen(first_R))
        for name, policy in arms.items():
            try:
                policy.rank(offer)
            except PolyrankError as error:
                raise ConfigError(
                    f"cannot rank what the feed offers: {error.message}",
                    where=f"arm {name!r}",
                    hint=error.hint,
                    problems=error.problems,
                ) from error

    def run(self, arms: Mapping[str, Policy], report: Report | None = None) -> Course:
        """Let each arm rank for its users until the last day.

        Args:
            arms: Policies by name.
            report: Told each day, from 1, once it is over, with the users that were there by arm.

        Raises:
            ConfigError: No arm, or in a split one without a user.
        """
        if not arms:
            raise ConfigError("an experiment needs at least one arm")
        before = self._before()
        assigned = self._assigned(list(arms))
        there = dict(assigned)
        found: dict[str, list[pa.Table]] = {name: [] for name in arms}
        for number in range(1, self.config.days + 1):
            day = draw_day(self.world, self.config, number)
            offer = Offer(self.world, day.of(np.logical_or.reduce(list(there.values()))))
            for name, policy in arms.items():
                here = there[name]
                columns = self._day(offer, policy, here)
                there[name] = here & columns["returned"].astype(np.bool_)
                found[name].append(_table(columns, here, number))
            if report is not None:
                report(number, {name: int(tables[-1].num_rows) for name, tables in found.items()})
        return Course(
            config=self.config,
            before=before,
            arms={
                name: pa.concat_tables(tables).combine_chunks() for name, tables in found.items()
            },
            assigned={name: np.flatnonzero(here) for name, here in assigned.items()},
        )

    def answers(self, offer: Offer, ranking: Ranking) -> Labels:
        """What users do when they are shown the first places of ``ranking``."""
        day = offer.day
        examination_RK = self._examination_K[ranking.position_RK - 1]
        feed = self.world.config
        return respond(feed, day.causes, day.truth, examination_RK, day.requests.fate)

    def _before(self) -> pa.Table:
        """Day 0."""
        there = np.ones(self.world.config.num_users, dtype=np.bool_)
        offer = Offer(self.world, draw_day(self.world, self.config, 0))
        return _table(self._day(offer, LoggingPolicy(), there), there, 0)

    def _assigned(self, names: list[str]) -> dict[str, BoolArray]:
        """(U,) by arm, who is in it."""
        num_users = self.world.config.num_users
        if self.config.design == "paired":
            return {name: np.ones(num_users, dtype=np.bool_) for name in names}
        arm_U = generator(self.world.config.seed, Stream.ASSIGNMENT).integers(
            len(names), size=num_users
        )
        found = {name: arm_U == place for place, name in enumerate(names)}
        empty = [name for name, here_U in found.items() if not here_U.any()]
        if empty:
            raise ConfigError(
                f"a split of {counted(num_users, 'user')} over {len(names)} arms leaves none to "
                f"{', '.join(map(repr, empty))}",
                where="design",
                hint="Raise `num_users` of the feed, or leave the design paired.",
            )
        return found

    def _day(self, offer: Offer, policy: Policy, there: BoolArray) -> Columns:
        """(U,) outcomes of one arm's day, whoever is not there included."""
        kept_R = there[offer.day.requests.user_R]
        ranking = policy.rank(offer)
        ranking = Ranking(ranking.order_RK[kept_R], ranking.propensity_RK[kept_R])
        mine = Offer(self.world, offer.day.chosen(kept_R))
        returns = self.config.returns
        found = outcomes(returns, mine.day, self.answers(mine, ranking), len(there))
        probability_U = return_probability(returns, self._base_U, found)
        found["return_probability"] = probability_U
        found["returned"] = offer.day.return_U < probability_U
        return found


def _table(columns: Columns, there: BoolArray, day: int) -> pa.Table:
    rows = {name: pa.array(values[there]) for name, values in columns.items()}
    user = np.flatnonzero(there)
    return pa.table({"user": user, "day": np.full(len(user), day), **rows})
