"""What a simulated feed is made of, as typed data."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import Field, model_validator

from polyrank.schema import Declared
from polyrank.simulation.examination import examination_curve

Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]

DAY_MS = 86_400_000
NUM_ITEM_TRAITS = 4
"""Traits of an item beside its latent vector: clickbait, length and two kinds of quality."""


class FeedConfig(Declared):
    """Every parameter of the simulated feed; the defaults are ``default_feed_config()``.

    "Standard deviation" below is over the catalogue: relevance, appeal and clickbait of the items
    are standardised there. Rates are calibrated before the first row, so a long log shows the
    configured ones within about 4 % of their value.

    Raises:
        ConfigError: A value outside its range, an unknown key, fewer items than a
            request or the latent space needs, a click rate that examination does not allow, or a
            purchase rate above the long-view rate. ``polyrank.schema.parse`` turns it into a
            ``ConfigError`` for each fault.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Fixes users, items and every row; 0 to 2**63 - 1."""
    num_users: Annotated[int, Field(ge=1, le=10_000_000)] = 2_000
    """Users; 1 to 10 million. Memory grows with it, never with the rows."""
    num_items: Annotated[int, Field(ge=1, le=10_000_000)] = 2_000
    """Items; at least ``candidates_per_request`` and ``4 * (latent_dim + 4)``, up to 10 million."""
    candidates_per_request: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Items ranked and shown in one request, so rows a request; 1 to 1,000."""
    days: Annotated[int, Field(ge=1, le=3_650)] = 7
    """Days the log spans, whatever its number of rows; 1 to 3,650."""
    start: datetime.date = datetime.date(2026, 1, 5)
    """First day, UTC; from 1970-01-01 to 2200-01-01."""

    latent_dim: Annotated[int, Field(ge=2, le=64)] = 4
    """Width of the space where tastes of users meet items; 2 to 64."""
    signal: Annotated[float, Field(ge=0, le=5)] = 1.5
    """Logits per standard deviation of a cause; 0 makes every response a coin with the configured
    rate, 5 nearly a rule."""
    satisfaction_appeal_correlation: Annotated[float, Field(ge=-1, le=1)] = 0.6
    """rho: correlation of relevance (what satisfies) with appeal (what is clicked) before
    clickbait; -1 to 1. With it, corr(appeal, satisfaction) = (rho - g^2) / (1 + g^2), g being
    ``clickbait_strength``."""
    clickbait_strength: Annotated[float, Field(ge=0, le=3)] = 0.5
    """How much one standard deviation of clickbait adds to appeal and takes from satisfaction, in
    standard deviations of relevance; 0 to 3."""
    length_effect: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Elasticity of watch time in video length: twice as long is watched 2**length_effect times
    as long, at equal satisfaction; 0 to 2."""
    watch_noise: Annotated[float, Field(gt=0, lt=0.5)] = 0.35
    """Logistic scale of log watch time; above 0, below 0.5 so that its variance is finite."""
    median_watch_time_s: Annotated[float, Field(gt=0, le=3_600)] = 12.0
    """Median watch time of a click of mean satisfaction on a 30-second video; seconds, up to
    3,600."""

    examination_power: Annotated[float, Field(ge=0, le=5)] = 0.5
    """Position bias: the position-based part of examination is position**-power; 0 (none) to 5."""
    examination_floor: Share = 0.0
    """Share of users who look at every position; 0 to 1 (no position bias)."""
    logging_appeal_weight: Share = 0.7
    """Weight of appeal, against satisfaction, in the ranking that made the log; 0 to 1."""
    ranking_noise: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Gumbel scale of that ranking in standard deviations of its score; 0 (always the same order)
    or 0.01 to 100 (nearly random)."""

    click_rate: Rate = 0.2
    """Clicks per impression; above 0, below the mean examination."""
    long_view_rate: Rate = 0.4
    """Long views per click; above 0, below 1."""
    purchase_rate: Rate = 0.05
    """Purchases per click; above 0, below ``long_view_rate``: only a long view leads to one."""
    like_rate: Rate = 0.1
    """Likes per click; above 0, below 1."""
    report_rate: Rate = 0.01
    """Reports (bad) per click; above 0, below 1."""

    purchase_delay_days: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """How long after the click a purchase comes: exponential, with this mean for an item of mean
    intent to buy and ``exp(-intent / 2)`` times it for others: what is bought often is bought
    sooner. Days, 0 (at once) to 1,000. Above 0 the log has ``purchase_time_ms``, and no purchase
    after its cut."""
    observed_days: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """When the log is cut, in days from its start; at least ``days``; null: at the end of its days.
    It only matters where purchases are delayed."""

    activity_spread: Annotated[float, Field(ge=0, le=3)] = 1.0
    """Standard deviation of log activity; a user's share of requests is proportional to activity;
    0 to 3."""
    popularity_spread: Annotated[float, Field(ge=0, le=3)] = 0.8
    """Standard deviation of log popularity; an item's share of candidates grows with it; 0 to 3."""
    history_length: Annotated[int, Field(ge=0, le=200)] = 20
    """Longest ``user_history``; 0 to 200 items."""
    embedding_dim: Annotated[int, Field(ge=1, le=256)] = 8
    """Width of ``item_embedding``; 1 to 256. From ``latent_dim + 3`` on it holds all it could."""
    embedding_noise: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Standard deviation of the noise in ``item_embedding``, beside a signal of 1; 0 to 100."""
    missing_rate: Share = 0.05
    """Share of users whose ``user_activity`` is null; 0 to 1."""

    @model_validator(mode="after")
    def _consistent(self) -> FeedConfig:
        faults = [*self._size_faults(), *self._rate_faults()]
        if self.observed_days is not None and self.observed_days < self.days:
            faults.append(
                f"`observed_days` must be at least `days` {self.days}, got {self.observed_days}; "
                "raise it"
            )
        if 0 < self.ranking_noise < 0.01:
            faults.append(
                f"`ranking_noise` must be 0 or at least 0.01, got {self.ranking_noise}; use 0"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _size_faults(self) -> list[str]:
        faults = []
        needed = max(self.candidates_per_request, 4 * (self.latent_dim + NUM_ITEM_TRAITS))
        if self.num_items < needed:
            faults.append(
                f"`num_items` must be at least {needed} (`candidates_per_request` and "
                f"4 * (`latent_dim` + {NUM_ITEM_TRAITS})), got {self.num_items}; raise it"
            )
        if not datetime.date(1970, 1, 1) <= self.start <= datetime.date(2200, 1, 1):
            faults.append(f"`start` must be from 1970-01-01 to 2200-01-01, got {self.start}")
        return faults

    def _rate_faults(self) -> list[str]:
        faults = []
        examined = self.mean_examination
        if self.click_rate >= examined:
            faults.append(
                f"`click_rate` must be below the mean examination {examined:.4g}, got "
                f"{self.click_rate}; lower it, or lower `examination_power`"
            )
        if self.purchase_rate >= self.long_view_rate:
            faults.append(
                f"`purchase_rate` must be below `long_view_rate` {self.long_view_rate}, got "
                f"{self.purchase_rate}; lower it"
            )
        return faults

    @property
    def start_ms(self) -> int:
        """The start of the log; UTC milliseconds since 1970."""
        start = datetime.datetime.combine(self.start, datetime.time(), tzinfo=datetime.UTC)
        return int(start.timestamp()) * 1_000

    @property
    def observed_until_ms(self) -> int:
        """When the log is cut; UTC milliseconds since 1970."""
        days = self.days if self.observed_days is None else self.observed_days
        return self.start_ms + round(days * DAY_MS)

    @property
    def mean_examination(self) -> float:
        """Mean examination over the positions of a request: the ceiling of ``click_rate``."""
        return float(
            examination_curve(
                self.candidates_per_request, self.examination_power, self.examination_floor
            ).mean()
        )


def default_feed_config(seed: int = 0) -> FeedConfig:
    """The feed of the demo: from 300,000 rows on, ids and features teach a model much of it."""
    return FeedConfig(seed=seed)
