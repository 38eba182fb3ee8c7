"""What an experiment on a simulated feed is made of, as typed data.

Why each value: docs/simulation.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from polyrank.schema import Declared
from polyrank.simulation.config import FeedConfig

Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=10)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]

Design = Literal["paired", "split"]


class ReturnConfig(Declared):
    """Whether a user comes back the next day.

    logit P(return) = logit(base) + satisfied_view * log2(1 + S) - quick_exit * log2(1 + Q)
    - background_play * log2(1 + B) - report * log2(1 + R), with the day's counts of satisfied long
    views S, quick exits Q, background plays B and reports R. A weight is in logits a doubling:
    what the first event adds, or the second and third together.

    Raises:
        ConfigError: A value outside its range, an unknown key, or ``background_play_s`` not above
            ``quick_exit_s``.
    """

    base_rate: Rate = 0.8
    """P(return) of the median user after a day on which nothing happened; above 0, below 1."""
    base_spread: Annotated[float, Field(ge=0, le=5)] = 0.8
    """Standard deviation of the personal base; logits, 0 to 5."""
    satisfied_view: Weight = 0.4
    """What long views that satisfy add; logits a doubling, 0 to 10."""
    quick_exit: Weight = 0.4
    """What quick exits take; logits a doubling, 0 to 10."""
    background_play: Weight = 0.2
    """What background plays take; logits a doubling, 0 to 10."""
    report: Weight = 1.2
    """What reports take; logits a doubling, 0 to 10."""
    quick_exit_s: Seconds = 5.0
    """A view that does not satisfy and is shorter is a quick exit; seconds, up to a day."""
    background_play_s: Seconds = 60.0
    """A view that does not satisfy and is at least as long is background play; seconds, up to a
    day."""

    @model_validator(mode="after")
    def _ordered(self) -> ReturnConfig:
        if self.background_play_s <= self.quick_exit_s:
            raise ValueError(
                f"`background_play_s` must be above `quick_exit_s` {self.quick_exit_s:g}, got "
                f"{self.background_play_s:g}; raise it"
            )
        return self


class ExperimentConfig(Declared):
    """An experiment: for how long, on what, and how users come to arms.

    Raises:
        ConfigError: A value outside its range or an unknown key.
    """

    days: Annotated[int, Field(ge=1, le=365)] = 7
    """Days; on the first one every user is there; 1 to 365."""
    requests_per_day: Annotated[float, Field(ge=1, le=50)] = 2.5
    """Mean requests of a user on a day on which the user is there; 1 to 50. One, and a Poisson
    number in proportion to the user's activity, in all at most ``MOST_REQUESTS``."""
    candidates: Annotated[int, Field(ge=2, le=1_000)] = 30
    """Candidates that reach the ranking of a request; the first ``candidates_per_request`` of the
    feed are shown; at least so many, up to 1,000 and to the feed's items."""
    design: Design = "paired"
    """``paired``: every arm has every user. ``split``: each user is in one arm, by chance, as in a
    real test."""
    returns: ReturnConfig = ReturnConfig()
    """Who comes back."""


class SimulationConfig(Declared):
    """The ready-made experiment as one tree: what ``polyrank simulate --feed FILE`` reads.

    Raises:
        ConfigError: A value outside its range or an unknown key.
    """

    feed: FeedConfig = FeedConfig()
    """The feed, and the seed of everything."""
    experiment: ExperimentConfig = ExperimentConfig()
    """Who is asked, for how long, and who comes back."""
    rows: Annotated[int, Field(ge=2_000, le=100_000_000)] = 200_000
    """Impressions of the log that the model learns from; 2,000 to 100 million. It is held in
    memory."""
