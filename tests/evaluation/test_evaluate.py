"""Evaluating by task and slice, and the intervals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import (
    METRICS,
    NO_GROUP,
    Evaluation,
    Observations,
    compare,
    evaluate,
    ndcg_at,
)
from tests.evaluation.worlds import CLICK, LIKE, PLAY, STARS, TASKS, Task, log, take


def values(evaluation: Evaluation) -> dict[tuple[str, str | None, str], float]:
    return {(row.task, row.slice, row.metric): row.value for row in evaluation.rows}


def test_each_task_gets_the_metrics_of_its_kind_over_its_own_rows() -> None:
    observations = log()
    evaluation = evaluate(observations, TASKS, resamples=0)
    for task in TASKS:
        rows = [row for row in evaluation.rows if row.task == task.name]
        assert {row.metric for row in rows} == {
            name for name, metric in METRICS.items() if task.kind in metric.kinds
        }
        assert observations.weights is not None
        mask = observations.masks[task.name] & (observations.weights > 0)
        assert {row.rows for row in rows} == {int(mask.sum())}
        positives = int((observations.labels[task.name][mask] == 1).sum())
        expected = positives if task.kind == "binary" else None
        assert {row.positives for row in rows} == {expected}
    for row in evaluation.rows:
        key = {"gauc": "user", "gxauc": "user", "ndcg@10": "request"}.get(row.metric)
        direct = METRICS[row.metric](
            observations.labels[row.task],
            observations.predictions[row.task],
            mask_N=observations.masks[row.task],
            weights_N=observations.weights,
            groups_N=observations.groups[key] if key else None,
        )
        assert row.value == direct.value
    assert evaluation.mode == "exact"
    assert evaluation.unit is None


def test_rows_without_a_user_form_no_group_and_are_drawn_one_by_one() -> None:
    observations = log()
    users = np.unique(observations.groups["user"], return_inverse=True)[1] + 1
    lost = np.flatnonzero(users <= 3)
    assert len(lost) > 10
    apart = users.copy()
    apart[lost] = [0, *range(users.max() + 1, users.max() + len(lost))]
    null = np.where(users <= 3, NO_GROUP, users)
    by_null, by_row = (
        evaluate(replace(observations, groups={"user": codes}), [CLICK], resamples=60)
        for codes in (null, apart)
    )
    for first, second in zip(by_null.rows, by_row.rows, strict=True):
        # A group of one row has one class, so it leaves GAUC; its draws are the same, too.
        assert first.metric == second.metric
        assert first.value == second.value or math.isnan(first.value)
        assert (first.lower, first.upper) == (second.lower, second.upper) or first.reason
    known = take(replace(observations, groups={"user": users}), np.flatnonzero(users > 3))
    assert by_null.value("click", "gauc") == evaluate(known, [CLICK]).value("click", "gauc")


def test_gauc_groups_by_request_without_users() -> None:
    observations = log()
    alone = replace(observations, groups={"request": observations.groups["request"]})
    by_request = METRICS["gauc"](
        alone.labels["click"],
        alone.predictions["click"],
        weights_N=alone.weights,
        groups_N=alone.groups["request"],
    )
    evaluation = evaluate(alone, [CLICK], resamples=40)
    assert evaluation.value("click", "gauc") == by_request.value
    assert evaluation.unit == "request"


def test_without_groups_the_metrics_by_group_say_so() -> None:
    evaluation = evaluate(replace(log(), groups={}), [CLICK], resamples=40)
    assert evaluation.unit == "row"
    assert evaluation.row("click", "gauc").reason == "needs groups by user or request"
    assert evaluation.row("click", "ndcg@10").reason == "needs groups by request"
    assert evaluation.row("click", "gauc").interval_reason == "the value is undefined"
    assert evaluation.row("click", "auc").interval_reason is None


def test_slices_are_the_metrics_of_their_rows() -> None:
    observations = log()
    evaluation = evaluate(observations, TASKS, slices=["tab", "hour"], resamples=40)
    found = {row.slice for row in evaluation.rows}
    assert found == {None, "tab=home", "tab=search", "hour=0", "hour=1", "hour=2"}
    for column, value in (("tab", "home"), ("hour", 1)):
        part = take(observations, observations.slices[column] == value)
        for row in evaluate(part, TASKS, resamples=0).rows:
            got = evaluation.row(row.task, row.metric, f"{column}={value}")
            assert got.value == row.value
            assert (got.rows, got.positives) == (row.rows, row.positives)
            assert got.interval_reason == "no interval was asked for slices"


def test_slices_may_have_intervals() -> None:
    evaluation = evaluate(log(), [CLICK], slices=["tab"], slice_intervals=True, metrics=["auc"])
    for row in evaluation.rows:
        assert row.lower < row.value < row.upper


def test_missing_and_mixed_slice_values_have_names() -> None:
    observations = log(size=6)
    columns = {
        "number": np.array([0.5, math.nan, math.nan, 0.5, 0.5, 2.0]),
        "thing": np.array(["a", None, "b", math.nan, 1, True], dtype=object),
        "flag": np.array([True, False] * 3),
    }
    evaluation = evaluate(
        replace(observations, slices=columns), [CLICK], metrics=["ratio"], slices=list(columns)
    )
    assert [row.slice for row in evaluation.rows] == [
        None,
        *("number=0.5", "number=2.0", "number=null"),
        *("thing=1", "thing=True", "thing=a", "thing=b", "thing=null"),
        *("flag=False", "flag=True"),
    ]


def test_a_task_without_positives_in_a_slice_is_undefined_there_only() -> None:
    observations = log()
    labels = np.where(observations.slices["hour"] == 2, 0.0, observations.labels["click"])
    observations = replace(observations, labels={**observations.labels, "click": labels})
    evaluation = evaluate(observations, [CLICK], slices=["hour"], resamples=0)
    row = evaluation.row("click", "auc", "hour=2")
    assert math.isnan(row.value)
    assert row.reason == "only one class: no positive label"
    assert evaluation.row("click", "auc", "hour=1").reason is None


def test_replicates_repeat_all_rows_of_the_drawn_users() -> None:
    """Against rows really repeated, each copy of a user with requests of its own."""
    observations = log(size=120, users=15)
    evaluation = evaluate(observations, TASKS, resamples=40, seed=3)
    users = np.unique(observations.groups["user"])
    replicates: dict[tuple[str, str | None, str], list[float]] = {}
    for number in range(40):
        drawn = np.random.default_rng((3, number)).integers(0, len(users), len(users))
        parts = []
        for copy, code in enumerate(drawn):
            part = take(observations, np.flatnonzero(observations.groups["user"] == users[code]))
            request = part.groups["request"] + 100_000 * copy
            user = np.full(part.num_rows, copy)
            parts.append(replace(part, groups={"user": user, "request": request}))
        repeated = evaluate(Observations.concatenate(parts), TASKS, resamples=0)
        for key, value in values(repeated).items():
            replicates.setdefault(key, []).append(value)
    for row in evaluation.rows:
        found = np.array(replicates[row.task, row.slice, row.metric])
        found = found[~np.isnan(found)]
        if len(found) < 38:
            assert row.interval_reason == f"undefined in {40 - len(found)} of 40 resamples"
            continue
        if row.metric == "ece":
            found = np.maximum(0, found - found.mean() + row.value)
        lower, upper = np.quantile(found, [0.025, 0.975])
        assert row.lower == pytest.approx(lower, abs=1e-12)
        assert row.upper == pytest.approx(upper, abs=1e-12)


def test_rows_of_one_user_are_not_taken_for_independent() -> None:
    """The interval has the width of the standard error over users, which is far wider."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(100), 20)
    error = np.abs(rng.normal(0, 1, 100))[user]
    mask = {"stars": np.ones(2000, dtype=bool)}
    observations = Observations(
        predictions={"stars": error},
        labels={"stars": np.zeros(2000)},
        masks=mask,
        groups={"user": user},
    )
    row = evaluate(observations, [STARS], metrics=["mae"], resamples=1000).row("stars", "mae")
    standard_error = error[::20].std(ddof=1) / math.sqrt(100)
    assert (row.upper - row.lower) / (2 * 1.96 * standard_error) == pytest.approx(1, abs=0.1)
    by_row = evaluate(replace(observations, groups={}), [STARS], metrics=["mae"], resamples=1000)
    narrow = by_row.row("stars", "mae")
    assert (narrow.upper - narrow.lower) * 3 < row.upper - row.lower


def test_an_interval_depends_on_nothing_but_its_rows_and_the_seed() -> None:
    observations = log()
    whole = evaluate(observations, TASKS, resamples=40, slices=["tab"])
    again = evaluate(observations, TASKS, resamples=40, slices=["tab"])
    assert whole.to_json() == again.to_json()
    alone = evaluate(observations, [PLAY], metrics=["mae"], resamples=40)
    assert alone.row("play_time", "mae") == whole.row("play_time", "mae")
    order = np.random.default_rng(0).permutation(300)
    for row in evaluate(take(observations, order), TASKS, resamples=40).rows:
        other = whole.row(row.task, row.metric)
        assert row.value == other.value
        assert row.lower == pytest.approx(other.lower, abs=1e-12)
    other_seed = evaluate(observations, TASKS, resamples=40, seed=1)
    assert other_seed.row("click", "auc").lower != whole.row("click", "auc").lower


def test_confidence_widens() -> None:
    wide = evaluate(log(), [CLICK], metrics=["auc"], confidence=0.95).row("click", "auc")
    narrow = evaluate(log(), [CLICK], metrics=["auc"], confidence=0.5).row("click", "auc")
    assert wide.lower < narrow.lower < narrow.upper < wide.upper


def test_no_interval_from_one_user_or_no_resamples() -> None:
    observations = log()
    one = replace(observations, groups={"user": np.zeros(300, dtype=np.int64)})
    row = evaluate(one, [CLICK], metrics=["auc"]).row("click", "auc")
    assert row.interval_reason == "fewer than 2 users to draw from"
    assert math.isnan(row.lower)
    assert math.isnan(row.upper)
    row = evaluate(observations, [CLICK], metrics=["auc"], resamples=0).row("click", "auc")
    assert row.interval_reason == "no resamples were asked for"


def test_a_metric_undefined_in_many_replicates_has_no_interval() -> None:
    observations = log()
    labels = np.zeros(300)
    labels[7] = 1
    observations = replace(
        observations, labels={**observations.labels, "click": labels}, weights=None
    )
    row = evaluate(observations, [CLICK], metrics=["auc"]).row("click", "auc")
    assert row.reason is None
    assert row.interval_reason is not None
    assert row.interval_reason.startswith("undefined in ")


def test_a_request_of_several_users_is_still_resampled_by_user() -> None:
    observations = log(size=120, users=15)
    shared = {**observations.groups, "request": np.arange(120) // 12}
    evaluation = evaluate(replace(observations, groups=shared), [CLICK], resamples=40)
    row = evaluation.row("click", "ndcg@10")
    assert row.lower < row.value < row.upper


def test_empty_observations_are_undefined() -> None:
    evaluation = evaluate(take(log(), np.zeros(0, dtype=int)), TASKS)
    assert {row.reason for row in evaluation.rows} == {"no observed row"}
    assert {row.rows for row in evaluation.rows} == {0}


def test_a_metric_object_may_be_given() -> None:
    evaluation = evaluate(log(), [CLICK], metrics=["auc", ndcg_at(3)], resamples=0)
    assert [row.metric for row in evaluation.rows] == ["auc", "ndcg@3"]


def test_auc_of_a_number_is_refused() -> None:
    evaluation = evaluate(log(), [CLICK, PLAY], metrics=["auc", "mae"], resamples=0)
    assert [(row.task, row.metric) for row in evaluation.rows] == [
        ("click", "auc"),
        ("play_time", "mae"),
    ]
    with pytest.raises(ConfigError, match=r"'play_time' of kind 'duration'. Defined: .*xauc"):
        evaluate(log(), [PLAY, STARS], metrics=["auc"])
    with pytest.raises(ConfigError, match=r"play_time.auc was not evaluated"):
        evaluation.value("play_time", "auc")


@pytest.mark.parametrize(
    ("tasks", "settings", "message"),
    [
        ([CLICK], {"metrics": ["acu"]}, "unknown metric 'acu'. Did you mean 'auc'"),
        ([CLICK], {"metrics": ["zzz"]}, "unknown metric 'zzz'. Known: auc, ece, .*, xauc"),
        ([CLICK], {"metrics": ["auc", "auc"]}, "metric 'auc' is given twice"),
        ([CLICK, CLICK], {}, "task 'click' is given twice"),
        ([Task("clik", "binary")], {}, "no predictions of task 'clik'. Did you mean 'click'"),
        ([Task("click", "survival")], {}, "no metric is defined for task 'click'.*Kinds: binary"),
        ([CLICK], {"slices": ["tap"]}, "unknown slice 'tap'. Did you mean 'tab'"),
        ([CLICK], {"confidence": 1.0}, "`confidence` must be between 0 and 1, got 1.0"),
        ([CLICK], {"seed": -1}, "`seed` must be at least 0, got -1"),
        ([CLICK], {"resamples": 39}, "`resamples` must be 0 or at least 40 for confidence 0.95"),
        ([CLICK], {"resamples": -1}, "`resamples` must be 0 or at least 40"),
    ],
)
def test_wrong_settings_are_refused(
    tasks: list[Task], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(log(), tasks, **settings)  # type: ignore[arg-type]


def test_a_wrong_name_among_many_lists_some() -> None:
    evaluation = evaluate(log(), TASKS, slices=["hour"], resamples=0)
    with pytest.raises(ConfigError, match=r"zz\.zz was not evaluated. Known: .* and \d+ more"):
        evaluation.value("zz", "zz")


def test_a_slice_by_user_is_refused() -> None:
    observations = replace(log(size=1500), slices={"id": np.arange(1500)})
    with pytest.raises(ConfigError, match="slice 'id' has 1500 values, at most 1000"):
        evaluate(observations, [CLICK], slices=["id"])


def test_a_wrong_label_names_its_task() -> None:
    observations = log()
    labels = {**observations.labels, "like": observations.labels["play_time"]}
    with pytest.raises(DataError, match="task 'like': auc needs labels 0 or 1"):
        evaluate(replace(observations, labels=labels), [LIKE])


def _calibrated_up_to(shift: float, seed: int) -> Observations:
    """1,000 rows of 250 users whose log odds are ``shift`` above those predicted."""
    rng = np.random.default_rng((11, seed))
    logit = rng.normal(-2, 1, 1000)
    label = rng.random(1000) < 1 / (1 + np.exp(-logit - shift))
    return Observations(
        predictions={"click": 1 / (1 + np.exp(-logit))},
        labels={"click": label.astype(float)},
        masks={"click": np.ones(1000, dtype=bool)},
        groups={"user": np.arange(1000) // 4},
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_intervals_of_ece_hold_its_value_and_what_logs_of_that_size_have(shift: float) -> None:
    """Of a calibrated model, percentiles as they are lie above both."""
    logs = [_calibrated_up_to(shift, seed) for seed in range(200)]
    metrics = [evaluate(one, [CLICK], metrics=["ece"], resamples=0) for one in logs]
    mean = np.mean([found.value("click", "ece") for found in metrics])
    held = 0
    for seed, one in enumerate(logs[:60]):
        row = evaluate(one, [CLICK], metrics=["ece"], resamples=60, seed=seed).row("click", "ece")
        assert 0 <= row.lower <= row.value <= row.upper
        held += bool(row.lower <= mean <= row.upper)
    assert held >= 51


def test_differences_of_ece_have_intervals_about_them() -> None:
    """A calibrated model and one that is not: draws raise the ECE of the first one more."""
    for seed in range(10):
        a = _calibrated_up_to(0.0, seed)
        prob = a.predictions["click"]
        b = replace(a, predictions={"click": prob / (prob + (1 - prob) * np.exp(0.5))})
        row = compare(a, b, [CLICK], metrics=["ece"], resamples=200).row("click", "ece")
        centre = (row.lower + row.upper) / 2
        assert abs(centre - row.difference) < 0.15 * (row.upper - row.lower)
