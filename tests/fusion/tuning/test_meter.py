"""What is measured of a ranking is what the metrics and a plain loop say."""

from __future__ import annotations

from itertools import groupby, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import gauc, ndcg_at
from polyrank.fusion import WeightedSum
from polyrank.fusion.tuning import GAUC, NDCG, OBJECTIVES, Objective, Replayed, Value
from polyrank.fusion.tuning import WeightedRecall as Recall
from polyrank.fusion.tuning import meter as meter_module
from polyrank.fusion.tuning.meter import Meter, earned_by_list
from polyrank.fusion.tuning.ranking import Ranking
from tests.fusion.tuning import worlds

Floats = NDArray[np.float64]
MEASURES: tuple[Objective, ...] = (
    NDCG(task="click"),
    NDCG(task="click", k=2),
    NDCG(task="purchase", k=3),
    NDCG(task="watch", k=5),
    NDCG(task="like"),
    GAUC(task="click"),
    GAUC(task="like", by="request"),
    Recall(task="like", k=2),
    Recall(task="purchase", k=1),
    Value(worth={"click": 1.0, "purchase": 20.0}, k=3),
    Value(worth={"report": 1.0}, k=4),
)
seeds = given(seed=st.integers(0, 2**32 - 1))
few = settings(max_examples=12, deadline=None)


def by_metric(log: Replayed, each: Objective, score_N: Floats) -> float:
    """NDCG and GAUC by ``polyrank.evaluation``."""
    (task,) = each.tasks
    key = each.by or "user" if isinstance(each, GAUC) else "request"
    metric = gauc if isinstance(each, GAUC) else ndcg_at(each.k) if isinstance(each, NDCG) else None
    assert metric is not None
    return metric(
        log.rows.labels[task],
        score_N,
        mask_N=log.rows.masks[task],
        weights_N=log.rows.weights_of(task),
        groups_N=log.rows.groups[key],
    ).value


def first_places(log: Replayed, score_N: Floats, earns_N: Floats, k: int) -> dict[int, float]:
    """By request, what its first k rows earn, in the mean over all orders of equal rows."""
    found: dict[int, float] = {}
    weights = log.rows.weights
    for request in set(log.rows.groups["request"].tolist()) - {-1}:
        rows = [int(row) for row in np.flatnonzero(log.rows.groups["request"] == request)]
        rows = [row for row in rows if weights is None or weights[row] > 0]
        rows.sort(key=lambda row: -score_N[row])
        runs = [list(run) for _, run in groupby(rows, key=lambda row: score_N[row])]
        orders = [sum(each, ()) for each in product(*(list(permutations(run)) for run in runs))]
        if rows:
            sums = [sum(float(earns_N[row]) for row in order[:k]) for order in orders]
            found[request] = sum(sums) / len(sums)
    return found


def by_loop(log: Replayed, each: Objective, score_N: Floats) -> float:
    """Recall and value, a request at a time."""
    weight_N = np.ones(len(log)) if log.rows.weights is None else log.rows.weights
    if isinstance(each, Recall):
        label_N = np.nan_to_num(log.outcome(each.task)) * weight_N
        inside = first_places(log, score_N, label_N, each.k)
        return sum(inside.values()) / sum(first_places(log, score_N, label_N, 10**9).values())
    assert isinstance(each, Value)
    brought_N = sum(
        worth * np.nan_to_num(log.outcome(task)) for task, worth in each.worth.items()
    ) * np.ones(len(log))
    inside = first_places(log, score_N, brought_N, each.k)
    weights = {
        request: weight_N[(log.rows.groups["request"] == request) & (weight_N > 0)].mean()
        for request in inside
    }
    total = sum(value * weights[request] for request, value in inside.items())
    return float(total / sum(weights.values()))


@pytest.mark.parametrize("longest_paired", [64, 1])
@pytest.mark.parametrize("weighted", [False, True])
@few
@seeds
def test_measures_are_the_metrics(longest_paired: int, weighted: bool, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter_module, "LONGEST_PAIRED", longest_paired)
        rng = np.random.default_rng(seed)
        log = worlds.log(seed, rows=80, longest=6, weighted=weighted, ties=bool(seed % 3))
        meter = Meter(log, MEASURES, threads=1)
        score_BN = rng.integers(0, 40, (3, len(log))) / 7.0
        value_BM = meter.of_scores(score_BN)
        for score_N, value_M in zip(score_BN, value_BM, strict=True):
            for each, value in zip(MEASURES, value_M, strict=True):
                slow = by_metric if isinstance(each, NDCG | GAUC) else by_loop
                assert value == pytest.approx(slow(log, each, score_N), abs=1e-9), each.name
                earned = each.credits(log)
                if earned is not None:
                    assert earned_by_list(earned, score_N).sum() == pytest.approx(value, abs=1e-12)


def test_every_objective_is_measured_here() -> None:
    assert {each.kind for each in MEASURES} == set(OBJECTIVES)
    assert all(cls.model_fields["kind"].default == kind for kind, cls in OBJECTIVES.items())


def test_lists_as_long_as_they_come() -> None:
    """One request of 300 rows with many equal scores at every depth, and one of no ties."""
    log = worlds.log(1, rows=600, longest=1, nulls=False)
    request_N = np.repeat([0, 1], 300)
    rows = log.rows
    log = worlds.replayed(rows.predictions, rows.labels, rows.masks, request_N, request_N)
    rng = np.random.default_rng(0)
    measures = [each for each in MEASURES if isinstance(each, NDCG | GAUC)]
    scores: tuple[Floats, ...] = (rng.integers(0, 9, 600) / 1.0, rng.random(600), np.zeros(600))
    for score_N in scores:
        found = Meter(log, measures).of_scores(score_N[None])[0]
        assert found == pytest.approx([by_metric(log, m, score_N) for m in measures], abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_laws(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    log = worlds.log(5, weighted=weighted, longest=9)
    model = WeightedSum(terms=worlds.START)
    names = list(worlds.START)
    weight_BW = rng.normal(size=(21, 5))
    ranking = Ranking(log, model, None, MEASURES)
    value_BK = ranking.values(names, weight_BW, worlds.START)
    assert len(np.unique(value_BK[:, 0])) > 10

    doubled = ranking.values(names, 4 * weight_BW, worlds.START)
    assert np.array_equal(doubled, value_BK)
    alone = np.concatenate(
        [ranking.values(names, one_W[None], worlds.START) for one_W in weight_BW]
    )
    assert np.array_equal(alone, value_BK)
    one = Ranking(log, model, None, MEASURES)
    one.meter._threads = 1
    assert np.array_equal(one.values(names, weight_BW, worlds.START), value_BK)

    order_N = rng.permutation(len(log))
    other = Ranking(worlds.permuted(log, order_N), model, None, MEASURES)
    assert other.values(names, weight_BW, worlds.START) == pytest.approx(value_BK, abs=1e-12)

    fewer = WeightedSum(terms={name: 1.0 for name in names if name != "report"})
    without_BW = weight_BW.copy()
    without_BW[:, names.index("report")] = 0
    with_zero = ranking.values(names, without_BW, worlds.START)
    left = [name for name in names if name != "report"]
    columns = [names.index(name) for name in left]
    lacking = Ranking(log, fewer, None, MEASURES)
    assert np.array_equal(lacking.values(left, weight_BW[:, columns], fewer.tunable), with_zero)


def test_ranks_to_the_bit_as_the_model_does() -> None:
    """Sums of tenths tie in floating point or not by how they are rounded: as served."""
    log = worlds.log(3, rows=600, longest=30)
    names = list(worlds.START)
    weight_BW = np.round(np.random.default_rng(0).normal(size=(6, 5)), 1)
    weight_BW[weight_BW == 0] = 0.3
    ranking = Ranking(log, WeightedSum(terms=worlds.START), None, MEASURES[:5])
    by_parts = ranking.values(names, weight_BW, worlds.START)
    score_BN = np.stack(
        [ranking.scores(dict(zip(names, weight_W, strict=True))) for weight_W in weight_BW]
    )
    assert np.array_equal(ranking.meter.of_scores(score_BN), by_parts)


def test_gauc_of_rows_that_weigh_differently_is_measured_by_the_metric() -> None:
    log = worlds.log(2)
    rng = np.random.default_rng(2)
    rows = log.rows
    groups = (rows.groups["request"], rows.groups["user"])
    log = worlds.replayed(rows.predictions, rows.labels, rows.masks, *groups, rng.random(len(log)))
    measures = (GAUC(task="click"), NDCG(task="like"))
    assert measures[0].credits(log) is None
    ranking = Ranking(log, WeightedSum(terms=worlds.START), None, measures)
    score_N = ranking.scores(worlds.START)
    by_parts = ranking.values(["click"], np.array([[1.0]]), worlds.START)[0]
    expected = [by_metric(log, each, score_N) for each in measures]
    assert by_parts == pytest.approx(expected, abs=1e-12)
    assert ranking.meter.of_scores(score_N[None])[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("each", "told"),
    [
        (NDCG(task="click"), "no request has a label above 0"),
        (GAUC(task="click"), "no group has both classes"),
        (Recall(task="click"), "no request has a label above 0"),
    ],
)
def test_undefined_whatever_ranks(each: Objective, told: str) -> None:
    log = worlds.log()
    rows = log.rows
    nothing = {**rows.labels, "click": np.zeros(len(log))}
    log = worlds.replayed(
        rows.predictions, nothing, rows.masks, rows.groups["request"], rows.groups["user"]
    )
    with pytest.raises(DataError, match=f"{each.name}: is undefined on this log: {told}"):
        each.credits(log)


def test_what_is_no_objective() -> None:
    with pytest.raises(ConfigError, match=r"'clik' is no task\. Did you mean 'click'"):
        NDCG(task="clik").goal(worlds.SCHEMA)
    with pytest.raises(ConfigError, match="task 'watch' is duration, and gauc is for binary"):
        GAUC(task="watch").goal(worlds.SCHEMA)
    log = worlds.log()
    log.rows.groups.clear()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="the log has no requests"):
        NDCG(task="click").credits(log)
    null = np.full(240, -1)
    rows = worlds.log().rows
    log = worlds.replayed(rows.predictions, rows.labels, rows.masks, null, null)
    with pytest.raises(DataError, match="no row has a request"):
        Value(worth={"click": 1.0}).credits(log)


def test_less_of_what_is_bad_is_better() -> None:
    goals = [each.goal(worlds.SCHEMA) for each in MEASURES]
    lower = {goal.name for goal in goals if not goal.higher_is_better}
    assert lower == {"value@4 of report"}
    assert not NDCG(task="report").goal(worlds.SCHEMA).higher_is_better
    assert Value(worth={"report": -2.0}).goal(worlds.SCHEMA).higher_is_better
    assert goals[9].name == "value@3 of click + 20 purchase"
    mixed = Value(worth={"click": 1.0, "report": -40.0, "like": -1.0}, k=3)
    assert mixed.name == "value@3 of click - 40 report - like"
    assert Value(worth={"report": -1.0}).name == "value@10 of -report"
    with pytest.raises(ValueError, match="every task is worth 0"):
        Value(worth={"click": 0.0})


def test_a_row_without_a_prediction_is_refused() -> None:
    log = worlds.log()
    log.candidates.predictions["like"][3] = np.nan
    with pytest.raises(DataError, match="1 of 240 rows have no score: a prediction is missing"):
        Ranking(log, WeightedSum(terms=worlds.START), None, MEASURES[:1])
