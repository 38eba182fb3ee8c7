"""Logs against a reference: quiet without a change, loud with one."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Profile
from polyrank.errors import ConfigError, DataError
from polyrank.monitoring import Thresholds, Watched, watch
from polyrank.monitoring.page import composed
from polyrank.monitoring.reading import Seen, read
from polyrank.monitoring.volume import Counting
from polyrank.monitoring.watch import _changes, _pairs
from polyrank.schema import Binary, Duration, Keys, Maturity, parse
from polyrank.scoring.profiles import profile_of
from tests.monitoring import worlds


def told(found: Watched) -> set[tuple[str, str]]:
    return {(each.what, each.name) for each in found.findings}


def flags(profile: Profile, seen: Seen) -> tuple[bool, bool]:
    """Whether anything is called a change, and whether PSI alone would say so."""
    _, pairs = _pairs(profile, seen, worlds.bundle())
    drifts, rises = _changes(pairs, Thresholds(), too_few=False)
    levels = [*(drift.level for drift in drifts), *(each.level for each in rises)]
    changed = set(levels) != {"quiet"}
    return changed, any(drift.psi >= 0.25 for drift in drifts)


def test_at_most_7_of_100_small_logs_without_a_change_are_said_to_have_one() -> None:
    """200 logs of 40 users who are alike within; PSI by itself cries wolf in many of them."""
    profile = profile_of(
        worlds.few_columns(0, 400, 10), worlds.SCHEMA, on="", outputs=["predicted_click"]
    )
    volume = Counting(None, None, None).volume(0)
    found = []
    for seed in range(1, 201):
        sample = worlds.few_columns(seed, 40, 5)
        seen = Seen(
            sample=sample, schema=worlds.SCHEMA, outputs=("predicted_click",), volume=volume
        )
        found.append(flags(profile, seen))
    changed, naive = np.mean(found, axis=0)
    assert changed <= 0.07
    assert naive >= 0.15


@pytest.mark.nightly
def test_the_same_of_whole_logs_of_every_kind_of_column() -> None:
    profile = worlds.bundle().profile
    assert profile is not None
    logs = (read(worlds.log(seed, 40, rows=5), worlds.bundle()) for seed in range(1, 201))
    found = [flags(profile, seen) for seen in logs]
    assert np.mean(found, axis=0)[0] <= 0.07


PLANTED: dict[str, tuple[str, Any]] = {
    "country": ("drift", lambda n: ["p"] * (n // 2) + ["t"] * (n - n // 2)),
    "activity": ("drift", lambda n: np.random.default_rng(1).lognormal(1.5, 1, n)),
    "history (length)": ("drift", None),
    "category": ("drift", lambda n: ["c7", "c0"] * (n // 2) + ["c1"] * (n % 2)),
    "length": ("missing", lambda n: [None, 0.1] * (n // 2) + [0.0] * (n % 2)),
    "tags": ("drift", lambda n: [["d", "d"]] * n),
    "vector (length)": ("drift", lambda n: pa.array([[3.0, 3.0]] * n, pa.list_(pa.float32(), 2))),
    "surface": ("unseen", lambda n: ["kiosk", "home"] * (n // 2) + ["home"] * (n % 2)),
    "hour": ("drift", lambda n: np.full(n, 30.0)),
    "item": ("unseen", lambda n: np.arange(n) + 10_000),
    "click": ("drift", None),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_drift_is_an_alarm_and_nothing_else_is(name: str) -> None:
    what, change = PLANTED[name]
    column = name.removesuffix(" (length)")
    if column == "history":
        change = lambda n: pa.array([[1] * 30] * n)  # noqa: E731
    if column == "click":
        column, change = "predicted_click", lambda n: np.random.default_rng(1).beta(5, 2, n)
    found = watch(worlds.log(1, 200, **{column: change}), bundle=worlds.bundle(), resamples=0)
    alarms = {(each.what, each.name) for each in found.findings if each.level == "alarm"}
    assert (what, name) in alarms
    related = {name, column, f"{column} (length)"}
    related |= {"history"} if column == "item" else set()
    if column == "predicted_click":
        related |= {"click", "buy"}
    assert {each.name for each in found.findings} <= related


def test_a_log_like_the_reference_is_quiet_and_calibrated() -> None:
    found = watch(worlds.log(8, 300), bundle=worlds.bundle())
    assert (found.level, found.findings) == ("quiet", ())
    assert found.unit == "user"
    assert found.reference == "yesterday"
    by_task = {row.task: row for row in found.calibration}
    assert set(by_task) == {"click", "buy"}
    for row in by_task.values():
        assert row.lower < 1 < row.upper
        assert row.ece_lower <= row.ece <= row.ece_upper
    clicks = worlds.log(8, 300)["click"].to_numpy().sum()
    assert by_task["buy"].rows == by_task["click"].positives == clicks
    told = "ids that come and go, of which only rates are compared: history, item"
    assert found.notes == (told,)
    assert not found.reaches("note")
    assert found.reaches("quiet")


def test_predictions_that_are_too_high_are_an_alarm() -> None:
    log = worlds.log(8, 300)
    place = log.schema.get_field_index("predicted_buy")
    high = log.set_column(place, "predicted_buy", pa.array(np.full(log.num_rows, 0.45)))
    found = watch(high, bundle=worlds.bundle())
    assert ("calibration", "buy") in told(found)
    assert ("calibration", "click") not in told(found)
    wide = watch(high, bundle=worlds.bundle(), thresholds=Thresholds(ratio_margin=1.0))
    assert ("calibration", "buy") not in told(wide)
    few = watch(high.slice(0, 40), bundle=worlds.bundle())
    assert ("calibration", "buy") not in told(few)
    assert {row.reason for row in few.calibration} == {"too few to judge by"}
    assert few.notes[0].startswith("only ")


def test_each_label_is_judged_where_it_means_something() -> None:
    """Durations that were seen to their end within clicks, and late labels once they are known."""
    late = Maturity(event_time="came_at", window=10, observed_until=0)
    tasks = (
        Binary(name="click"),
        Duration(name="watch", within="click", censored="cut"),
        Binary(name="late", maturity=late),
    )
    keys = Keys(user="user", item="item", request="request", time="at", weight="mass")
    changes = {"tasks": tasks, "keys": keys}
    schema = worlds.SCHEMA.model_copy(update=changes)
    bundle = dataclasses.replace(worlds.bundle(), schema=schema)
    log = worlds.log(8, 60)
    size = log.num_rows
    at_N, cut_N = np.arange(size), np.arange(size) % 3 == 0
    click_N, mass_N = log["click"].to_numpy(), 1.0 + np.arange(size) % 2
    added = {
        "at": at_N,
        "mass": mass_N,
        "watch": np.where(click_N == 1, 2.0, 0.0),
        "cut": cut_N.astype(int),
        "predicted_watch": np.full(size, 3.0),
        "late": np.arange(size) % 4 == 0,
        "came_at": pa.array(at_N + 5, mask=at_N % 4 != 0),
        "predicted_late": pa.array(np.full(size, 0.5), mask=at_N == 8),
    }
    for name, column in added.items():
        log = log.append_column(name, pa.array(column))
    found = watch(log, bundle=bundle, observed_until=109, resamples=0)
    by_task = {row.task: row for row in found.calibration}
    assert by_task["watch"].rows == (click_N.astype(bool) & ~cut_N).sum()
    assert by_task["watch"].ratio == pytest.approx(1.5)
    assert (by_task["watch"].level, by_task["watch"].positives) == ("quiet", None)
    known_N = (at_N <= 99) & (at_N != 8)
    ones_N = known_N & (at_N % 4 == 0)
    assert by_task["late"].rows == known_N.sum()
    by_hand = 0.5 * mass_N[known_N].sum() / mass_N[ones_N].sum()
    assert by_task["late"].ratio == pytest.approx(by_hand)
    assert by_task["late"].level == "quiet", "without intervals nothing is an alarm"
    young = {row.task: row for row in watch(log, bundle=bundle, resamples=0).calibration}
    assert young["late"].rows == 0
    assert young["late"].reason is not None


@pytest.mark.nightly
def test_calibration_alarms_by_chance_are_as_rare() -> None:
    """120 small logs whose predictions are right: a margin of 0 leaves chance alone."""
    limits = Thresholds(ratio_margin=0.0)
    alarms = 0
    for seed in range(1, 121):
        log = worlds.log(seed, 60, rows=6).select(["user", "click", "predicted_click"])
        found = watch(log, bundle=worlds.bundle(), reference=log, thresholds=limits, resamples=60)
        alarms += any(row.level == "alarm" for row in found.calibration)
    assert alarms <= 12


def test_a_reference_log_stands_instead_of_the_profile() -> None:
    before, after = worlds.log(4, 200), worlds.log(5, 200, hour=lambda n: np.full(n, 3.0))
    old = dataclasses.replace(worlds.bundle(), profile=None)
    found = watch(after, bundle=old, reference=before, resamples=0)
    assert told(found) == {("drift", "hour")}
    assert found.reference == "a table"
    with pytest.raises(ConfigError, match="holds no profile.*Give --reference"):
        watch(after, bundle=old)
    with pytest.raises(ConfigError, match="nothing to compare the log with"):
        watch(after)


def test_without_a_bundle_types_tell_columns_apart() -> None:
    before, after = worlds.log(4, 200), worlds.log(5, 200, surface=lambda n: ["home"] * n)
    names = ["hour", "surface", "tags", "vector", "predicted_click"]
    found = watch(after.select(names), reference=before.select(names))
    assert told(found) == {("drift", "surface")}
    assert {each.name for each in found.drifts} == {
        "hour",
        "surface",
        "tags (length)",
        "vector (length)",
        "click",
    }


def test_what_the_log_lacks_is_told() -> None:
    log = worlds.log(6, 100).select(["user", "hour", "item", "history"])
    found = watch(log, bundle=worlds.bundle())
    assert {each.name for each in found.drifts} == {"hour", "history (length)"}
    assert found.calibration == ()
    assert any("not in the log: country" in note for note in found.notes)
    assert any("no predictions in the log of: click, buy" in note for note in found.notes)


def test_a_history_without_the_ids_it_shares_is_left_out() -> None:
    found = watch(worlds.log(6, 100).select(["user", "history", "hour"]), bundle=worlds.bundle())
    assert {each.name for each in found.drifts} == {"hour"}


def test_a_log_without_rows_is_refused() -> None:
    with pytest.raises(DataError):
        watch(worlds.log(1, 5).slice(0, 0), bundle=worlds.bundle())
    with pytest.raises(DataError, match="the log has no rows"):
        watch(worlds.log(1, 5).slice(0, 0), reference=worlds.log(1, 5))


def served(seed: int, requests: int, degraded: int) -> pa.Table:
    """A prediction log: one request in ``degraded`` answered with less."""
    log = worlds.log(seed, requests)
    request_N = np.arange(log.num_rows) // 10
    lacking = ["features:timeout,engine" if r % degraded == 0 else None for r in request_N]
    stamps = pa.array(request_N * 1_000_000, pa.timestamp("us", "UTC"))
    added = {
        "served_request": [f"r-{r}" for r in request_N],
        "served_at": stamps,
        "served_degraded": pa.array(lacking, pa.large_string()),
        "served_model": ["feed"] * log.num_rows,
        "served_version": ["new" if r % 4 == 0 else "old" for r in request_N],
        "served_value_version": pa.array([1] * log.num_rows, pa.int64()),
        "served_profile": pa.nulls(log.num_rows, pa.large_string()),
    }
    for name, column in added.items():
        log = log.append_column(name, pa.array(column) if isinstance(column, list) else column)
    return log


def test_volume_versions_and_degraded_requests() -> None:
    log = served(1, 40, degraded=8)
    requests = (log.num_rows + 9) // 10
    found = watch([log.slice(0, 105), log.slice(105)], bundle=worlds.bundle(), resamples=0)
    volume = found.volume
    assert (volume.rows, volume.requests, volume.users) == (log.num_rows, requests, 40)
    assert str(volume.first).startswith("1970-01-01 00:00:00")
    lacking = (requests + 7) // 8
    assert volume.degraded == {"": lacking, "engine": lacking, "features:timeout": lacking}
    assert volume.degraded_share == lacking / requests
    new = (requests + 3) // 4
    assert [(each.version, each.requests) for each in volume.versions] == [
        ("old", requests - new),
        ("new", new),
    ]
    assert ("degraded", "requests") in told(found)
    quiet = watch(served(1, 40, degraded=10_000), bundle=worlds.bundle(), resamples=0)
    assert quiet.volume.degraded == {"": 1, "engine": 1, "features:timeout": 1}


def test_labels_of_another_table_are_joined() -> None:
    log = worlds.log(3, 100)
    keys = pa.array([f"{i}" for i in range(log.num_rows)])
    log = log.set_column(log.schema.get_field_index("request"), "request", keys)
    labels = log.select(["request", "item", "click", "buy"])
    bare = log.drop_columns(["click", "buy"])
    found = watch(bare, bundle=worlds.bundle(), labels=labels)
    assert found.calibration == watch(log, bundle=worlds.bundle()).calibration
    assert len(found.calibration) == 2
    with pytest.raises(ConfigError, match="no bundle is given"):
        watch(bare, reference=bare, labels=labels)


def test_all_of_it_as_strict_json() -> None:
    found = watch(served(2, 60, degraded=10), bundle=worlds.bundle(), resamples=40)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    tree = json.loads(found.to_json(), parse_constant=refuse)
    assert tree["level"] == found.level
    assert tree["volume"]["requests"] == found.volume.requests
    assert {each["name"] for each in tree["drifts"]} == {each.name for each in found.drifts}
    assert tree["thresholds"]["psi_alarm"] == 0.25


def test_the_page_has_a_figure_for_each_column_that_drifts() -> None:
    log = worlds.log(1, 200, hour=lambda n: np.full(n, 30.0))
    page = composed(watch(log, bundle=worlds.bundle(), resamples=40))
    (figure,) = page.figures()
    assert (page.tone, page.verdict, figure.title) == ("bad", "1 alarm and 0 notes.", "hour")
    in_log = [row for row in zip(*figure.data.values(), strict=True) if row[2] == "log" and row[3]]
    assert in_log == [("above 23", 10, "log", 1.0)]
    assert figure.charts[0].to_dict()["mark"] == {"type": "bar"}
    titles = [section.title for section in page.sections]
    assert titles == ["Log", "Changes", "Drift", "Calibration"]
    quiet = composed(watch(worlds.log(8, 300), bundle=worlds.bundle(), resamples=0))
    assert (quiet.tone, quiet.figures()) == ("good", [])


@pytest.mark.parametrize("name", ["psi", "rate", "degraded"])
def test_notes_come_before_alarms(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}_note` must be at most"):
        parse(Thresholds, {f"{name}_note": 0.5, f"{name}_alarm": 0.1})


def test_candidates_that_nobody_saw_are_left_out() -> None:
    """A log of all candidates beside one of what was shown: the same traffic, so no change."""
    random = np.random.default_rng(0)
    chance_N = np.sort(random.beta(2, 20, (300, 20)), axis=1)[:, ::-1].ravel()
    rank_N = np.tile(np.arange(1, 21), 300)
    log = pa.table(
        {
            "served_request": [f"r-{place // 20}" for place in range(6_000)],
            "predicted_click": chance_N,
            "served_shown": rank_N <= 5,
        }
    )
    seen = log.filter(pa.array(rank_N <= 5))
    found = watch(log, reference=seen)
    assert (found.level, found.volume.rows) == ("quiet", 1_500)
    assert "4,500 rows that nobody saw: left out" in found.notes
    assert watch(log.drop_columns("served_shown"), reference=seen).level == "alarm"
