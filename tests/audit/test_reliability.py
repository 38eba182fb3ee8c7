"""Bins against the ECE that is their sum, intervals against their formula, and honest halves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from polyrank.audit.reliability import (
    NO_PROBABILITY,
    Reliability,
    _crossed,
    _first_half,
    curve,
    reliability,
)
from polyrank.calibration import Platt, Segmented
from polyrank.evaluation import Observations, ece, ratio
from polyrank.schema import Binary, Duration, Regression

CLICK = Binary(name="click")


def observations(rows: int = 3000, *, seed: int = 0, steps: int = 200) -> Observations:
    """Predictions that are twice too sure, some equal; a tenth is not observed."""
    rng = np.random.default_rng(seed)
    logit = np.round(rng.normal(-1, 1, rows) * steps) / steps
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
    return Observations(
        predictions={"click": 1 / (1 + np.exp(-2 * logit)), "watch": np.exp(logit)},
        labels={"click": label, "watch": np.exp(logit + rng.normal(0, 0.3, rows))},
        masks={"click": rng.random(rows) > 0.1, "watch": np.ones(rows, dtype=bool)},
        weights=rng.integers(0, 4, rows).astype(float),
        groups={"user": rng.integers(-1, 200, rows)},
    )


@pytest.mark.parametrize("steps", [1, 200])
def test_the_bins_are_those_of_ece(steps: int) -> None:
    seen = observations(steps=steps)
    found = curve(seen, CLICK)
    mask_N, weights_N = seen.masks["click"], np.asarray(seen.weights)
    rows = {"mask_N": mask_N, "weights_N": weights_N}
    expected = ece(seen.labels["click"], seen.predictions["click"], **rows).value
    assert found.ece == pytest.approx(expected)
    total = sum(own.share * abs(own.prediction - own.label) for own in found.bins)
    assert total == pytest.approx(expected)
    assert found.ratio == pytest.approx(
        ratio(seen.labels["click"], seen.predictions["click"], **rows).value
    )
    assert found.reasons == {}
    assert sum(own.share for own in found.bins) == pytest.approx(1.0)
    assert sum(own.rows for own in found.bins) == (mask_N & (weights_N > 0)).sum()
    rising = [own.prediction for own in found.bins]
    assert rising == sorted(rising)
    for own in found.bins:
        assert own.low is not None
        assert own.high is not None
        assert 0 <= own.low <= own.label <= own.high <= 1


def test_an_interval_of_weighted_rows() -> None:
    """Three rows of weight 2 and one of weight 1: 49 / 13 rows."""
    seen = Observations(
        predictions={"watch": np.full(4, 3.0)},
        labels={"watch": np.array([1.0, 2.0, 3.0, 10.0])},
        masks={"watch": np.ones(4, dtype=bool)},
        weights=np.array([2.0, 2.0, 2.0, 1.0]),
    )
    (own,) = curve(seen, Duration(name="watch")).bins
    mean, effective = 22 / 7, 49 / 13
    variance = (2 * (1 + 4 + 9) + 100) / 7 - mean**2
    half = 1.959963984540054 * math.sqrt(variance / (effective - 1))
    assert own.prediction == 3.0
    assert own.label == pytest.approx(mean)
    assert own.low == pytest.approx(mean - half)
    assert own.high == pytest.approx(mean + half)
    single = dataclasses.replace(seen, weights=np.array([0.0, 0.0, 0.0, 1.0]))
    (own,) = curve(single, Duration(name="watch")).bins
    assert (own.label, own.low, own.high) == (10.0, None, None)


def test_calibration_by_the_other_half_finds_the_slope_and_flatters_nobody() -> None:
    seen = observations(20_000)
    found = reliability(seen, CLICK, Platt())
    assert found.after is not None
    assert found.before.ece is not None
    assert found.after.ece is not None
    assert found.after.ece < found.before.ece / 3
    assert found.method == "platt, each half by the other"
    assert Reliability.from_json(found.to_json()) == found


def test_no_row_is_judged_by_a_curve_that_saw_it() -> None:
    """What the labels of a half say changes nothing of what is made of its own predictions."""
    seen = observations()
    first_N = _first_half(seen, 0)
    told = _crossed(seen, "click", Platt(), 0)
    other_N = np.where(first_N, 1 - seen.labels["click"], seen.labels["click"])
    other = dataclasses.replace(seen, labels={**seen.labels, "click": other_N})
    again = _crossed(other, "click", Platt(), 0)
    assert np.array_equal(told[first_N], again[first_N])
    assert not np.array_equal(told[~first_N], again[~first_N])


def test_users_are_never_in_both_halves() -> None:
    seen = observations()
    first = _first_half(seen, 0)
    users = seen.groups["user"]
    assert not {*users[first & (users >= 0)]} & {*users[~first & (users >= 0)]}
    assert 0.3 < first.mean() < 0.7
    assert 0 < first[users < 0].mean() < 1
    assert 0.4 < _first_half(dataclasses.replace(seen, groups={}), 0).mean() < 0.6


def test_what_cannot_be_calibrated_says_why() -> None:
    seen = observations(300)
    watch = reliability(seen, Duration(name="watch"), Platt())
    assert (watch.after, watch.method) == (None, NO_PROBABILITY)
    assert watch.before.ece is None
    assert watch.before.reasons == {"ece": "not of duration tasks"}
    assert watch.before.ratio is not None
    number = curve(seen, Regression(name="watch"))
    assert set(number.reasons) == {"ece", "ratio"}
    assert number.bins
    none = reliability(seen, CLICK, None)
    assert (none.after, none.method) == (None, "none configured")
    by = reliability(seen, CLICK, Segmented(by="tab"))
    assert by.after is None
    assert "'tab'" in by.method
    empty = dataclasses.replace(seen, masks={**seen.masks, "click": np.zeros(300, dtype=bool)})
    nothing = curve(empty, CLICK)
    assert (nothing.ratio, nothing.ece, nothing.bins) == (None, None, ())
    assert set(nothing.reasons) == {"ratio", "ece"}
