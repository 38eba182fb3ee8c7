"""What users did on a day, and what it did to them.

U users, R requests, K candidates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from polyrank.simulation.experiment.config import ReturnConfig
from polyrank.simulation.experiment.days import Day
from polyrank.simulation.responses import Labels

IntArray = npt.NDArray[np.int64]

COUNTS = {
    "requests": "lists asked for",
    "clicks": "",
    "long_views": "watched long for the length",
    "likes": "",
    "purchases": "",
    "reports": "",
    "satisfied": "clicks that satisfied; truth",
    "satisfied_long_views": "truth",
    "quick_exits": "views that were shorter than `quick_exit_s` and did not satisfy; truth",
    "background_plays": "views of at least `background_play_s` that did not satisfy; truth",
}
"""Columns that count events of a user and day, and what they count."""
TIMES = {
    "watch_s": "watch time",
    "unsatisfied_s": "of it, in views that did not satisfy; truth",
    "background_s": "of it, in background plays; truth",
}
"""Columns in seconds."""


def outcomes(
    returns: ReturnConfig, day: Day, labels: Labels, num_users: int
) -> dict[str, npt.NDArray[np.generic]]:
    """(U,) sums of the day by user, 0 for those without a request: ``COUNTS`` and ``TIMES``."""
    satisfied = labels.click & (day.satisfied_RK < day.truth.satisfaction)
    unsatisfied = labels.click & ~satisfied
    watch_s = labels.watch_time_s
    background = unsatisfied & (watch_s >= returns.background_play_s)
    counted = {
        "clicks": labels.click,
        "long_views": labels.click & labels.long_view,
        "likes": labels.click & labels.like,
        "purchases": labels.click & labels.purchase,
        "reports": labels.click & labels.report,
        "satisfied": satisfied,
        "satisfied_long_views": satisfied & labels.long_view,
        "quick_exits": unsatisfied & (watch_s < returns.quick_exit_s),
        "background_plays": background,
    }
    timed = {
        "watch_s": np.where(labels.click, watch_s, 0.0),
        "unsatisfied_s": np.where(unsatisfied, watch_s, 0.0),
        "background_s": np.where(background, watch_s, 0.0),
    }
    user_R = day.requests.user_R
    return {
        "requests": np.bincount(user_R, minlength=num_users),
        **{name: _by_user(user_R, of.sum(axis=1), num_users) for name, of in counted.items()},
        **{
            name: np.bincount(user_R, weights=of.sum(axis=1), minlength=num_users)
            for name, of in timed.items()
        },
    }


def _by_user(user_R: IntArray, count_R: IntArray, num_users: int) -> IntArray:
    return np.bincount(user_R, weights=count_R, minlength=num_users).astype(np.int64)
