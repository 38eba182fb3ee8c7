"""What is true of the log: labels follow their probabilities, and each parameter does its work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from polyrank.simulation import Feed, FeedConfig
from tests.simulation.samples import (
    assert_mean_within,
    auc,
    column,
    correlation,
    logit,
    make_log,
    slope,
)

AFTER_CLICK = ("long_view", "purchase", "like", "report")


def test_clicks_follow_examination_times_click_probability(default_log: pa.Table) -> None:
    click = column(default_log, "click")
    probs = column(default_log, "truth_examination") * column(
        default_log, "truth_click_probability"
    )
    for part in np.array_split(np.argsort(probs), 10):
        variance = probs[part] * (1 - probs[part])
        assert_mean_within(click[part], probs[part], variance)


@pytest.mark.parametrize("task", AFTER_CLICK)
def test_labels_after_a_click_follow_their_probability(default_log: pa.Table, task: str) -> None:
    clicked = default_log.filter(pc.equal(default_log["click"], 1))
    label, probs = column(clicked, task), column(clicked, f"truth_{task}_probability")
    for part in np.array_split(np.argsort(probs), 4):
        assert_mean_within(label[part], probs[part], probs[part] * (1 - probs[part]))


def test_watch_time_has_its_expectation_and_spread(default_log: pa.Table) -> None:
    clicked = default_log.filter(pc.equal(default_log["click"], 1))
    watch, mean = column(clicked, "watch_time_s"), column(clicked, "truth_watch_time_s")
    noise = np.pi * 0.35
    # log-logistic of scale s: mean m / sinc, variance m^2 * (2s / sin 2s - s^2 / sin^2 s)
    share = (2 * noise / np.sin(2 * noise)) * (np.sin(noise) / noise) ** 2 - 1
    assert_mean_within(watch, mean, mean**2 * share)
    surprise = np.log(watch / mean)
    assert surprise.std() == pytest.approx(0.35 * np.pi / np.sqrt(3), rel=0.02)


def test_a_long_view_is_the_longer_watch_of_equal_candidates(default_log: pa.Table) -> None:
    clicked = default_log.filter(pc.equal(default_log["click"], 1))
    surprise = np.log(column(clicked, "watch_time_s") / column(clicked, "truth_watch_time_s"))
    surprise += np.log(1 / np.sinc(0.35))
    limit = -0.35 * logit(column(clicked, "truth_long_view_probability"))
    is_long = column(clicked, "long_view") == 1
    clear = np.abs(surprise - limit) > 1e-4
    np.testing.assert_array_equal(is_long[clear], (surprise > limit)[clear])


def test_purchase_needs_a_long_view_in_truth_too(default_log: pa.Table) -> None:
    purchase = column(default_log, "truth_purchase_probability")
    assert (purchase < column(default_log, "truth_long_view_probability")).all()


def test_truth_covers_every_row_and_stays_in_range(default_log: pa.Table) -> None:
    for name in default_log.column_names:
        if name.startswith("truth_"):
            values = column(default_log, name)
            assert np.isfinite(values).all(), name
            if "probability" in name or name in ("truth_satisfaction", "truth_examination"):
                assert values.min() > 0
                assert values.max() <= 1


@pytest.mark.parametrize(
    "rates",
    [
        {},
        {"click_rate": 0.05, "long_view_rate": 0.6, "purchase_rate": 0.2, "like_rate": 0.5},
        {"click_rate": 0.4, "report_rate": 0.05, "like_rate": 0.02, "signal": 3.0},
        {"click_rate": 0.6, "examination_power": 0.0, "ranking_noise": 0.0},
    ],
)
def test_observed_rates_are_the_configured_ones(rates: dict[str, Any]) -> None:
    config = FeedConfig(**rates)
    log = make_log(200_000, **rates)
    num_clicks = column(log, "click").sum()
    assert num_clicks / len(log) == pytest.approx(config.click_rate, rel=0.03)
    for task in AFTER_CLICK:
        expected = getattr(config, f"{task}_rate")
        error = np.sqrt(expected * (1 - expected) / num_clicks)
        found = np.nansum(column(log, task)) / num_clicks
        assert abs(found - expected) < 4 * error + 0.03 * expected, task


def test_the_default_feed_can_be_learned(default_log: pa.Table) -> None:
    click = column(default_log, "click")
    probs = column(default_log, "truth_click_probability")
    assert 0.75 < auc(click, probs) < 0.85
    assert 0.75 < auc(click, probs * column(default_log, "truth_examination")) < 0.85


def test_signal_sets_how_much_can_be_known() -> None:
    found = []
    for signal in (0.5, 1.5, 4.0):
        log = make_log(signal=signal)
        found.append(auc(column(log, "click"), column(log, "truth_click_probability")))
    assert found[0] + 0.05 < found[1] < found[2] - 0.02


def test_without_signal_every_response_is_a_coin() -> None:
    log = make_log(20_000, signal=0.0, examination_floor=1.0)
    rates = {"click": 0.2, "long_view": 0.4, "purchase": 0.05, "like": 0.1, "report": 0.01}
    for task, rate in rates.items():
        np.testing.assert_allclose(column(log, f"truth_{task}_probability"), rate, rtol=1e-5)


@pytest.mark.parametrize("rho", [-0.8, 0.0, 0.6, 1.0])
@pytest.mark.parametrize("bait", [0.0, 0.7])
def test_appeal_and_satisfaction_correlate_as_documented(rho: float, bait: float) -> None:
    log = make_log(satisfaction_appeal_correlation=rho, clickbait_strength=bait)
    satisfaction = logit(column(log, "truth_satisfaction"))
    expected = (rho - bait**2) / (1 + bait**2)
    assert abs(correlation(column(log, "truth_appeal"), satisfaction) - expected) < 0.06


@pytest.mark.parametrize("bait", [0.0, 0.5, 2.0])
def test_clickbait_adds_to_appeal_and_takes_from_satisfaction(bait: float) -> None:
    log = make_log(clickbait_strength=bait)
    clickbait = column(log, "truth_clickbait")
    assert slope(clickbait, column(log, "truth_appeal")) == pytest.approx(bait, abs=0.06)
    satisfaction = logit(column(log, "truth_satisfaction")) / 1.5
    assert slope(clickbait, satisfaction) == pytest.approx(-bait, abs=0.06)


def test_clickbait_shows_in_the_labels(default_log: pa.Table) -> None:
    bait = column(default_log, "truth_clickbait")
    low, high = bait < np.quantile(bait, 0.25), bait > np.quantile(bait, 0.75)
    click = column(default_log, "click")
    assert click[high].mean() > 1.2 * click[low].mean()
    for task, sign in (("long_view", -1), ("like", -1), ("purchase", -1), ("report", 1)):
        label = column(default_log, task)
        difference = label[high & (click == 1)].mean() - label[low & (click == 1)].mean()
        assert sign * difference > 0, task


@pytest.mark.parametrize("effect", [0.0, 0.7, 1.5])
def test_length_raises_watch_time_but_not_satisfaction(effect: float) -> None:
    log = make_log(length_effect=effect)
    log_length = np.log(column(log, "item_length_s"))
    log_watch = np.log(column(log, "truth_watch_time_s"))
    assert slope(log_length, log_watch) == pytest.approx(effect, abs=0.05)
    for name in ("truth_satisfaction", "truth_long_view_probability", "truth_click_probability"):
        assert abs(correlation(log_length, column(log, name))) < 0.05, name
    clicked = log.filter(pc.equal(log["click"], 1))
    label_slope = slope(
        np.log(column(clicked, "item_length_s")), np.log(column(clicked, "watch_time_s"))
    )
    assert label_slope == pytest.approx(effect, abs=0.08)


def test_the_median_watch_time_scales_all_of_them() -> None:
    short, long = make_log(5_000), make_log(5_000, median_watch_time_s=36.0)
    ratio = column(long, "truth_watch_time_s") / column(short, "truth_watch_time_s")
    np.testing.assert_allclose(ratio, 3.0, rtol=1e-5)
    np.testing.assert_array_equal(column(short, "click"), column(long, "click"))


@pytest.mark.parametrize("noise", [0.05, 0.45])
def test_watch_noise_is_the_spread_of_watch_time(noise: float) -> None:
    log = make_log(watch_noise=noise)
    clicked = log.filter(pc.equal(log["click"], 1))
    surprise = np.log(column(clicked, "watch_time_s") / column(clicked, "truth_watch_time_s"))
    assert surprise.std() == pytest.approx(noise * np.pi / np.sqrt(3), rel=0.04)


def test_no_view_is_longer_than_a_day() -> None:
    log = make_log(20_000, median_watch_time_s=3_600.0, signal=5.0, watch_noise=0.49)
    watch = column(log, "watch_time_s")
    assert np.nanmax(watch) == 86_400.0
    assert np.nanmin(watch) < 3_600.0


@pytest.mark.parametrize(("power", "floor"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.3), (2.0, 0.0)])
def test_clicks_per_position_reveal_the_examination_curve(power: float, floor: float) -> None:
    log = make_log(examination_power=power, examination_floor=floor, click_rate=0.1)
    position = column(log, "position")
    truth = column(log, "truth_examination")
    np.testing.assert_allclose(truth, floor + (1 - floor) * position**-power, rtol=1e-6)
    click, probs = column(log, "click"), column(log, "truth_click_probability")
    curve = [truth[position == rank][0] for rank in range(1, 11)]
    assert (np.diff(curve) <= 0).all()
    for rank, examination in enumerate(curve, start=1):
        here = position == rank
        expected = examination * probs[here]
        assert_mean_within(click[here], expected, expected * (1 - expected))


def test_what_a_candidate_would_get_does_not_depend_on_its_position() -> None:
    flat = make_log(20_000, examination_power=0.0, ranking_noise=0.0)
    noisy = make_log(20_000, examination_power=0.0, ranking_noise=50.0)
    keys = ["request_id", "item_id"]
    order = [(name, "ascending") for name in keys]
    flat, noisy = flat.sort_by(order), noisy.sort_by(order)
    assert not flat["position"].equals(noisy["position"])
    for name in (*keys, "click", "watch_time_s", "like", "truth_click_probability"):
        assert flat[name].equals(noisy[name]), name


def test_position_is_confounded_with_appeal_by_the_logging_policy(default_log: pa.Table) -> None:
    position = column(default_log, "position")
    assert correlation(position, column(default_log, "truth_appeal")) < -0.3


def test_ranking_noise_takes_the_confounding_away() -> None:
    found = []
    for noise in (0.0, 1.0, 100.0):
        log = make_log(ranking_noise=noise)
        found.append(correlation(column(log, "position"), column(log, "truth_appeal")))
    assert found[0] < found[1] - 0.1 < found[1] < -0.2
    assert abs(found[2]) < 0.02


def test_without_ranking_noise_the_log_is_sorted_by_the_mixture() -> None:
    log = make_log(10_000, ranking_noise=0.0, logging_appeal_weight=0.25)
    satisfaction = logit(column(log, "truth_satisfaction")) / 1.5
    score = 0.25 * column(log, "truth_appeal") + 0.75 * satisfaction
    assert (np.diff(score.reshape(-1, 10), axis=1) < 1e-3).all()
    assert (column(log, "propensity") == 1.0).all()


def test_the_logging_weight_moves_the_ranking_from_satisfaction_to_appeal() -> None:
    found = []
    for weight in (0.0, 1.0):
        log = make_log(logging_appeal_weight=weight)
        position = column(log, "position")
        satisfaction = logit(column(log, "truth_satisfaction"))
        found.append(
            (
                correlation(position, column(log, "truth_appeal")),
                correlation(position, satisfaction),
            )
        )
    (appeal_of_0, satisfaction_of_0), (appeal_of_1, satisfaction_of_1) = found
    assert appeal_of_1 < appeal_of_0 - 0.3
    assert satisfaction_of_0 < satisfaction_of_1 - 0.3


def test_first_positions_fill_as_often_as_logged_propensities_say(default_log: pa.Table) -> None:
    """Inverse propensity of the first position: its sum over shown items counts all candidates."""
    first = default_log.filter(pc.equal(default_log["position"], 1))
    inverse = 1 / column(first, "propensity")
    error = inverse.std() / np.sqrt(len(inverse))
    assert abs(inverse.mean() - 10) < 4 * error
    last = default_log.filter(pc.equal(default_log["position"], 10))
    np.testing.assert_allclose(column(last, "propensity"), 1.0)


def test_tasks_correlate_and_conflict(default_log: pa.Table) -> None:
    probs = {task: column(default_log, f"truth_{task}_probability") for task in AFTER_CLICK}
    assert correlation(probs["long_view"], probs["like"]) > 0.2
    assert correlation(probs["long_view"], probs["purchase"]) > 0.2
    assert correlation(probs["long_view"], probs["report"]) < -0.2
    clicked = default_log.filter(pc.equal(default_log["click"], 1))
    assert correlation(column(clicked, "long_view"), column(clicked, "like")) > 0.1
    assert correlation(column(clicked, "long_view"), column(clicked, "report")) < -0.02
    hostile = make_log(satisfaction_appeal_correlation=-0.8)
    click = column(hostile, "truth_click_probability")
    assert correlation(click, column(hostile, "truth_satisfaction")) < -0.4


def test_activity_spread_decides_who_asks() -> None:
    shares = []
    for spread in (0.0, 1.0, 2.5):
        users = make_log(activity_spread=spread)["user_id"]
        counts = np.sort(pc.value_counts(users).field("counts").to_numpy())[::-1]
        shares.append(counts[:20].sum() / counts.sum())
    assert shares[0] < 0.04 < shares[1] - 0.02 < shares[2] - 0.2


def test_active_users_ask_more(default_log: pa.Table) -> None:
    users = Feed().users()
    counts = pc.value_counts(default_log["user_id"])
    index = pc.index_in(users["user_id"], counts.field("values"))
    num_rows = np.nan_to_num(
        pc.take(counts.field("counts"), index).to_numpy(zero_copy_only=False).astype(float)
    )
    activity = column(users, "user_activity")
    known = ~np.isnan(activity)
    assert correlation(activity[known], num_rows[known]) > 0.9


def test_popularity_spread_decides_what_is_offered() -> None:
    shares = []
    for spread in (0.0, 0.8, 2.0):
        items = make_log(popularity_spread=spread)["item_id"]
        counts = np.sort(pc.value_counts(items).field("counts").to_numpy())[::-1]
        shares.append(counts[:20].sum() / counts.sum())
    assert shares[0] < 0.03 < shares[1] < shares[2] - 0.1


def test_embeddings_tell_of_clickbait_as_far_as_noise_allows() -> None:
    found = []
    for noise in (0.0, 0.5, 5.0):
        feed = Feed(FeedConfig(embedding_noise=noise))
        embedding = np.stack(feed.items()["item_embedding"].to_numpy()).astype(np.float64)
        truth = feed.world.items.clickbait_N
        fitted = embedding @ np.linalg.lstsq(embedding, truth, rcond=None)[0]
        found.append(correlation(fitted, truth) ** 2)
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert found[1] == pytest.approx(0.8, abs=0.05)  # 1 / (1 + 0.5^2)
    assert found[2] < 0.1


def test_narrow_and_wide_embeddings() -> None:
    for width in (1, 40):
        schema = make_log(100, embedding_dim=width).schema
        assert schema.field("item_embedding").type == pa.list_(pa.float32(), width)


def test_histories_tell_of_taste() -> None:
    feed = Feed()
    world = feed.world
    row_of = {item: row for row, item in enumerate(feed.items()["item_id"].to_pylist())}
    affinities = [
        float((world.items.latent_ND[[row_of[item] for item in history]] @ taste).mean())
        for history, taste in zip(
            feed.users()["user_history"].to_pylist(), world.users.relevance_taste_UD, strict=True
        )
        if history
    ]
    assert np.mean(affinities) > 0.5


def test_history_length_and_missing_rate() -> None:
    bare = Feed(FeedConfig(history_length=0, missing_rate=1.0)).users()
    assert pc.max(pc.list_value_length(bare["user_history"])).as_py() == 0
    assert bare["user_activity"].null_count == len(bare)
    full = Feed(FeedConfig(history_length=50, missing_rate=0.0)).users()
    assert pc.max(pc.list_value_length(full["user_history"])).as_py() == 50
    assert full["user_activity"].null_count == 0


def test_traits_of_items_are_uncorrelated_in_the_catalogue() -> None:
    items = Feed(FeedConfig(satisfaction_appeal_correlation=0.0)).world.items
    traits = np.column_stack(
        [items.latent_ND, items.quality_N, items.appeal_quality_N, items.clickbait_N]
    )
    np.testing.assert_allclose(np.cov(traits.T, bias=True), np.eye(7), atol=1e-9)
    assert abs(correlation(items.clickbait_N, items.log_length_N)) < 0.01


def test_bait_is_tagged_more_often_than_not() -> None:
    feed = Feed()
    is_shock = np.array(["shock" in tags for tags in feed.items()["item_tags"].to_pylist()])
    bait = feed.world.items.clickbait_N
    assert is_shock[bait > 2].mean() > 0.9 > 0.1 > is_shock[bait < 0].mean()
