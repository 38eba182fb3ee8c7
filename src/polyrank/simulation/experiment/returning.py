"""Who comes back the next day.

U users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from polyrank.simulation.config import FeedConfig
from polyrank.simulation.experiment.config import ReturnConfig
from polyrank.simulation.responses import sigmoid
from polyrank.simulation.streams import Stream, generator

FloatArray = npt.NDArray[np.float64]


def draw_bases(feed: FeedConfig, config: ReturnConfig) -> FloatArray:
    """(U,) logits of each user's return after a day without events; the same in every arm."""
    normal_U = generator(feed.seed, Stream.LOYALTY).standard_normal(feed.num_users)
    middle = math.log(config.base_rate / (1 - config.base_rate))
    return np.asarray(middle + config.base_spread * normal_U)


def return_probability(
    config: ReturnConfig, base_U: FloatArray, counts: Mapping[str, npt.NDArray[Any]]
) -> FloatArray:
    """(U,) probability of each user to come back; see ``ReturnConfig``.

    Args:
        config: What weighs how much.
        base_U: From ``draw_bases``.
        counts: (U,) events of the day: ``satisfied_long_views``, ``quick_exits``,
            ``background_plays`` and ``reports``.
    """
    weights = {
        "satisfied_long_views": config.satisfied_view,
        "quick_exits": -config.quick_exit,
        "background_plays": -config.background_play,
        "reports": -config.report,
    }
    moved_U = sum(weight * np.log2(1.0 + counts[name]) for name, weight in weights.items())
    return sigmoid(base_U + moved_U)
