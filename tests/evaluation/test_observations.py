"""What observations accept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import Observations
from tests.evaluation.worlds import log, take

THREE = np.array([0.1, 0.2, 0.3])
ALL = np.ones(3, dtype=bool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {}}, r"`labels` are of tasks \[\], `predictions` of \['click'\]"),
        ({"masks": {"clik": ALL}}, r"`masks` are of tasks \['clik'\]"),
        ({"masks": {"click": np.ones(3)}}, r"masks\['click'\] must be boolean, got float64"),
        ({"masks": {"click": ALL[:2]}}, r"masks\['click'\] has shape \(2,\), expected \(3,\)"),
        ({"groups": {"usr": np.arange(3)}}, "unknown key 'usr' of `groups`. Did you mean 'user'"),
        ({"groups": {"user": THREE}}, r"groups\['user'\] must be integers, got float64"),
        ({"weights": np.ones(4)}, r"weights has shape \(4,\)"),
        ({"keep_rates": {"click": 0.0}}, r"keep_rates\['click'\] must be above 0"),
        ({"keep_rates": {"click": 1.5}}, r"keep_rates\['click'\] must be .* at most 1, got 1.5"),
        ({"slices": {"tab": np.ones((3, 2))}}, r"slices\['tab'\] has shape \(3, 2\)"),
    ],
)
def test_wrong_columns_are_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "predictions": {"click": THREE},
        "labels": {"click": THREE},
        "masks": {"click": ALL},
        **change,
    }
    with pytest.raises(DataError, match=message):
        Observations(**given)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no predictions of task 'clicks'. Did you mean 'click'"):
        log().select("clicks")


def test_concatenated_parts_are_the_whole() -> None:
    whole = log()
    parts = [take(whole, slice(start, start + 130)) for start in (0, 130, 260)]
    joined = Observations.concatenate(parts)
    assert joined.num_rows == whole.num_rows == 300
    for (name, column), (other_name, other) in zip(
        joined._columns(), whole._columns(), strict=True
    ):
        assert name == other_name
        assert column.dtype == other.dtype
        np.testing.assert_array_equal(column, other)


def test_parts_without_weights_stay_so() -> None:
    part = replace(log(), weights=None)
    assert Observations.concatenate([part, part]).weights is None


def test_parts_that_lack_a_column_are_refused() -> None:
    with pytest.raises(DataError, match=r"some parts lack \['weights'\]"):
        Observations.concatenate([log(), replace(log(), weights=None)])
    with pytest.raises(DataError, match="no observations to concatenate"):
        Observations.concatenate([])


def test_no_tasks_and_no_rows() -> None:
    assert Observations(predictions={}, labels={}, masks={}).num_rows == 0


@pytest.mark.parametrize("weighted", [True, False])
def test_kept_negatives_weigh_for_those_dropped_in_their_task_alone(weighted: bool) -> None:
    whole = log() if weighted else replace(log(), weights=None)
    thinned = replace(whole, keep_rates={"click": 0.125, "like": 1.0})
    assert Observations.concatenate([thinned, thinned]).keep_rates == thinned.keep_rates
    plain, found = whole.select("click"), thinned.select("click")
    expected = plain.weights_N * np.where(plain.labels_N == 0, 8, 1)
    np.testing.assert_array_equal(found.weights_N, expected)
    for task in ("like", "stars"):
        np.testing.assert_array_equal(thinned.select(task).weights_N, whole.select(task).weights_N)
    with pytest.raises(DataError, match="keep_rates"):
        Observations.concatenate([whole, thinned])
