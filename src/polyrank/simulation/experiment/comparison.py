"""Arms of a course against each other, by user.

U users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.errors import ConfigError, suggest
from polyrank.evaluation.ab import Arm, Experiment, Guardrail, Primary, analyse
from polyrank.simulation.experiment.course import Course

FloatArray = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Sums of a column over users, divided by those of another, else by the users of the arm."""

    column: str
    over: str | None
    told: str
    higher_is_better: bool
    truth: bool = False
    """Only a simulation knows it."""


METRICS = {
    "clicks": Metric(column="clicks", over="requests", told="a request", higher_is_better=True),
    "quick_exits": Metric(
        column="quick_exits",
        over="requests",
        told="views a request left early that did not satisfy",
        higher_is_better=False,
        truth=True,
    ),
    "watch_s": Metric(
        column="watch_s", over="requests", told="seconds watched a request", higher_is_better=True
    ),
    "background": Metric(
        column="background_plays",
        over="requests",
        told="long views a request that did not satisfy",
        higher_is_better=False,
        truth=True,
    ),
    "unsatisfied": Metric(
        column="unsatisfied_s",
        over="watch_s",
        told="share of watch time in views that did not satisfy",
        higher_is_better=False,
        truth=True,
    ),
    "purchases": Metric(
        column="purchases", over="requests", told="a request", higher_is_better=True
    ),
    "reports": Metric(column="reports", over="requests", told="a request", higher_is_better=False),
    "satisfied": Metric(
        column="satisfied",
        over="requests",
        told="clicks a request that satisfied",
        higher_is_better=True,
        truth=True,
    ),
    "returns": Metric(
        column="returned", over=None, told="days a user came back on", higher_is_better=True
    ),
}
"""What arms are compared by. Those a request are of the users who were still there, which a ranking
chooses, too; ``returns`` counts every user that an arm was given."""

PRIMARY = Primary(metric="returns")
GUARDRAILS = (
    Guardrail(metric="clicks", margin=0.10),
    Guardrail(metric="watch_s", margin=0.02),
    Guardrail(metric="purchases", margin=0.02),
    Guardrail(metric="reports", margin=0.05, higher_is_better=False),
)
"""What a ranking may lose at most; docs/simulation.md says why."""


def arm_of(course: Course, name: str) -> Arm:
    """The users of an arm with what they did in all; in a split with the day before as covariates.

    Raises:
        ConfigError: There is no such arm.
    """
    if name not in course.arms:
        raise ConfigError(f"there is no arm {name!r}", hint=suggest(name, course.arms))
    users = course.assigned[name]
    sums = user_sums(course.arms[name], users)
    before = {} if course.config.design == "paired" else user_sums(course.before, users)
    ratios = {key: metric.over for key, metric in METRICS.items() if metric.over is not None}
    return Arm(
        numerators={key: sums[metric.column] for key, metric in METRICS.items()},
        denominators={key: sums[over] for key, over in ratios.items()},
        covariates={
            key: np.column_stack([before[name] for name in (metric.column, metric.over) if name])
            for key, metric in METRICS.items()
        }
        if before
        else {},
        users=users,
    )


def user_sums(table: pa.Table, users: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
    """(U,) by column, the sums over days of the users named, 0 for one without a row."""
    place_N = np.searchsorted(users, table["user"].to_numpy())
    inside_N = users[np.minimum(place_N, len(users) - 1)] == table["user"].to_numpy()
    return {
        name: np.bincount(
            place_N[inside_N],
            weights=table[name].to_numpy(zero_copy_only=False)[inside_N].astype(np.float64),
            minlength=len(users),
        )
        for name in table.column_names
        if name not in ("user", "day")
    }


def compare(course: Course, reference: str, treatment: str) -> Experiment:
    """Differences of ``treatment`` from ``reference``, the verdict on returns and guardrails.

    Raises:
        ConfigError: There is no such arm, or it is compared with itself.
    """
    if reference == treatment:
        raise ConfigError(f"arm {reference!r} is compared with itself", hint="Name another.")
    return analyse(
        arm_of(course, reference),
        arm_of(course, treatment),
        primary=PRIMARY,
        guardrails=GUARDRAILS,
        paired=course.config.design == "paired",
    )
