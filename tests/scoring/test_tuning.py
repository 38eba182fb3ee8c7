"""From a bundle and a log to a tuned value model in another bundle."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle, save_bundle
from polyrank.errors import ConfigError
from polyrank.evaluation import ndcg
from polyrank.fusion import ByContext, Demotion, Product, ValueModel, WeightedSum
from polyrank.fusion.tuning import CEM, NDCG, Hold, Random, Settings, Value
from polyrank.scoring import Order, Scorer, Then, Tuning, equal_start, replay, tune
from polyrank.scoring.order import default_weights
from tests import feeds

CLICK, LIKE = NDCG(task="click"), NDCG(task="like")
SETTINGS = Settings(
    objectives=(LIKE, Value(worth={"watch_time": 1.0}, k=3)),
    guardrails=(Hold(of=CLICK, at_least=0.9),),
    search=Random(trials=60),
    resamples=40,
)


def log() -> pa.Table:
    return feeds.log().slice(0, 400)


@cache
def tuned() -> Tuning:
    return tune(Scorer(feeds.bundle()), log(), SETTINGS, then=Then(feeds.log().slice(400, 300)))


def test_a_choice_is_not_checked_on_rows_it_was_made_on(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(log(), path)
    scorer = Scorer(feeds.bundle())
    for searched, part, then in (
        (path, "all", Then(str(path), "test")),
        (str(path), "validation", Then(path)),
        (path, "test", Then(path, "test")),
        (path, "all", Then(log())),  # the same rows by another name
    ):
        with pytest.raises(ConfigError, match="so the choice was made on them"):
            tune(scorer, searched, SETTINGS, part=part, then=then)


def test_the_applied_bundle_ranks_as_was_measured(tmp_path: Path) -> None:
    tuning = tuned()
    champion = tuning.tuned.champion
    assert champion is not None
    save_bundle(tuning.applied(), tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    found = replay(Scorer(bundle), log(), [])
    score_N = found.score(Order.of(bundle)).score_N
    rows, requests = found.rows, found.rows.groups["request"]
    like = ndcg(
        rows.labels["like"],
        score_N,
        mask_N=rows.masks["like"],
        weights_N=rows.weights_of("like"),
        groups_N=requests,
    )
    assert like.value == pytest.approx(champion.objectives[0], abs=1e-9)
    top = replace(found, rows=rows).means  # by another path: the mean label of the first places
    places = found.score(Order.of(bundle))
    per_request = 3 * top(places)["watch_time"]
    assert champion.objectives[1] == pytest.approx(per_request, rel=1e-9)

    version = bundle.values.in_force
    assert version is not None
    assert (version.by, version.source) == ("search", "a table")
    told = version.measured["search"]
    assert told["objectives"] == dict(
        zip((LIKE.name, "value@3 of watch_time"), champion.objectives, strict=True)
    )
    assert told["slacks"] == {"ndcg@10 of click at least 90% of today's": champion.slacks[0]}
    assert (told["trials"], told["seed"], told["trial"]) == (60, 0, champion.trial)
    assert Settings(**told["settings"]).search == Random(trials=60)
    assert told["log"]["fingerprint"] == tuning.tuned.log.fingerprint
    assert set(version.measured["terms"]) == set(feeds.schema().task_names)
    assert bundle.with_values_rolled_back().value_model is None


def test_what_is_picked_is_applied() -> None:
    tuning = tuned()
    bundle = tuning.applied("17")
    assert bundle.value_model is not None
    weights = dict(zip(tuning.tuned.weights, tuning.tuned.trials[17].weights, strict=True))
    assert bundle.value_model.tunable == weights
    assert tuning.provenance("17")["trial"] == 17
    assert tuning.provenance("knee")["pick"] == "knee"
    with pytest.raises(ConfigError, match="'60' names no trial"):
        tuning.applied("60")


def test_today_is_what_the_bundle_ranks_by() -> None:
    tuning, bundle = tuned(), feeds.bundle()
    found = replay(Scorer(bundle), log(), [])
    default = default_weights(bundle.schema, bundle.encoders.layout)
    assert tuning.tuned.today.weights == tuple(default[name] for name in tuning.tuned.weights)
    assert tuning.tuned.start.weights == tuple(equal_start(found, {}).tunable.values())
    score_N = found.score(Order.of(bundle)).score_N
    rows = found.rows
    click = ndcg(
        rows.labels["click"],
        score_N,
        mask_N=rows.masks["click"],
        weights_N=rows.weights_of("click"),
        groups_N=rows.groups["request"],
    )
    assert tuning.tuned.guardrails[0].today == pytest.approx(click.value, abs=1e-9)
    later = tuning.tuned.later
    assert later is not None
    assert later.rows == 300
    assert later.gains is not None
    assert later.today.objectives != tuning.tuned.today.objectives


DEMOTION = Demotion(column="item_id", decay=0.5)


@pytest.mark.parametrize(
    ("today", "start", "kind", "known"),
    [
        (WeightedSum(terms={"click": 1.0, "like": 3.0}), "auto", "weighted_sum", True),
        (WeightedSum(terms={"click": 1.0, "like": 3.0}), "equal", "weighted_sum", False),
        (Product(terms={"click": 1.0, "like": 0.5}), "today", "product", True),
        (Product(terms={"click": 1.0, "like": 0.5}), "model.yaml", "weighted_sum", False),
        (
            ByContext(
                column="surface",
                values={"discover": WeightedSum(terms={"click": 1.0})},
                default=WeightedSum(terms={"like": 1.0}),
            ),
            "auto",
            "by_context",
            True,
        ),
    ],
)
def test_where_it_starts(
    today: ValueModel, start: str, kind: str, known: bool, tmp_path: Path
) -> None:
    (tmp_path / "model.yaml").write_text("{kind: weighted_sum, terms: {click: 1, report: -5}}")
    start = str(tmp_path / start) if start.endswith("yaml") else start
    settings = SETTINGS.model_copy(update={"start": start, "search": Random(trials=4)})
    bundle = feeds.bundle().with_value_model(today, DEMOTION)
    tuning = tune(Scorer(bundle), log(), settings)
    assert tuning.tuned.kind == kind
    assert (tuning.tuned.today.weights is not None) == known
    given = start.endswith("yaml")
    assert tuning.found.task.demotion == (None if given else DEMOTION)
    if known:
        assert tuning.tuned.today.objectives == pytest.approx(tuning.tuned.start.objectives)
    applied = tuning.applied("2")
    assert applied.demotion == tuning.found.task.demotion
    assert len(applied.values.versions) == 2


def test_starts_that_are_refused() -> None:
    with_model = feeds.bundle().with_value_model(WeightedSum(terms={"click": 1.0, "like": 1.0}))
    for bundle, settings, message in (
        (feeds.bundle(), {"start": "today"}, "the bundle has no value model to start from"),
        (feeds.bundle(), {"start": "nowhere.yaml"}, "neither auto, equal nor today, nor a file"),
        (with_model, {"values": {"click": 2.0}}, "`values` say nothing where the bundle's value"),
        (feeds.bundle(), {"objectives": (NDCG(task="clik"),)}, "'clik' is no task"),
    ):
        with pytest.raises(ConfigError, match=message):
            tune(Scorer(bundle), log(), SETTINGS.model_copy(update=settings))


def test_values_weigh_an_equal_start() -> None:
    settings = SETTINGS.model_copy(update={"values": {"like": 2.0, "report": 0.0}})
    tuning = tune(
        Scorer(feeds.bundle()), log(), settings.model_copy(update={"search": CEM(trials=3)})
    )
    start = equal_start(replay(Scorer(feeds.bundle()), log(), []), settings.values)
    assert tuning.tuned.start.weights == tuple(start.tunable.values())
    assert "report" not in tuning.tuned.weights
    assert np.isfinite(tuning.tuned.start.objectives).all()
