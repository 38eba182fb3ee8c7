"""The replicates that anyone can build intervals of their own from."""

from __future__ import annotations

import numpy as np
import pytest

from polyrank.errors import ConfigError
from polyrank.evaluation import evaluate, resample
from tests.evaluation.worlds import CLICK, PLAY, TASKS, log


def test_the_replicates_are_those_behind_the_intervals_of_an_evaluation() -> None:
    evaluation = evaluate(log(), TASKS, resamples=60, seed=3)
    found = resample(log(), TASKS, resamples=60, seed=3)
    assert set(found.points) == set(found.draws) == {(r.task, r.metric) for r in evaluation.rows}
    for row in evaluation.rows:
        values = found.draws[row.task, row.metric]
        assert values.shape == (60,)
        assert np.array_equal(found.points[row.task, row.metric], row.value, equal_nan=True)
        if row.interval_reason is None:
            defined = values[~np.isnan(values)]
            if row.metric == "ece":
                defined = defined - defined.mean() + row.value
            bounds = np.quantile(defined, (0.025, 0.975))
            assert (row.lower, row.upper) == pytest.approx(tuple(bounds), rel=1e-9)


def test_metrics_are_chosen_by_kind_and_draws_are_checked() -> None:
    found = resample(log(), [CLICK, PLAY], metrics=["auc", "mae"], resamples=40)
    assert list(found.points) == [("click", "auc"), ("play_time", "mae")]
    assert resample(log(), [CLICK], metrics=["auc"], resamples=0).draws["click", "auc"].size == 0
    with pytest.raises(ConfigError, match="`resamples` must be 0 or at least 40"):
        resample(log(), [CLICK], resamples=39)
