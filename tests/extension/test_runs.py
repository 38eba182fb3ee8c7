"""Runs that start from a parent: what they say and keep, and that they resume to the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank.bundle import Bundle, load_bundle, render, save_bundle
from polyrank.config import EvaluationConfig, TrainingConfig
from polyrank.errors import ConfigError
from polyrank.evaluation import Comparison
from polyrank.fusion import WeightedSum
from polyrank.model import Towers
from polyrank.ranker import Ranker
from polyrank.run import Watcher
from polyrank.scoring import Gains, Scorer, observe_log
from polyrank.sharing import MMoE
from tests.extension.worlds import (
    NEW_TASKS,
    OLD_TASKS,
    config_of,
    extend,
    log,
    model_of,
    parent_of,
    predictions,
    same_bits,
    schema_of,
)
from tests.training.runs import Recorder, digest

MODEL = model_of(
    {"kind": "cgc", "num_task_experts": 1, "widths": [16], "norm": "batch"}, embedding_dropout=0.1
)
PARENT = parent_of(MODEL)
EPOCHS: dict[str, Any] = {"epochs": 2, "checkpoint": {"every": 2}}


class Stopped(Exception):
    """The end of a process, as a test sees it."""


class Bomb(Recorder):
    """Ends the run in the middle of a step."""

    def advance(self, step: int, rows: int) -> None:
        super().advance(step, rows)
        if step == 7:
            raise Stopped


@pytest.mark.parametrize("freeze", [None, "trunk"])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, freeze: str | None) -> None:
    config = config_of(MODEL, freeze=freeze, **EPOCHS)
    whole = extend(PARENT, config, tmp_path / "whole")
    with pytest.raises(Stopped):
        extend(PARENT, config, tmp_path / "cut", Watcher(Bomb()))
    resumed = extend(PARENT, config, tmp_path / "cut", resume="strict")
    assert digest(resumed.model) == digest(whole.model)
    assert resumed.card.parent == whole.card.parent
    assert same_bits(PARENT, resumed) == (freeze is not None)


@pytest.mark.parametrize("other", [None, parent_of(MODEL, seed=9)])
def test_a_run_goes_on_from_its_own_parent_only(tmp_path: Path, other: Bundle | None) -> None:
    config = config_of(MODEL, **EPOCHS)
    with pytest.raises(Stopped):
        extend(PARENT, config, tmp_path, Watcher(Bomb()))
    with pytest.raises(ConfigError, match=r"version of the parent \(--from\): '") as caught:
        extend(other, config, tmp_path, resume="strict")  # type: ignore[arg-type]
    assert caught.value.where == "resume"


class Heard(Watcher):
    """Keeps what a run is noticed for."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_a_run_ranks_by_what_its_parent_ranks_by(tmp_path: Path) -> None:
    first = PARENT.with_value_model(WeightedSum(terms={"click": 1.0}))
    second = first.with_value_model(WeightedSum(terms={"click": 1.0, "like": 3.0}))
    heard = Heard()
    child = extend(second, config_of(MODEL), tmp_path / "run", heard)
    assert child.value_model == second.value_model
    assert child.with_values_rolled_back().value_model == first.value_model
    assert any("ranks by the parent's value model: version 2" in text for text in heard.notices)
    candidates = log().slice(0, 20)
    weighed = Scorer(child).rank(candidates, by={"click": 1.0, "like": 3.0})
    assert Scorer(child).rank(candidates)["score"].equals(weighed["score"])


def test_the_card_says_where_a_model_comes_from_and_what_that_did(tmp_path: Path) -> None:
    version = save_bundle(PARENT, tmp_path / "parent")
    parent = load_bundle(tmp_path / "parent")
    config = config_of(MODEL)
    config = config.model_copy(update={"evaluation": EvaluationConfig(resamples=50)})
    child = extend(parent, config, tmp_path / "run", save=True)
    told = load_bundle(tmp_path / "run" / "bundle").card
    assert told == child.card
    assert told.parent["version"] == version
    assert (told.parent["added"], told.parent["freeze"]) == (["watch", "share"], None)
    assert set(told.parent["gains"]) == {"validation"}
    gains = Gains.from_json(told.parent["gains"]["validation"])
    assert isinstance(gains.comparison, Comparison)
    assert {row.task for row in gains.comparison.rows} == {"click", "like"}
    before, after = (observe_log(Scorer(one), log(96, 2, 26)) for one in (parent, child))
    for task in ("click", "like"):
        apart = np.abs(before.predictions[task] - after.predictions[task]).max()
        assert gains.largest[task] == apart > 0.0
    row = gains.comparison.row("click", "auc")
    assert row.lower <= row.difference <= row.upper
    page = render(told)
    assert f"Version {version}, trained on. Further tasks: watch, share." in page
    assert "Predictions of the parent's tasks moved on the 96 rows of validation" in page
    assert f"| click | auc | {row.a:.5g} | {row.b:.5g} | {row.difference:+.3g} |" in page


def test_a_frozen_run_says_that_the_bits_are_the_same() -> None:
    child = extend(PARENT, config_of(MODEL, freeze="trunk"))
    page = render(child.card)
    assert ", frozen. Further tasks: watch, share." in page
    assert "predict what they predicted, bit for bit, on the 96 rows of validation." in page
    assert "| - |" in page.partition("## Parent")[2].partition("##")[0]


def test_more_rows_than_memory_may_hold_are_told_without_metrics() -> None:
    config = config_of(MODEL)
    few = EvaluationConfig(resamples=0, exact_rows=10)
    child = extend(PARENT, config.model_copy(update={"evaluation": few}))
    gains = Gains.from_json(child.card.parent["gains"]["validation"])
    assert gains.comparison is None
    assert gains.rows == 96
    assert min(gains.largest.values()) > 0.0
    assert "moved on the 96 rows" in render(child.card)


def test_a_model_from_nothing_has_no_parent() -> None:
    child = extend(None, config_of(MODEL))  # type: ignore[arg-type]
    assert child.card.parent == {}
    assert "## Parent" not in render(child.card)


def test_the_parent_is_left_as_it_was() -> None:
    before, rows = digest(PARENT.model), PARENT.encoders.fingerprint()
    extend(PARENT, config_of(MODEL))
    assert digest(PARENT.model) == before
    assert PARENT.encoders.fingerprint() == rows
    assert all(not parameter.requires_grad for parameter in PARENT.model.parameters())


def test_two_seeds_differ_in_what_is_new_only(tmp_path: Path) -> None:
    """Frozen, so that nothing but the further tasks has a draw."""
    config = config_of(MODEL, freeze="trunk")
    a, b = (extend(PARENT, config.model_copy(update={"seed": seed})) for seed in (1, 2))
    assert same_bits(a, b)
    assert not same_bits(a, b, ["share"])


def test_an_old_cache_is_not_taken_for_that_of_another_parent(tmp_path: Path) -> None:
    config = config_of(MODEL)
    first = extend(PARENT, config, tmp_path / "a")
    data = config.data.model_copy(update={"cache": str(tmp_path / "a" / "cache")})
    shared = config.model_copy(update={"data": data})
    again = extend(PARENT, shared, tmp_path / "b")
    assert digest(first.model) == digest(again.model)
    frozen = config_of(MODEL, freeze="trunk").model_copy(update={"data": data})
    other = extend(PARENT, frozen, tmp_path / "c")
    assert other.encoders.fingerprint() != first.encoders.fingerprint()
    assert same_bits(PARENT, other)


SMALL = {"epochs": 1, "batch_size": 64, "precision": "fp32", "device": "cpu"}


def ranker(tasks: Any, **training: Any) -> Ranker:
    return Ranker(
        schema_of(tasks),
        sharing=MMoE(num_experts=2, widths=(16,)),
        towers=Towers(widths=(8,)),
        embedding_dim=4,
        training=TrainingConfig(
            epochs=1, batch_size=64, precision="fp32", device="cpu", **training
        ),
        evaluation=EvaluationConfig(resamples=0),
    )


def test_a_ranker_starts_from_a_ranker_or_a_folder(tmp_path: Path) -> None:
    parts = {"train": log(), "validation": log(96, 2)}
    old = ranker(OLD_TASKS).fit(**parts)
    new = ranker(NEW_TASKS, freeze="trunk").fit(**parts, parent=old)
    assert same_bits(old.bundle, new.bundle)
    assert new.bundle.card.parent["gains"]["validation"]["largest"] == {"click": 0.0, "like": 0.0}
    version = old.save(tmp_path / "old")
    again = ranker(NEW_TASKS, freeze="trunk").fit(**parts, parent=tmp_path / "old")
    assert digest(again.bundle.model) == digest(new.bundle.model)
    assert again.bundle.card.parent["version"] == version
    assert len(new.bundle.card.parent["version"]) == len(version)
    with pytest.raises(ConfigError, match="not fitted"):
        ranker(NEW_TASKS).fit(**parts, parent=ranker(OLD_TASKS))


def test_an_extended_ranker_is_loaded_with_its_configuration(tmp_path: Path) -> None:
    parts = {"train": log(), "validation": log(96, 2)}
    old = ranker(OLD_TASKS).fit(**parts)
    ranker(NEW_TASKS).fit(**parts, parent=old).save(tmp_path / "new")
    loaded = Ranker.load(tmp_path / "new")
    assert loaded.bundle.card.run["schema"]["tasks"][0]["name"] == "click"
    assert set(predictions(loaded.bundle)) == {"click", "like", "share", "watch"}


def test_more_rows_and_ids_need_no_further_task() -> None:
    child = extend(PARENT, config_of(MODEL, OLD_TASKS))
    assert child.card.parent["added"] == []
    assert "Further tasks: none." in render(child.card)
    assert child.encoders.layout.num_rows > PARENT.encoders.layout.num_rows


def test_a_parent_that_was_not_saved_goes_by_its_weights() -> None:
    other = dataclasses.replace(PARENT, model=parent_of(MODEL, seed=3).model)
    a, b = (extend(one, config_of(MODEL)).card.parent["version"] for one in (PARENT, other))
    assert a != b
