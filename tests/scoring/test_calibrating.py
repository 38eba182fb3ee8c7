"""A bundle's calibration: fitted in the sample space of each task, told, saved and applied.

Truth: labels are drawn from a known map of what the bundle predicts.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from polyrank.bundle import Bundle, load_bundle, render, save_bundle
from polyrank.calibration import IsotonicCurve, PlattCurve, SegmentedCurve
from polyrank.config import CalibrationConfig, EvaluationConfig
from polyrank.data import Reader, open_log
from polyrank.errors import ConfigError, DataError
from polyrank.evaluation import Comparison, evaluate
from polyrank.heads.bias import PAL
from polyrank.schema import parse
from polyrank.scoring import (
    PREFIX,
    Scorer,
    calibrate_on,
    calibrated,
    calibration_config,
    observe_log,
)
from tests import feeds

SLOPE, SHIFT = 3.0, 1.0
FAST = EvaluationConfig(resamples=0)


def true_of(probability_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is true where the bundle says ``probability_N``."""
    logit_N = np.log(probability_N / (1 - probability_N))
    return 1 / (1 + np.exp(-(SLOPE * logit_N + SHIFT)))


@cache
def spread() -> Bundle:
    """A bundle whose click predictions are not all nearly one."""
    bundle = replace(feeds.bundle(), model=copy.deepcopy(feeds.bundle().model))
    place = bundle.schema.task_names.index("click")
    dict(bundle.model.named_parameters())[f"towers.{place}.weight"].data.mul_(40.0)
    return bundle


@cache
def log() -> pa.Table:
    """The feed's log with clicks by ``true_of``; a like of a click is a coin."""
    found = Scorer(spread()).score(feeds.log())
    rng = np.random.default_rng(5)
    click_N = rng.random(feeds.ROWS) < true_of(found[PREFIX + "click"].to_numpy())
    table = feeds.log()
    labels = {"click": click_N} | {
        task: click_N & (rng.random(feeds.ROWS) < 0.5)
        for task in ("long_view", "like", "purchase", "report")
    }
    labels["purchase"] &= labels["long_view"]
    for task, label_N in labels.items():
        place = table.column_names.index(task)
        table = table.set_column(place, task, pa.array(label_N).cast(table[task].type))
    return table


def fitted(**config: object) -> Bundle:
    tree = {"method": None, **config}
    return calibrate_on(Scorer(spread()), log(), parse(CalibrationConfig, tree), report=FAST)


def test_the_known_map_is_found() -> None:
    curve = fitted(tasks={"click": {"kind": "platt"}}).calibration["click"]
    assert isinstance(curve, PlattCurve)
    probability_N = np.array([0.2, 0.4, 0.6])
    assert np.allclose(curve(probability_N), true_of(probability_N), atol=0.05)


def test_scores_and_metrics_are_of_calibrated_predictions_in_the_same_order() -> None:
    bundle = fitted(tasks={"click": {"kind": "isotonic"}})
    curve = bundle.calibration["click"]
    assert isinstance(curve, IsotonicCurve)
    before, after = (Scorer(each).score(log())[PREFIX + "click"] for each in (spread(), bundle))
    assert np.array_equal(after.to_numpy(), curve(before.to_numpy()))
    assert np.array_equal(np.argsort(before.to_numpy()), np.argsort(after.to_numpy()))
    raw, now = (
        evaluate(observe_log(Scorer(each), log()), [bundle.schema.task("click")], resamples=0)
        for each in (spread(), bundle)
    )
    assert now.row("click", "auc").value == raw.row("click", "auc").value
    assert now.row("click", "ece").value < raw.row("click", "ece").value / 5


def test_only_rows_of_the_sample_space_count() -> None:
    """A long view is a coin given a click; over all rows its rate is about a sixth."""
    bundle = fitted(tasks={"long_view": {"kind": "platt"}})
    found_N = Scorer(bundle).score(log())[PREFIX + "long_view"].to_numpy()
    assert abs(found_N.mean() - 0.5) < 0.05


def test_a_segment_is_corrected_by_itself_and_an_unseen_one_as_the_whole() -> None:
    surfaces = sorted(set(log()["surface"].to_pylist()))
    flipped = log()
    place = flipped.column_names.index("click")
    here_N = np.array([value == surfaces[0] for value in flipped["surface"].to_pylist()])
    click_N = np.where(here_N, 1.0, flipped["click"].to_numpy(zero_copy_only=False))
    click_N[np.flatnonzero(here_N)[::5]] = 0.0
    clicks = pa.array(click_N).cast(flipped["click"].type)
    flipped = flipped.set_column(place, "click", clicks)
    tree = {"method": None, "tasks": {"click": {"kind": "segmented", "by": "surface"}}}
    config = parse(CalibrationConfig, tree)
    bundle = calibrate_on(Scorer(spread()), flipped, config, report=FAST)
    curve = bundle.calibration["click"]
    assert isinstance(curve, SegmentedCurve)
    scorer = Scorer(bundle)
    assert scorer.segment_columns == ("surface",)
    found_N = scorer.score(flipped)[PREFIX + "click"].to_numpy()
    raw_N = Scorer(spread()).score(flipped)[PREFIX + "click"].to_numpy()
    clicked = click_N[here_N].mean()
    assert (
        abs(found_N[here_N].mean() - clicked) < abs(curve.whole(raw_N)[here_N].mean() - clicked) / 3
    )
    other = flipped.set_column(
        flipped.column_names.index("surface"),
        "surface",
        pa.array(["never seen"] * flipped.num_rows),
    )
    raw_N = Scorer(spread()).score(other)[PREFIX + "click"].to_numpy()
    assert np.array_equal(scorer.score(other)[PREFIX + "click"].to_numpy(), curve.whole(raw_N))
    with pytest.raises(DataError, match="surface"):
        scorer.score(other.drop_columns("surface"))


def test_a_method_that_does_not_help_is_left_out_and_said() -> None:
    twice = fitted(tasks={"click": {"kind": "platt"}})
    scorer = Scorer(replace(spread(), model=twice.model))
    honest = Scorer(twice).score(log())[PREFIX + "click"].to_numpy()
    rng = np.random.default_rng(1)
    labels = pa.array(rng.random(feeds.ROWS) < rng.permutation(honest)).cast(log()["click"].type)
    noise = log().set_column(log().column_names.index("click"), "click", labels)
    tree = {"method": None, "tasks": {"click": {"kind": "kept_negatives", "keep_rate": 0.001}}}
    found = calibrate_on(scorer, noise, parse(CalibrationConfig, tree), report=FAST)
    assert found.calibration == {}
    assert found.card.calibration["tasks"]["click"].startswith("identity is kept: log loss")
    assert found.card.calibration["comparison"] is None
    had = replace(scorer.bundle, calibration=twice.calibration)
    forgotten = calibrate_on(Scorer(had), noise, parse(CalibrationConfig, tree), report=FAST)
    assert forgotten.calibration == {}
    sentence = found.card.calibration["tasks"]["click"]
    told = forgotten.card.calibration["tasks"]["click"]
    assert told == f"{sentence}; the platt it had is left out"


def test_a_bundle_carries_its_calibration_and_tells_it(tmp_path: Path) -> None:
    bundle = fitted(tasks={"click": {"kind": "isotonic"}})
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.calibration == bundle.calibration
    assert Scorer(loaded).score(log()).equals(Scorer(bundle).score(log()))
    card = render(loaded.card)
    assert "Fitted on the 3,000 rows of a table." in card
    told = Comparison.from_json(loaded.card.calibration["comparison"])
    assert {row.metric for row in told.rows} == {"ece", "ratio", "log_loss", "ne"}
    assert all(row.b < row.a for row in told.rows if row.metric in ("ece", "log_loss", "ne"))


def test_fitting_again_forgets_the_calibration_before() -> None:
    bundle = fitted(tasks={"click": {"kind": "platt"}})
    tree = {"method": None, "tasks": {"click": {"kind": "platt"}}}
    again = calibrate_on(Scorer(bundle), log(), parse(CalibrationConfig, tree), report=FAST)
    assert again.calibration == bundle.calibration


def test_curves_of_a_frozen_parent_stay() -> None:
    curve = PlattCurve(slope=2.0, shift=-1.0)
    rows = Reader(open_log(log()), spread().schema).chunks("all")
    found = calibrated(
        spread(),
        rows,
        CalibrationConfig(),
        on="them",
        report=FAST,
        kept={"click": curve, "long_view": None},
    )
    assert found.calibration["click"] == curve
    assert "long_view" not in found.calibration
    told = found.card.calibration["tasks"]
    assert told["click"] == "platt, as in the parent, whose predictions stay"
    assert told["long_view"] == "no curve, as in the parent, whose predictions stay"


def test_what_a_bias_model_predicts_is_left_alone() -> None:
    model = spread().model_config.model_copy(
        update={"bias": {"click": PAL(features=("position",))}}
    )
    assert model.seen_tasks == ("click",)
    found = calibrate_on(
        Scorer(replace(spread(), model_config=model)), log(), CalibrationConfig(), report=FAST
    )
    assert "click" not in found.calibration
    assert "P(label | seen)" in found.card.calibration["tasks"]["click"]


def test_methods_of_a_run_and_others_instead() -> None:
    bundle = spread()
    assert calibration_config(bundle, None, None) == CalibrationConfig()
    chosen = calibration_config(bundle, "isotonic", "surface").method
    assert chosen is not None
    assert chosen.model_dump()["method"]["kind"] == "isotonic"
    with pytest.raises(ConfigError, match="isotonick"):
        calibration_config(bundle, "isotonick", None)
