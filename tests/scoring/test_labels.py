"""Labels of a log that was served: by arithmetic of predictions and labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Bundle
from polyrank.config import EvaluationConfig
from polyrank.errors import ConfigError
from polyrank.evaluation import Evaluation
from polyrank.schema import Binary, Maturity
from polyrank.scoring import (
    PREFIX,
    Order,
    Scorer,
    calibrate_on,
    calibration_config,
    evaluate_log,
    replay,
)
from polyrank.scoring.labels import SERVED
from tests import feeds

KEPT, WINDOW = 0.25, 3_600_000
CONFIG = EvaluationConfig(resamples=0, metrics=("ratio", "log_loss"))


def with_tasks(**changes: Any) -> Bundle:
    """The bundle of a log that was not like the one at hand."""
    bundle = feeds.bundle()
    tasks = tuple(
        task.model_copy(update=changes) if task.name == "click" else task
        for task in bundle.schema.tasks
    )
    schema = bundle.schema.model_copy(update={"tasks": tasks})
    return dataclasses.replace(
        bundle, schema=schema, encoders=type(bundle.encoders)(schema, bundle.encoders._fitted)
    )


def served() -> pa.Table:
    ids = [f"r-{request}" for request in feeds.log()["request_id"].to_pylist()]
    return feeds.log().append_column(SERVED, pa.array(ids))


def ratio(label_N: Any, predicted_N: Any, kept: float) -> float:
    weight_N = np.where(label_N == 1, 1.0, 1 / kept)
    return float((weight_N * predicted_N).sum() / (weight_N * label_N).sum())


def clicks() -> Any:
    return feeds.log()["click"].to_numpy()


def told(found: Evaluation, metric: str) -> float:
    return found.row("click", metric).value


@pytest.mark.parametrize(("log", "kept"), [(served, 1.0), (feeds.log, KEPT)])
def test_a_served_log_has_all_negatives(log: Any, kept: float) -> None:
    scorer = Scorer(with_tasks(keep_rate=KEPT))
    predicted_N = scorer.score(feeds.log())[PREFIX + "click"].to_numpy()
    found = evaluate_log(scorer, log(), CONFIG)
    assert told(found, "ratio") == pytest.approx(ratio(clicks(), predicted_N, kept), rel=1e-6)
    assert {task.keep_rate for task in scorer.bundle.schema.tasks if isinstance(task, Binary)} == {
        KEPT,
        1.0,
    }, "the bundle's own stays"


@pytest.mark.parametrize(("log", "kept"), [(served, 1.0), (feeds.log, KEPT)])
def test_calibration_on_a_served_log_meets_the_rate_of_its_rows(log: Any, kept: float) -> None:
    """At Platt's optimum the weighted sums of predictions and of labels agree."""
    scorer = Scorer(with_tasks(keep_rate=KEPT))
    bundle = calibrate_on(scorer, log(), calibration_config(scorer.bundle, "platt", None))
    assert bundle.schema == scorer.bundle.schema
    assert bundle.encoders is scorer.bundle.encoders
    calibrated_N = Scorer(bundle).score(feeds.log())[PREFIX + "click"].to_numpy()
    assert ratio(clicks(), calibrated_N, kept) == pytest.approx(1, abs=1e-3)


def test_value_models_weigh_no_negative_of_a_served_log_either() -> None:
    scorer = Scorer(with_tasks(keep_rate=KEPT))
    order = [Order.of(scorer.bundle)]
    assert replay(scorer, served(), order).rows.keep_rates["click"] == 1
    assert replay(scorer, feeds.log(), order).rows.keep_rates["click"] == KEPT


def test_late_labels_are_known_until_they_were_looked_at() -> None:
    times = feeds.log()["time_ms"].to_numpy()
    cut, later = int(np.quantile(times, 0.1)), int(np.quantile(times, 0.6))
    maturity = Maturity(window=WINDOW, event_time="clicked_at", observed_until=cut)
    scorer = Scorer(with_tasks(maturity=maturity))
    at = pa.array(np.where(clicks() == 1, times, 0), mask=clicks() != 1)
    log = served().append_column("clicked_at", at)
    for until, end in ((None, cut), (later, later)):
        row = evaluate_log(scorer, log, CONFIG, observed_until=until).row("click", "ratio")
        mature_N = times + WINDOW <= end
        assert row.rows == mature_N.sum()
        assert row.positives == clicks()[mature_N].sum()
    platt = calibration_config(scorer.bundle, "platt", None)
    bundle = calibrate_on(scorer, log, platt, observed_until=later)
    calibrated_N = Scorer(bundle).score(log)[PREFIX + "click"].to_numpy()[mature_N]
    assert ratio(clicks()[mature_N], calibrated_N, 1) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ConfigError, match="must be of one kind"):
        evaluate_log(scorer, log, CONFIG, observed_until="2022-05-01")
