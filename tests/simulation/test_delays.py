"""Purchases that come late, and a log that is cut before all of them have come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.errors import ConfigError
from polyrank.simulation import Feed, FeedConfig, observed
from polyrank.simulation.config import DAY_MS
from polyrank.simulation.log import LATE_TRUTH, PURCHASE_TIME
from tests.simulation.samples import column, make_log

SMALL: dict[str, Any] = {"num_users": 200, "num_items": 80, "purchase_rate": 0.2, "days": 5}
ROWS = 20_000


def test_without_a_delay_nothing_of_it_is_in_the_log() -> None:
    names = set(make_log(100, **SMALL).column_names)
    assert not names & {PURCHASE_TIME, *LATE_TRUTH}


def test_a_delay_changes_nothing_else_of_the_log() -> None:
    """The same draws, and every purchase once all have come."""
    at_once = make_log(ROWS, **SMALL)
    in_the_end = make_log(ROWS, **SMALL, purchase_delay_days=2.0, observed_days=1_000)
    assert in_the_end.select(at_once.column_names).equals(at_once)
    cut = make_log(ROWS, **SMALL, purchase_delay_days=2.0)
    others = [name for name in cut.column_names if name not in ("purchase", PURCHASE_TIME)]
    assert cut.select(others).equals(in_the_end.select(others))


@pytest.mark.parametrize("observed_days", [None, 6.5])
def test_a_purchase_is_in_the_log_once_it_has_come(observed_days: float | None) -> None:
    config = FeedConfig(**SMALL, purchase_delay_days=2.0, observed_days=observed_days)
    log = pa.concat_tables(Feed(config).tables(ROWS))
    days = 5.0 if observed_days is None else observed_days
    assert config.observed_until_ms == config.start_ms + days * DAY_MS
    happens = (column(log, "click") == 1) & (column(log, "truth_purchase") == 1)
    comes = log["time_ms"].to_numpy() + np.rint(
        log["truth_purchase_delay_d"].to_numpy().astype(np.float64) * DAY_MS
    )
    purchase = column(log, "purchase")
    border = np.abs(comes - config.observed_until_ms) < 1_000  # the truth is float32
    assert np.array_equal(np.isnan(purchase), column(log, "click") == 0)
    clicked = (column(log, "click") == 1) & ~border
    has_come = happens & (comes <= config.observed_until_ms)
    assert np.array_equal(purchase[clicked] == 1, has_come[clicked])
    assert 0.3 < has_come.sum() / happens.sum() < 0.95
    times = column(log, PURCHASE_TIME)
    assert np.array_equal(np.isnan(times), purchase != 1)
    assert np.abs(times - comes)[purchase == 1].max() < 1_000
    assert not set(LATE_TRUTH) & set(observed(log).column_names)


def test_delays_are_exponential_and_shorter_for_what_is_bought_often() -> None:
    feed = Feed(FeedConfig(**SMALL, purchase_delay_days=3.0))
    intent = dict(zip(feed.items()["item_id"].to_pylist(), feed.world.items.intent_N, strict=True))
    log = pa.concat_tables(feed.tables(ROWS))
    wanted = np.array([intent[item] for item in log["item_id"].to_pylist()])
    unit = column(log, "truth_purchase_delay_d") / (3.0 * np.exp(-wanted / 2))
    assert unit.min() > 0
    for moment, expected, variance in ((1, 1.0, 1.0), (2, 2.0, 20.0)):
        error = np.sqrt(variance / len(unit))
        assert abs((unit**moment).mean() - expected) < 4 * error


def test_every_cut_of_the_stream_gives_the_same_rows() -> None:
    feed = Feed(FeedConfig(**SMALL, purchase_delay_days=2.0))
    whole = pa.concat_tables(feed.tables(5_000))
    assert pa.concat_tables(feed.tables(5_000, chunk_rows=777)).equals(whole)
    assert pa.concat_tables(feed.tables(5_000, first_row=1_234)).equals(whole.slice(1_234))


def test_a_cut_before_the_end_of_the_days_is_refused() -> None:
    with pytest.raises(ConfigError, match="`observed_days` must be at least `days` 7, got 6"):
        FeedConfig(observed_days=6)
