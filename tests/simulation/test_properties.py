"""Laws for every valid configuration, and the room's use of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyrank.simulation import Feed, FeedConfig
from polyrank.simulation.responses import sigmoid, solve_intercept
from tests.simulation.samples import column


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    latent_dim = draw(st.integers(2, 10))
    candidates = draw(st.integers(1, 40))
    fewest = max(candidates, 4 * (latent_dim + 4))
    long_view_rate = draw(st.floats(0.01, 0.99))
    power, floor = draw(st.floats(0, 5)), draw(st.floats(0, 1))
    examined = np.mean(floor + (1 - floor) * np.arange(1.0, candidates + 1) ** -power)
    return {
        "seed": draw(st.integers(0, 2**63 - 1)),
        "num_users": draw(st.integers(1, 200)),
        "num_items": draw(st.integers(fewest, fewest + 200)),
        "candidates_per_request": candidates,
        "days": draw(st.integers(1, 30)),
        "start": draw(st.dates(FeedConfig().start, FeedConfig().start.replace(year=2199))),
        "latent_dim": latent_dim,
        "signal": draw(st.floats(0, 5)),
        "satisfaction_appeal_correlation": draw(st.floats(-1, 1)),
        "clickbait_strength": draw(st.floats(0, 3)),
        "length_effect": draw(st.floats(0, 2)),
        "watch_noise": draw(st.floats(0.001, 0.499)),
        "median_watch_time_s": draw(st.floats(0.1, 3_600)),
        "examination_power": power,
        "examination_floor": floor,
        "logging_appeal_weight": draw(st.floats(0, 1)),
        "ranking_noise": draw(st.just(0.0) | st.floats(0.01, 100)),
        "click_rate": float(examined) * draw(st.floats(0.01, 0.99)),
        "long_view_rate": long_view_rate,
        "purchase_rate": long_view_rate * draw(st.floats(0.01, 0.95)),
        "like_rate": draw(st.floats(0.001, 0.99)),
        "report_rate": draw(st.floats(0.0001, 0.99)),
        "activity_spread": draw(st.floats(0, 3)),
        "popularity_spread": draw(st.floats(0, 3)),
        "history_length": draw(st.integers(0, 60)),
        "embedding_dim": draw(st.integers(1, 20)),
        "embedding_noise": draw(st.floats(0, 100)),
        "missing_rate": draw(st.floats(0, 1)),
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs(), st.integers(1, 3_000), st.integers(1, 1_000))
def test_every_valid_config_makes_a_valid_log(
    parameters: dict[str, Any], num_rows: int, chunk_rows: int
) -> None:
    feed = Feed(FeedConfig(**parameters))
    log = pa.concat_tables(feed.tables(num_rows, chunk_rows))
    assert log.num_rows == num_rows
    assert log.schema.equals(feed.schema)
    assert (np.diff(log["time_ms"].to_numpy()) >= 0).all()
    click = column(log, "click") == 1
    for name in log.column_names:
        if pa.types.is_floating(log.schema.field(name).type) and name != "user_activity":
            values = column(log, name)
            assert np.isfinite(values[click] if name == "watch_time_s" else values).all(), name
    assert (np.isnan(column(log, "long_view")) == ~click).all()
    assert (column(log, "like")[~click] == 0).all()
    long_view, purchase = (np.nan_to_num(column(log, name)) for name in ("long_view", "purchase"))
    assert (purchase <= long_view).all()
    pairs = np.column_stack([log["request_id"].to_numpy(), log["item_id"].to_numpy()])
    assert len(np.unique(pairs, axis=0)) == num_rows
    propensity = column(log, "propensity")
    assert (propensity > 0).all()
    assert (propensity <= 1).all()


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.floats(0.001, 10)), min_size=1, max_size=50),
    st.floats(0.001, 0.999),
)
def test_an_intercept_reaches_any_target_between_none_and_all(
    entries: list[tuple[float, float]], share: float
) -> None:
    logits, weights = (np.array(values) for values in zip(*entries, strict=True))
    target = share * float(weights.sum())
    intercept = solve_intercept(logits, weights, target)
    found = float((weights * sigmoid(intercept + logits)).sum())
    assert abs(found - target) < 1e-9 * float(weights.sum())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_rows() -> None:
    code = (
        "import pathlib, sys\n"
        "from polyrank.simulation import Feed\n"
        "feed, num_rows = Feed(), int(sys.argv[1])\n"
        "read = sum(len(table) for table in feed.tables(num_rows))\n"
        "assert read == num_rows\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "sys.stdout.write(status.split('VmHWM:')[1].split()[0])\n"
    )
    peaks = []
    for num_rows in (200_000, 1_500_000):
        command = [sys.executable, "-c", code, str(num_rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks
