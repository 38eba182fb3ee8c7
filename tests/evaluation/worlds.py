"""Small logs to evaluate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polyrank.evaluation import Observations


@dataclass(frozen=True)
class Task:
    name: str
    kind: str


CLICK = Task("click", "binary")
LIKE = Task("like", "binary")
STARS = Task("stars", "regression")
PLAY = Task("play_time", "duration")
TASKS = (CLICK, LIKE, STARS, PLAY)


def log(seed: int = 0, size: int = 300, users: int = 40, noise: float = 0.5) -> Observations:
    """Users with a few requests each; like and play time are observed after a click only."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, size)
    request = user * 10 + rng.integers(0, 3, size)
    logit = rng.normal(-0.5, 1.0, size) + rng.normal(0, 1.0, users)[user]
    seen = logit + rng.normal(0, noise, size)
    click = (rng.random(size) < 1 / (1 + np.exp(-logit))).astype(float)
    prob = np.round(1 / (1 + np.exp(-seen)), 2)
    everywhere = np.ones(size, dtype=bool)
    like = np.where(click == 1, (rng.random(size) < 0.4).astype(float), np.nan)
    play = np.where(click == 1, np.round(np.exp(logit + rng.normal(0, 0.5, size)), 1), np.nan)
    return Observations(
        predictions={"click": prob, "like": prob / 2, "stars": seen, "play_time": np.exp(seen)},
        labels={"click": click, "like": like, "stars": logit, "play_time": play},
        masks={
            "click": everywhere,
            "like": click == 1,
            "stars": everywhere,
            "play_time": click == 1,
        },
        weights=rng.choice([0.0, 0.5, 1.0, 2.0], size),
        groups={"user": user * 2**40 - 7, "request": request},
        slices={"tab": rng.choice(["home", "search"], size), "hour": rng.integers(0, 3, size)},
    )


def take(observations: Observations, index: Any) -> Observations:
    """The rows at ``index``."""

    def cut(columns: Any) -> Any:
        return {key: column[index] for key, column in columns.items()}

    return replace(
        observations,
        predictions=cut(observations.predictions),
        labels=cut(observations.labels),
        masks=cut(observations.masks),
        weights=None if observations.weights is None else observations.weights[index],
        groups=cut(observations.groups),
        slices=cut(observations.slices),
    )
