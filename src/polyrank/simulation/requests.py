"""Requests: who asks, when, from which surface, and which candidates are on offer.

A block holds a fixed number of requests and draws all its randomness by its own address, so a
request is the same in whatever chunk it is written. The draws that decide the responses belong
to the candidates, not to the positions: another ranking of the same request meets the same fate.

R requests of a block, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polyrank.simulation.config import DAY_MS, FeedConfig
from polyrank.simulation.items import Items
from polyrank.simulation.streams import Stream, draw_distinct, generator, gumbel, open_uniform
from polyrank.simulation.users import Users

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SURFACES = ("home", "discover", "related")
SURFACE_SHARE = np.array([0.6, 0.3, 0.1])
HOUR_MS = 3_600_000
HOURLY_WEIGHT = 1.2 + np.cos(2 * np.pi * (np.arange(24) - 20) / 24)
"""Traffic by hour, most of it in the evening."""


@dataclass(frozen=True)
class Fate:
    """Uniform draws in (0, 1) that decide the responses to each candidate; all (R, K)."""

    click_RK: FloatArray
    watch_RK: FloatArray
    purchase_RK: FloatArray
    like_RK: FloatArray
    report_RK: FloatArray


@dataclass(frozen=True)
class Requests:
    """One block of requests; candidates stand in catalogue order, not ranked."""

    number_R: IntArray
    user_R: IntArray
    """Row of the user in ``Users.table``."""
    item_RK: IntArray
    """Rows of the candidates in ``Items.table``, distinct in a request."""
    surface_R: IntArray
    time_ms_R: IntArray
    """Milliseconds since 1970, UTC, not decreasing."""
    hour_R: IntArray
    gumbel_RK: FloatArray
    """Noise for the ranking."""
    fate: Fate


def draw_requests(
    config: FeedConfig,
    users: Users,
    items: Items,
    *,
    block: int,
    num_drawn: int,
    num_requests: int,
    stream: Stream,
) -> Requests:
    """The ``num_drawn`` requests of block ``block`` in a log of ``num_requests`` requests.

    Only times depend on ``num_requests``: the log fills its days whatever its length.
    """
    rng = generator(config.seed, stream, block)
    shape = (num_drawn, config.candidates_per_request)
    number_R = np.arange(block * num_drawn, (block + 1) * num_drawn)
    time_ms_R = _times(config, (number_R + rng.random(num_drawn)) / num_requests)
    return Requests(
        number_R=number_R,
        user_R=np.searchsorted(users.activity_U, rng.random(num_drawn), side="right"),
        item_RK=draw_distinct(items.popularity_N, rng.random(shape)),
        surface_R=rng.choice(len(SURFACES), size=num_drawn, p=SURFACE_SHARE),
        time_ms_R=time_ms_R,
        hour_R=time_ms_R % DAY_MS // HOUR_MS,
        gumbel_RK=gumbel(rng, shape),
        fate=Fate(*(open_uniform(rng, shape) for _ in range(5))),
    )


def _times(config: FeedConfig, fraction_R: FloatArray) -> IntArray:
    """The time at each share of the traffic of all days."""
    traffic = np.concatenate([[0.0], np.cumsum(np.tile(HOURLY_WEIGHT, config.days))])
    hour_R = np.interp(fraction_R, traffic / traffic[-1], np.arange(len(traffic)))
    elapsed_R = np.minimum((hour_R * HOUR_MS).astype(np.int64), config.days * DAY_MS - 1)
    return config.start_ms + elapsed_R
