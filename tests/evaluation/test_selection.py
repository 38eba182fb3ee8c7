"""The number early stopping goes by."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from polyrank.errors import ConfigError
from polyrank.evaluation import Selection, evaluate
from tests.evaluation.worlds import CLICK, PLAY, STARS, TASKS, Task, log


def test_directions_come_from_the_metrics() -> None:
    evaluation = evaluate(log(), TASKS, resamples=0)
    gauc, mae = evaluation.value("click", "gauc"), evaluation.value("play_time", "mae")
    for weight in (0.01, -0.01):
        selection = Selection(metrics={"click.gauc": 2.0, "play_time.mae": weight})
        selection.check(TASKS)
        assert selection.score(evaluation).value == 2 * gauc - 0.01 * mae
        assert selection.metric_names() == ("gauc", "mae")


def test_a_better_model_scores_higher() -> None:
    good, bad = (evaluate(log(noise=noise), TASKS, resamples=0) for noise in (0.1, 3.0))
    for name in ("click.auc", "click.log_loss", "stars.rmse", "play_time.xauc", "click.ndcg@10"):
        selection = Selection(metrics={name: 1.0})
        assert selection.score(good).value > selection.score(bad).value


def test_an_undefined_part_makes_the_score_undefined() -> None:
    observations = log()
    labels = {**observations.labels, "click": np.zeros(300)}
    evaluation = evaluate(replace(observations, labels=labels), TASKS, resamples=0)
    metrics = {"click.auc": 1.0, "click.ne": 1.0, "stars.mae": 1.0}
    score = Selection(metrics=metrics).score(evaluation)
    assert math.isnan(score.value)
    assert score.reason == (
        "click.auc: only one class: no positive label; click.ne: only one class: no positive label"
    )


def test_task_names_may_hold_dots() -> None:
    selection = Selection(metrics={"feed.click.auc": 1.0})
    selection.check([Task("feed.click", "binary")])
    assert selection.metric_names() == ("auc",)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "`metrics` must name at least one metric. For example"),
        ({"click": 1.0}, "selection 'click': must be 'task.metric'"),
        ({".auc": 1.0}, "must be 'task.metric'"),
        ({"click.acu": 1.0}, "selection 'click.acu': unknown metric 'acu'. Did you mean 'auc'"),
        ({"click.auc": 0.0}, "the weight must be finite and not 0, got 0.0"),
        ({"click.auc": math.nan}, "the weight must be finite and not 0, got nan"),
        ({"click.mae": math.inf}, "the weight must be finite"),
        ({"click.auc": -1.0}, "higher auc is better, so weight -1.0 rewards the worse model"),
        ({"click.ratio": 1.0}, "ratio has no better end"),
    ],
)
def test_wrong_selections_are_refused(metrics: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(metrics=metrics)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match="2 mistakes") as caught:
        Selection(metrics={"click.acu": 1.0, "click.auc": -1.0, "click.ne": 1.0})
    assert len(caught.value.problems) == 2


def test_unknown_tasks_and_kinds_are_refused_with_a_suggestion() -> None:
    selection = Selection(metrics={"clik.auc": 1.0, "stars.auc": 1.0, "click.auc": 1.0})
    with pytest.raises(ConfigError, match="2 mistakes") as caught:
        selection.check([CLICK, STARS, PLAY])
    text = str(caught.value)
    assert "selection 'clik.auc': unknown task 'clik'. Did you mean 'click'?" in text
    assert "selection 'stars.auc': auc is not defined for task 'stars'" in text
    with pytest.raises(ConfigError, match="unknown task 'like'"):
        Selection(metrics={"like.auc": 1.0}).check([CLICK])


def test_a_metric_that_was_not_evaluated_is_an_error() -> None:
    evaluation = evaluate(log(), [CLICK], metrics=["auc"], resamples=0)
    with pytest.raises(ConfigError, match=r"click\.gauc was not evaluated"):
        Selection(metrics={"click.gauc": 1.0}).score(evaluation)
