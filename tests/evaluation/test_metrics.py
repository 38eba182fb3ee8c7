"""Each metric by hand, and what each refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import (
    METRICS,
    NO_GROUP,
    Measure,
    auc,
    ece,
    ece_with,
    find_metric,
    gauc,
    log_loss,
    mae,
    ndcg,
    ndcg_at,
    ne,
    pr_auc,
    ratio,
    rmse,
    xauc,
)
from polyrank.evaluation._ece import bin_starts
from tests.evaluation.cases import Sample, _gauc, _xauc

LOG2_3 = math.log2(3)


def test_auc_by_hand() -> None:
    # pairs: .7 beats .2 and .7 ties; .2 ties and loses: 1 + .5 + .5 + 0 of 4
    assert auc([1, 0, 0, 1], [0.7, 0.2, 0.7, 0.2]).value == 0.5
    assert auc([1, 0, 0, 1], [0.7, 0.2, 0.7, 0.2], weights_N=[3, 1, 1, 1]).value == 5 / 8


def test_gauc_by_hand() -> None:
    labels, probs = [1, 0, 1, 0, 0, 1], [0.9, 0.1, 0.2, 0.3, 0.4, 0.8]
    groups = [7, 7, 5, 5, 5, -1]  # areas 1 and 0; the last group has one class and leaves
    assert gauc(labels, probs, groups_N=groups).value == 2 / 5
    weighted = gauc(labels, probs, groups_N=groups, weights_N=[3, 3, 1, 1, 1, 9])
    assert weighted.value == 6 / 9


def test_a_row_of_no_group_leaves_a_metric_by_group() -> None:
    # Together they would be a group with an area of 0, and a list.
    labels, probs = [1, 0, 1, 0, 0, 1], [0.9, 0.1, 0.2, 0.3, 0.4, 0.05]
    groups = [7, 7, NO_GROUP, 5, NO_GROUP, 5]
    assert gauc(labels, probs, groups_N=groups).value == 1 / 2
    assert ndcg(labels, probs, groups_N=groups).value == pytest.approx((1 + 1 / LOG2_3) / 2)
    for metric, keys in ((gauc, "user and request"), (ndcg, "request")):
        nothing = metric(labels, probs, groups_N=[NO_GROUP] * 6)
        assert math.isnan(nothing.value)
        assert nothing.reason == f"every {keys} is null"


def test_pr_auc_by_hand() -> None:
    # recall 0 -> 1/2 at precision 1, 1/2 -> 1 at precision 2/3
    assert pr_auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]).value == pytest.approx(1 / 2 + 1 / 3)
    # a tie of one positive and two negatives is one threshold
    assert pr_auc([1, 0, 0], [0.5, 0.5, 0.5]).value == pytest.approx(1 / 3)


def test_log_loss_and_ne_by_hand() -> None:
    loss = -(math.log(0.75) + math.log(0.5)) / 2
    assert log_loss([1, 0], [0.75, 0.5]).value == pytest.approx(loss, abs=1e-15)
    assert ne([1, 0], [0.75, 0.5]).value == pytest.approx(loss / math.log(2), abs=1e-15)
    assert ne([1, 0, 0, 0], [0.25] * 4).value == pytest.approx(1.0, abs=1e-15)


def test_log_loss_of_sure_and_wrong_is_clipped() -> None:
    assert log_loss([1], [0.0]).value == pytest.approx(52 * math.log(2), rel=1e-15)
    assert log_loss([0], [1.0]).value == pytest.approx(52 * math.log(2), rel=1e-15)
    assert log_loss([0, 1], [0.0, 1.0]).value < 1e-15


def test_ece_by_hand() -> None:
    # two bins: |.1 + .3 - 1| and |.6 + .8 - 2|, over four rows
    assert ece_with(2)([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8]).value == pytest.approx(0.3)
    # gaps of both signs cancel within a bin, not across bins
    assert ece_with(1)([0, 1], [0.4, 0.6]).value == pytest.approx(0.0, abs=1e-16)
    assert ece([0, 1], [0.4, 0.6]).value == pytest.approx(0.4)


def test_ece_never_splits_ties() -> None:
    labels, probs = [1, 0] * 50, [0.5] * 100
    assert ece(labels, probs).value == 0.0
    assert ece(sorted(labels), probs).value == 0.0


def test_ece_bins_have_equal_mass() -> None:
    assert bin_starts(np.ones(30), 15).tolist() == list(range(0, 30, 2))
    assert bin_starts(np.array([10.0, 1, 1, 1, 1, 1]), 3).tolist() == [0, 1]


def test_ratio_by_hand() -> None:
    assert ratio([1, 0, 1], [0.5, 0.5, 0.5]).value == 0.75
    assert ratio([10.0, 20.0], [12.0, 24.0]).value == pytest.approx(1.2)
    assert ratio([0, 0], [0.1, 0.2]).reason == "the labels sum to 0"


def test_ndcg_by_hand() -> None:
    # gains 0, 1 in predicted order: (1 / log2 3) / 1
    assert ndcg([1, 0], [0.1, 0.9], groups_N=[0, 0]).value == pytest.approx(1 / LOG2_3)
    # tied: half the time first, half the time second
    tied = ndcg([1, 0], [0.5, 0.5], groups_N=[0, 0]).value
    assert tied == pytest.approx((1 + 1 / LOG2_3) / 2)
    # only the first place counts; the list without gain leaves
    answer = ndcg_at(1)([2, 1, 0, 0, 0], [0.1, 0.9, 0.5, 0.1, 0.2], groups_N=[0, 0, 0, 1, 1])
    assert answer.value == 0.5


def test_ndcg_ties_across_the_last_place() -> None:
    # places 2 and 3 tied, k = 2: the gain of 1 is at place 2 half the time
    answer = ndcg_at(2)([0, 1, 0], [0.9, 0.5, 0.5], groups_N=[4, 4, 4])
    assert answer.value == pytest.approx(0.5 / LOG2_3)


def test_ndcg_weighs_lists_by_their_mean_weight() -> None:
    labels, probs, groups = [1, 0, 1, 0, 0], [0.9, 0.1, 0.1, 0.9, 0.05], [0, 0, 1, 1, 1]
    answer = ndcg(labels, probs, groups_N=groups, weights_N=[2, 4, 1, 1, 1])
    assert answer.value == pytest.approx((3 * 1 + 1 / LOG2_3) / 4)


def test_mae_and_rmse_by_hand() -> None:
    assert mae([1, 5], [2, 2], weights_N=[3, 1]).value == 1.5
    assert rmse([1, 5], [2, 2], weights_N=[3, 1]).value == pytest.approx(math.sqrt(3))


def test_xauc_by_hand() -> None:
    # of 5 pairs with different labels: 1-2 wrong, 1-2' tied, 1-3 right, 2-3 right, 2'-3 right
    labels, predictions = [1, 2, 2, 3], [5.0, 4.0, 5.0, 9.0]
    assert xauc(labels, predictions).value == 3.5 / 5
    assert xauc([2.5, 2.5], [1, 2]).reason == "all labels are equal"


def test_xauc_of_binary_labels_is_auc() -> None:
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 2, 500), rng.integers(0, 30, 500) / 30
    weights = rng.random(500)
    expected = auc(labels, probs, weights_N=weights).value
    assert xauc(labels, probs, weights_N=weights).value == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("distinct", [2, 3, 64, 65, 2000])
def test_xauc_counts_every_pair(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    labels = rng.integers(0, distinct, 2000).astype(float)
    predictions = np.round(labels + rng.normal(0, distinct / 3, 2000), 1)
    weights = rng.random(2000)
    expected = _xauc(Sample(labels, predictions, weights, np.zeros(2000, dtype=np.int64)))
    assert xauc(labels, predictions, weights_N=weights).value == pytest.approx(expected, abs=1e-12)


def test_gauc_loses_no_digits_over_many_groups() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(rng.permutation(400), rng.integers(1, 20, 400))
    size = len(groups)
    labels = (rng.random(size) < 0.3).astype(float)
    probs = np.round(rng.random(size), 1)
    weights = rng.random(size) * 10.0 ** rng.integers(-6, 7, size)
    expected = _gauc(Sample(labels, probs, weights, groups))
    got = gauc(labels, probs, weights_N=weights, groups_N=groups).value
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("lowest", [-(2**63), 2**63 - 2])
def test_groups_may_use_all_of_int64(lowest: int) -> None:
    groups = np.array([lowest, 0, lowest, 0, lowest + 1], dtype=np.int64)
    labels, probs = [1, 0, 0, 1, 1], [0.9, 0.5, 0.1, 0.7, 0.3]
    assert gauc(labels, probs, groups_N=groups).value == 1.0
    assert ndcg(labels, probs, groups_N=groups).value == 1.0


@pytest.mark.parametrize("name", ["auc", "gauc", "pr_auc", "log_loss", "ne", "ece"])
def test_binary_metrics_refuse_other_labels(name: str) -> None:
    with pytest.raises(DataError, match=r"needs labels 0 or 1, got 2\.0 \(in all 2 of 3 rows\)"):
        METRICS[name]([0, 2, 2], [0.1, 0.2, 0.3], groups_N=[0, 0, 0])


@pytest.mark.parametrize("name", ["log_loss", "ne", "ece"])
@pytest.mark.parametrize("prob", [-0.1, 1.0001])
def test_metrics_of_probabilities_refuse_logits(name: str, prob: float) -> None:
    with pytest.raises(DataError, match=r"probabilities in \[0, 1\].*1 of 2 rows.*not logits"):
        METRICS[name]([0, 1], [0.5, prob])


@pytest.mark.parametrize("name", ["ratio", "ndcg@10"])
def test_gains_are_not_negative(name: str) -> None:
    with pytest.raises(DataError, match="labels of at least 0"):
        METRICS[name]([-1.0, 1.0], [0.5, 0.5], groups_N=[0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels_N": [0, 1], "predictions_N": [0.5]}, "predictions_N has 1 rows, labels have 2"),
        ({"mask_N": [1, 0, 1]}, "mask_N must be boolean, got int64. Compare it with 0"),
        ({"mask_N": [True]}, "mask_N has 1 rows"),
        ({"weights_N": [1.0, -1.0, 1.0]}, "weights must be finite and at least 0, got -1.0"),
        ({"weights_N": [1.0, math.nan, 1.0]}, "weights must be finite"),
        ({"weights_N": [1.0, math.inf, 1.0]}, "weights must be finite"),
        ({"labels_N": [0, 1, math.nan]}, r"observed labels must be finite, got nan \(in all 1"),
        ({"labels_N": [[0, 1, 1]]}, r"labels_N must be one number a row, got int64 of shape"),
        ({"labels_N": ["0", "1", "1"]}, "labels_N must be one number a row, got <U1"),
    ],
)
def test_wrong_arrays_are_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"labels_N": [0, 1, 1], "predictions_N": [0.5, 0.6, 0.7], **arguments}
    with pytest.raises(DataError, match=message):
        auc(given.pop("labels_N"), given.pop("predictions_N"), **given)


def test_beyond_float64_is_undefined() -> None:
    assert rmse([0.0, 1e200], [1e200, 0.0]).reason == "the result is not a finite float64 number"
    assert mae([-1.7e308], [1.7e308]).reason == "the result is not a finite float64 number"


def test_settings_of_metrics_are_checked() -> None:
    with pytest.raises(ConfigError, match="`k` must be at least 1, got 0"):
        ndcg_at(0)
    with pytest.raises(ConfigError, match="`num_bins` must be at least 1, got 0"):
        ece_with(0)
    assert ndcg_at(3).name == "ndcg@3" == find_metric("ndcg@3").name
    assert find_metric("ece@7").name == "ece@7"
    assert find_metric("ndcg@10") is METRICS["ndcg@10"]
    for name in ("ndcg", "ndcg@", "ndcg@0", "ndcg@1.5", "ndcg@-1", "ndcg@05", "auc@5", "@5"):
        with pytest.raises(ConfigError, match="unknown metric"):
            find_metric(name)
    assert ece_with(20).name == "ece@20"


def test_a_measure_is_a_number_or_a_reason() -> None:
    for value, reason in ((math.nan, None), (0.5, "why"), (math.inf, None)):
        with pytest.raises(AssertionError):
            Measure(value, reason)
