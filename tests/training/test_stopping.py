"""The criterion: settled on validation labels, and what counts as the best."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from polyrank.config import Select
from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import Observations
from polyrank.schema import Binary, Duration, Regression, Task
from polyrank.training.state import RunState
from polyrank.training.stopping import choose_criterion, judge

RNG = np.random.default_rng(0)
ROWS = 200
TASKS: tuple[Task, ...] = (Binary(name="click"), Regression(name="stars"), Duration(name="watch"))


def observations(**changes: np.ndarray) -> Observations:
    labels = {
        "click": RNG.integers(0, 2, ROWS).astype(np.float32),
        "stars": RNG.normal(3, 2, ROWS).astype(np.float32),
        "watch": RNG.exponential(30, ROWS).astype(np.float32),
        **changes,
    }
    return Observations(
        predictions={name: np.full(ROWS, 0.5) for name in labels},
        labels=labels,
        masks={name: np.ones(ROWS, dtype=bool) for name in labels},
        weights=RNG.integers(1, 3, ROWS).astype(np.float32),
    )


def test_the_default_is_auc_and_negative_mae_over_the_spread() -> None:
    seen = observations()
    criterion = choose_criterion(Select(), TASKS, seen)
    predictions = {name: RNG.uniform(0, 1, ROWS) for name in seen.labels}
    shown = Observations(
        predictions=predictions, labels=seen.labels, masks=seen.masks, weights=seen.weights
    )
    weights = np.asarray(seen.weights, dtype=np.float64)
    expected = roc_auc_score(seen.labels["click"], predictions["click"], sample_weight=weights)
    for task in ("stars", "watch"):
        label = seen.labels[task].astype(np.float64)
        mean = (label * weights).sum() / weights.sum()
        spread = np.sqrt((weights * (label - mean) ** 2).sum() / weights.sum())
        mae = (weights * np.abs(label - predictions[task])).sum() / weights.sum()
        expected -= mae / spread
    evaluation = criterion.measure(shown)
    assert criterion.score(evaluation) == pytest.approx(expected, rel=1e-9)
    assert criterion.notices == ()
    assert {row.metric for row in evaluation.rows} == {"auc", "log_loss", "mae"}


def test_a_task_of_one_class_is_left_out_by_name() -> None:
    seen = observations(click=np.ones(ROWS, dtype=np.float32))
    criterion = choose_criterion(Select(), TASKS, seen)
    (notice,) = criterion.notices
    assert notice == (
        "click.auc is undefined on the validation split: only one class: no negative label; "
        "left out of the score"
    )
    assert criterion.selection is not None
    assert set(criterion.selection.metrics) == {"stars.mae", "watch.mae"}


def test_where_nothing_is_defined_there_is_no_score() -> None:
    seen = observations(click=np.ones(ROWS, dtype=np.float32))
    criterion = choose_criterion(Select(), [Binary(name="click")], seen)
    assert criterion.selection is None
    assert criterion.score(criterion.measure(seen)) is None


def test_a_constant_or_unobserved_label_divides_by_one() -> None:
    seen = observations(stars=np.full(ROWS, 3, dtype=np.float32))
    seen.masks["watch"][:] = False
    criterion = choose_criterion(Select(), TASKS, seen)
    assert criterion.selection is not None
    assert criterion.selection.metrics == {"click.auc": 1.0, "stars.mae": 1.0}
    assert "watch.mae" in criterion.notices[0]


def test_what_is_asked_for_and_undefined_is_refused() -> None:
    seen = observations(click=np.ones(ROWS, dtype=np.float32))
    with pytest.raises(DataError, match=r"click\.auc is undefined .* no negative label") as caught:
        choose_criterion(Select(metrics={"click.auc": 1.0, "stars.mae": 0.1}), TASKS, seen)
    assert caught.value.where == "training.select.metrics"


def test_what_does_not_exist_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="click"):
        choose_criterion(Select(metrics={"clik.auc": 1.0}), TASKS, observations())


def test_the_first_of_equals_stays_the_best() -> None:
    state = RunState()
    seen = []
    for step, score in enumerate([0.5, 0.5, 0.6, 0.4, 0.6], start=1):
        state.step = step
        seen.append((judge(state, score), state.best_step, state.since_best))
    assert seen == [(True, 1, 0), (False, 1, 1), (True, 3, 0), (False, 3, 1), (False, 3, 2)]
    assert state.best_score == 0.6


def test_without_a_score_the_newest_is_the_best() -> None:
    state = RunState(step=1)
    assert judge(state, None)
    state.step = 2
    assert judge(state, None)
    assert (state.best_step, state.best_score, state.since_best) == (2, None, 0)
