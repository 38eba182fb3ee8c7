"""Paired differences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import Observations, compare, evaluate
from tests.evaluation.worlds import CLICK, LIKE, PLAY, TASKS, log, take


def with_click(observations: Observations, probs: Any) -> Observations:
    return replace(observations, predictions={**observations.predictions, "click": probs})


def test_differences_are_b_minus_a() -> None:
    a, b = log(noise=1.5), log(noise=0.2)
    assert not np.array_equal(a.predictions["click"], b.predictions["click"])
    comparison = compare(a, b, TASKS, resamples=40)
    of_a, of_b = evaluate(a, TASKS, resamples=0), evaluate(b, TASKS, resamples=0)
    assert len(comparison.rows) == len(of_a.rows)
    for row in comparison.rows:
        assert row.a == of_a.value(row.task, row.metric)
        assert row.b == of_b.value(row.task, row.metric)
        assert row.difference == row.b - row.a
        assert row.rows == of_a.row(row.task, row.metric).rows
        assert row.positives == of_a.row(row.task, row.metric).positives
        assert row.significant == (row.lower > 0 or row.upper < 0)
    assert comparison.unit == "user"
    assert comparison.row("click", "auc").difference > 0
    assert comparison.row("click", "auc").significant is True


def test_a_model_equals_itself() -> None:
    for row in compare(log(), log(), TASKS).rows:
        assert (row.difference, row.lower, row.upper) == (0, 0, 0)
        assert row.significant is False


def test_paired_draws_see_a_small_constant_difference() -> None:
    """The interval of a difference that is the same in every row has no width."""
    a = log()
    b = replace(a, predictions={**a.predictions, "stars": a.labels["stars"] + 5.01})
    a = replace(a, predictions={**a.predictions, "stars": a.labels["stars"] + 5.0})
    row = compare(a, b, TASKS, metrics=["mae"]).row("stars", "mae")
    assert row.lower == pytest.approx(0.01, abs=1e-9)
    assert row.upper == pytest.approx(0.01, abs=1e-9)
    assert row.significant is True


def test_paired_is_narrower_than_apart() -> None:
    a = log(size=3000, users=100)
    a = with_click(a, np.clip(a.predictions["click"], 0.02, 0.98))
    b = with_click(a, a.predictions["click"] * 0.96 + 0.02)
    row = compare(a, b, [CLICK], metrics=["log_loss"]).row("click", "log_loss")
    apart = evaluate(a, [CLICK], metrics=["log_loss"]).row("click", "log_loss")
    assert (row.upper - row.lower) * 5 < apart.upper - apart.lower


def test_an_undefined_part_leaves_no_difference() -> None:
    observations = log()
    none = replace(observations, labels={**observations.labels, "like": np.zeros(300)})
    row = compare(none, none, [LIKE], metrics=["auc"]).row("like", "auc")
    assert math.isnan(row.difference)
    assert row.reason == "only one class: no positive label"
    assert row.significant is None
    assert row.interval_reason == "the difference is undefined"


def test_without_resamples_there_is_no_verdict() -> None:
    comparison = compare(log(), log(noise=2.0), [CLICK], metrics=["auc"], resamples=0)
    row = comparison.row("click", "auc")
    assert comparison.unit is None
    assert row.significant is None
    assert row.interval_reason == "no resamples were asked for"


def test_labels_of_masked_rows_do_not_matter() -> None:
    a = log()
    b = replace(a, labels={**a.labels, "like": np.nan_to_num(a.labels["like"], nan=7.0)})
    assert compare(a, b, [LIKE], metrics=["auc"], resamples=0).row("like", "auc").difference == 0


def test_other_rows_are_refused() -> None:
    a = log()
    flipped = {**a.labels, "click": 1 - a.labels["click"]}
    assert a.weights is not None
    heavy = np.flatnonzero(a.masks["like"] & (a.weights > 0))
    moved = {"like": a.masks["like"].copy()}
    moved["like"][heavy[0]] = False
    moved["like"][np.flatnonzero(~a.masks["like"] & (a.weights > 0))[0]] = True
    fewer = {**a.masks, "like": a.masks["like"] & (np.arange(300) > 50)}
    filled = {**a.labels, "like": np.zeros(300)}
    others = {
        "labels of a and b differ in": replace(a, labels=flipped),
        "masks of a and b differ in": replace(a, masks={**a.masks, **moved}, labels=filled),
        "observed rows, b": replace(a, masks=fewer),
        "weights of a and b differ in": replace(a, weights=a.weights * 2),
        r"groups\['user'\] of a and b differ in 300 of 300 rows": replace(
            a, groups={**a.groups, "user": a.groups["user"] + 1}
        ),
        r"b 300 and \['user'\]": replace(a, groups={"user": a.groups["user"]}),
        "a has 300 rows .* b 299": take(a, slice(1, None)),
    }
    for message, b in others.items():
        with pytest.raises(DataError, match=message):
            compare(a, b, TASKS)


def test_an_unknown_entry_is_refused() -> None:
    comparison = compare(log(), log(), [PLAY], metrics=["mae"], resamples=0)
    with pytest.raises(ConfigError, match=r"Did you mean 'play_time\.mae'"):
        comparison.row("play_time", "mea")
