"""A day of an experiment: every request that could come, with all that is true of it.

Every draw of a day stands at the address of that day, belongs to a user and a candidate, and is
made whether or not the user is there: arms share it, and what an arm lost changes no other draw.

U users, R requests of a day, K candidates.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from polyrank.simulation.config import DAY_MS
from polyrank.simulation.experiment.config import ExperimentConfig
from polyrank.simulation.requests import (
    HOUR_MS,
    HOURLY_WEIGHT,
    SURFACE_SHARE,
    Fate,
    Requests,
)
from polyrank.simulation.responses import Causes, Truth
from polyrank.simulation.streams import (
    Stream,
    draw_distinct,
    generator,
    gumbel,
    open_uniform,
)
from polyrank.simulation.world import World

FloatArray = npt.NDArray[np.float64]

MOST_REQUESTS = 20
"""A user's requests of a day."""
_FIRST_NUMBER = 2**40
"""No log has so many requests."""


@dataclass(frozen=True)
class Day:
    """Requests of users, candidates in catalogue order."""

    requests: Requests
    causes: Causes
    truth: Truth
    satisfied_RK: FloatArray
    """Uniform draws that decide whether a view satisfies."""
    return_U: FloatArray
    """Uniform draws that decide who comes back, of all users."""

    def of(self, there_U: npt.NDArray[np.bool_]) -> Day:
        """The requests of the users that are there."""
        return self.chosen(there_U[self.requests.user_R])

    def chosen(self, kept_R: npt.NDArray[np.bool_]) -> Day:
        """Some of the requests."""
        return dataclasses.replace(
            self,
            requests=_rows(self.requests, kept_R),
            causes=_rows(self.causes, kept_R),
            truth=_rows(self.truth, kept_R),
            satisfied_RK=self.satisfied_RK[kept_R],
        )


def draw_day(world: World, config: ExperimentConfig, day: int) -> Day:
    """Day ``day`` of the experiment; day 0 is the one before it."""
    feed = world.config
    rng = generator(feed.seed, Stream.EXPERIMENT, day)
    return_U = rng.random(feed.num_users)
    user_R = np.repeat(np.arange(feed.num_users), _num_requests(world, config, rng))
    num_drawn = len(user_R)
    shape = (num_drawn, config.candidates)
    hour_R = rng.choice(24, size=num_drawn, p=HOURLY_WEIGHT / HOURLY_WEIGHT.sum())
    elapsed_R = hour_R * HOUR_MS + rng.integers(HOUR_MS, size=num_drawn)
    first = _FIRST_NUMBER + day * feed.num_users * MOST_REQUESTS
    requests = Requests(
        number_R=first + np.arange(num_drawn),
        user_R=user_R,
        item_RK=draw_distinct(world.items.popularity_N, rng.random(shape)),
        surface_R=rng.choice(len(SURFACE_SHARE), size=num_drawn, p=SURFACE_SHARE),
        time_ms_R=feed.start_ms + (feed.days + day) * DAY_MS + elapsed_R,
        hour_R=hour_R,
        gumbel_RK=gumbel(rng, shape),
        fate=Fate(*(open_uniform(rng, shape) for _ in range(5))),
    )
    causes = world.causes(requests)
    return Day(requests, causes, world.truth(causes), rng.random(shape), return_U)


def _num_requests(
    world: World, config: ExperimentConfig, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(U,) one, and a Poisson number in proportion to activity."""
    share_U = np.diff(world.users.activity_U, prepend=0.0)
    mean_U = (config.requests_per_day - 1) * share_U * len(share_U)
    return np.asarray(np.minimum(1 + rng.poisson(mean_U), MOST_REQUESTS))


def _rows(found: Any, kept_R: npt.NDArray[np.bool_]) -> Any:
    """A dataclass of arrays, or of such dataclasses, for some of the requests."""
    if isinstance(found, np.ndarray):
        return found[kept_R]
    names = [field.name for field in dataclasses.fields(found)]
    return type(found)(**{name: _rows(getattr(found, name), kept_R) for name in names})
