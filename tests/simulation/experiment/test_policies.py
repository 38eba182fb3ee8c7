"""What ranks, and what it sees."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import fisk

from polyrank.bundle import Bundle
from polyrank.fusion import RankEnsemble
from polyrank.scoring import Order, Scorer
from polyrank.simulation import Feed, observed
from polyrank.simulation.experiment import (
    BundlePolicy,
    ExperimentConfig,
    LoggingPolicy,
    Offer,
    RandomPolicy,
    ReturnConfig,
    ReturnOracle,
    SatisfactionOracle,
)
from polyrank.simulation.experiment.days import Day, draw_day
from polyrank.simulation.world import World

KEYS = {"user_id", "item_id", "request_id", "time_ms", "surface", "hour"}


@pytest.fixture(scope="module")
def offer(world: World) -> Offer:
    day = draw_day(world, ExperimentConfig(), 1)
    return Offer(world, day.of(np.arange(world.config.num_users) < 40))


def test_a_bundle_ranks_as_its_scorer_does(offer: Offer, bundle: Bundle) -> None:
    scorer = Scorer(bundle)
    num_candidates = offer.shape[1]
    model = RankEnsemble(terms={"click": 1.0, "like": 2.0})
    ensemble = Order(schema=bundle.schema, model=model)
    for order in (None, Order.of(bundle, {"watch_time": 1.0}), ensemble):
        found = BundlePolicy(scorer, order).rank(offer)
        by = None if order is None else dict(order.weights) or None
        ranked = bundle
        if order is ensemble:
            ranked = bundle.with_value_model(model, by="file", source="")
        for request in (0, 7, offer.shape[0] - 1):
            rows = offer.table.slice(request * num_candidates, num_candidates)
            expected = Scorer(ranked).rank(rows, by)["item_id"].to_pylist()
            items = rows["item_id"].to_pylist()
            assert [items[place] for place in found.order_RK[request]] == expected


def test_a_bundle_sees_what_a_log_shows_and_no_truth(
    offer: Offer, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[pa.Table] = []
    scorer = Scorer(bundle)
    score = scorer.score

    def spy(table: Any, *rest: Any, **more: Any) -> pa.Table:
        seen.append(table)
        return score(table, *rest, **more)

    monkeypatch.setattr(scorer, "score", spy)
    policies = BundlePolicy(scorer), BundlePolicy(scorer, Order.of(bundle, {"click": 1.0}))
    fresh = Offer(offer.world, offer.day)
    for policy in policies:
        policy.rank(fresh)
    assert len(seen) == 1  # once for all policies of a bundle
    names = set(seen[0].column_names)
    assert not any(name.startswith("truth") for name in names)
    assert names == KEYS | set(bundle.schema.feature_columns())
    log = observed(next(Feed(offer.world.config).tables(10)))
    assert {field.name: field.type for field in seen[0].schema}.items() <= {
        field.name: field.type for field in log.schema
    }.items()


def test_another_truth_moves_oracles_and_no_bundle(offer: Offer, bundle: Bundle) -> None:
    other = Offer(offer.world, _with_truth_reversed(offer.day))
    mine, same = (BundlePolicy(Scorer(bundle)).rank(each) for each in (offer, other))
    np.testing.assert_array_equal(mine.order_RK, same.order_RK)
    for oracle in (SatisfactionOracle(), ReturnOracle(ReturnConfig())):
        assert (oracle.rank(offer).order_RK != oracle.rank(other).order_RK).any()


def _with_truth_reversed(day: Day) -> Day:
    names = [field.name for field in dataclasses.fields(day.truth)]
    turned = {name: getattr(day.truth, name)[:, ::-1].copy() for name in names}
    return dataclasses.replace(day, truth=type(day.truth)(**turned))


def test_oracles_by_hand(offer: Offer) -> None:
    truth, causes, feed = offer.day.truth, offer.day.causes, offer.world.config
    satisfied = truth.click * truth.satisfaction
    found = SatisfactionOracle().rank(offer)
    ordered = np.take_along_axis(satisfied, found.order_RK, axis=1)
    assert (np.diff(ordered, axis=1) <= 0).all()
    returns = ReturnConfig(report=2.0)
    order_K = ReturnOracle(returns).rank(offer).order_RK[5]
    worth = []
    for k in range(offer.shape[1]):
        scale = 12 * math.exp(
            feed.length_effect * causes.log_length[5, k] + feed.watch_noise * causes.long_view[5, k]
        )
        law = fisk(1 / feed.watch_noise, scale=scale)
        click = 0.4 * truth.satisfaction[5, k] * truth.long_view[5, k] - 2 * truth.report[5, k]
        bored = 1 - truth.satisfaction[5, k]
        click -= bored * (0.4 * law.cdf(5) + 0.2 * law.sf(60))
        worth.append(truth.click[5, k] * click)
    assert list(order_K) == list(np.argsort(-np.array(worth), kind="stable"))


def test_the_chance_of_a_short_view_is_log_logistic(world: World, offer: Offer) -> None:
    scale_RK = 12 * np.exp(0.7 * offer.day.causes.log_length + 0.35 * offer.day.causes.long_view)
    for seconds in (0.001, 5, 60, 1e5):
        found = world.watched_less(offer.day.causes, seconds)
        np.testing.assert_allclose(found, fisk.cdf(seconds, 1 / 0.35, scale=scale_RK), rtol=1e-9)


def test_chance_and_the_logging_ranking(world: World) -> None:
    day = draw_day(world, ExperimentConfig(), 2)
    offer = Offer(world, day)
    place = RandomPolicy().rank(offer).position_RK
    error = 30 / np.sqrt(12 * len(place))
    assert abs(place.mean(axis=0) - 15.5).max() < 5 * error
    appeal = LoggingPolicy().rank(offer)
    rank_RK = np.take_along_axis(day.causes.appeal, appeal.order_RK, axis=1)
    assert rank_RK[:, 0].mean() > rank_RK[:, -1].mean() + 1


def test_the_offer_holds_its_requests(offer: Offer) -> None:
    table, requests = offer.table, offer.day.requests
    users = offer.world.users.table["user_id"].to_numpy()
    items = offer.world.items.table["item_id"].to_numpy()
    np.testing.assert_array_equal(
        table["user_id"].to_numpy().reshape(offer.shape)[:, 0], users[requests.user_R]
    )
    np.testing.assert_array_equal(
        table["item_id"].to_numpy().reshape(offer.shape), items[requests.item_RK]
    )
    assert len(set(table["request_id"].to_pylist())) == offer.shape[0]
    start = offer.world.config.start_ms + (7 + 1) * 86_400_000
    time = table["time_ms"].to_numpy()
    assert ((time >= start) & (time < start + 86_400_000)).all()
    assert (time // 3_600_000 % 24 == table["hour"].to_numpy()).all()
