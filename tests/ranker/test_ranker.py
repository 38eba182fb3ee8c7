"""The face, from fit to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.balancing import Static
from polyrank.config import EvaluationConfig, RunConfig, TrainingConfig
from polyrank.errors import ConfigError
from polyrank.heads import TPM, TPMHead
from polyrank.heads.delay import FNW
from polyrank.heads.funnels import AITM
from polyrank.heads.lists import RankNet
from polyrank.model import Towers
from polyrank.ranker import Ranker
from polyrank.run import train_bundle
from polyrank.schema import Numeric, Regression, Schema, parse
from polyrank.scoring import PREFIX, SCORE, Scorer
from polyrank.sharing import MMoE
from polyrank.training import Sources
from tests import feeds

SPLIT = feeds.ROWS * 4 // 5


def _ranker(joined: bool = False) -> Ranker:
    return Ranker(
        feeds.joined_schema() if joined else feeds.schema(),
        sharing=MMoE(num_experts=2, widths=(16,)),
        towers=Towers(widths=(8,)),
        embedding_dim=4,
        training=TrainingConfig(epochs=1, batch_size=256, precision="fp32"),
        evaluation=EvaluationConfig(resamples=0),
    )


@pytest.fixture(scope="module")
def fitted() -> Ranker:
    return _ranker().fit(feeds.log().slice(0, SPLIT), feeds.log().slice(SPLIT))


def test_what_is_saved_scores_what_was_fitted(fitted: Ranker, tmp_path: Path) -> None:
    held_out = feeds.log().slice(SPLIT)
    before = fitted.score(held_out)
    fitted.save(tmp_path / "bundle")
    loaded = Ranker.load(tmp_path / "bundle")
    assert loaded.score(held_out).equals(before)
    assert loaded.rank(held_out.slice(0, 9)).equals(fitted.rank(held_out.slice(0, 9)))
    alone = pa.concat_tables([loaded.score(held_out.slice(row, 1)) for row in range(20)])
    assert alone.equals(before.slice(0, 20))


def test_the_error_reported_of_a_label_with_a_large_offset_is_true() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=900)
    log = pa.table({"x": x, "y": 1.7e9 + np.tanh(x) + rng.normal(0, 0.1, 900)})
    ranker = Ranker(
        Schema(features=(Numeric(name="x"),), tasks=(Regression(name="y"),)),
        training=TrainingConfig(epochs=2, batch_size=64, learning_rate=0.01, precision="fp32"),
        evaluation=EvaluationConfig(resamples=0),
    ).fit(log.slice(0, 600), log.slice(600))
    held_out = log.slice(600)
    error = ranker.score(held_out)["predicted_y"].to_numpy() - held_out["y"].to_numpy()
    reported = ranker.evaluate(held_out).value("y", "mae")
    assert reported == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert reported < 0.5


def test_what_is_loaded_trains_the_same_model_again(tmp_path: Path) -> None:
    train, held_out = feeds.log().slice(0, SPLIT), feeds.log().slice(SPLIT)
    ranker = Ranker(
        feeds.schema(),
        sharing=MMoE(num_experts=2, widths=(16,)),
        balance=Static(like=3.0),
        towers=Towers(widths=(8,)),
        embedding_dim=4,
        training=TrainingConfig(epochs=1, batch_size=300, learning_rate=3e-3, precision="fp32"),
        evaluation=EvaluationConfig(metrics=("auc",), resamples=0),
        seed=7,
    ).fit(train, held_out)
    ranker.save(tmp_path / "bundle")
    loaded = Ranker.load(tmp_path / "bundle")
    assert loaded.evaluate(held_out).to_json() == ranker.evaluate(held_out).to_json()
    again = Ranker.load(tmp_path / "bundle").fit(train, held_out)
    assert again.score(held_out).equals(ranker.score(held_out))
    assert again.bundle.card.run == ranker.bundle.card.run


def test_a_bundle_of_the_command_line_trains_the_same_model_again() -> None:
    """Its configuration names files; ``fit`` is given tables of the same rows."""
    train, held_out = feeds.log().slice(0, SPLIT), feeds.log().slice(SPLIT)
    tree = _ranker()._config.tree()
    tree["data"] = {"train": "a.parquet", "validation": "b.parquet", "seed": 5}
    tree["model"] |= {"embedding_dropout": 0.2, "seed_offset": 3}
    config = parse(RunConfig, tree)
    bundle = train_bundle(config, Sources.of(train=train, validation=held_out), None)
    again = Ranker.of(bundle).fit(train, held_out)
    assert again.score(held_out).equals(Scorer(bundle).score(held_out))


def test_a_funnel_is_chosen_and_comes_back_with_the_bundle() -> None:
    log, later = feeds.log().slice(0, 1000), feeds.log().slice(SPLIT)
    ranker = Ranker(
        feeds.schema(),
        sharing=MMoE(num_experts=2, widths=(16,)),
        towers=Towers(widths=(8,)),
        funnel=AITM(alpha=0.1),
        training=TrainingConfig(epochs=1, batch_size=256, precision="fp32"),
        evaluation=EvaluationConfig(resamples=0),
    ).fit(log, later)
    assert ranker.bundle.model_config.funnel == AITM(alpha=0.1)
    assert Ranker.of(ranker.bundle).fit(log, later).score(log).equals(ranker.score(log))


def test_what_tasks_learn_by_is_given_by_task() -> None:
    log, later = feeds.log().slice(0, 1000), feeds.log().slice(SPLIT)
    ranker = Ranker(
        feeds.schema(),
        sharing=MMoE(num_experts=2, widths=(16,)),
        towers=Towers(widths=(8,)),
        heads={"watch_time": TPM(leaves=4)},
        lists={"click": RankNet(weight=0.5)},
        training=TrainingConfig(epochs=1, batch_size=256, precision="fp32"),
        evaluation=EvaluationConfig(resamples=0),
    ).fit(log, later)
    assert isinstance(ranker.bundle.model.heads["watch_time"], TPMHead)
    parts = [part.name for part in ranker.bundle.model.objective.parts]
    assert parts == [*feeds.schema().task_names, "click.ranknet"]
    assert PREFIX + "watch_time.p90" in ranker.score(log, further=True).column_names
    with pytest.raises(ConfigError, match=r"model\.delay.*`maturity`"):
        Ranker(feeds.schema(), delay={"purchase": FNW()})


def test_a_bundle_without_its_run_is_no_ranker() -> None:
    with pytest.raises(ConfigError, match="card.json: run: schema: is missing"):
        Ranker.of(feeds.bundle())


def test_wrong_arguments_are_told_with_a_cure(fitted: Ranker) -> None:
    log: Any = feeds.log()
    nothing: Any = None
    tree: Any = {"features": []}
    with pytest.raises(ConfigError, match="`schema` must be a Schema, got dict"):
        Ranker(tree)
    with pytest.raises(ConfigError, match="seed.*got -1"):
        Ranker(feeds.schema(), seed=-1)
    word: Any = "mmoe"
    with pytest.raises(ConfigError, match="sharing.*got 'mmoe'"):
        Ranker(feeds.schema(), sharing=word)
    with pytest.raises(ConfigError, match="Did you mean 'click'"):
        Ranker(feeds.schema(), balance=Static(clik=2.0))
    with pytest.raises(ConfigError, match="`train` must be a log, got None. Give a path"):
        _ranker().fit(None, log)
    with pytest.raises(ConfigError, match="`validation` must be a log, got None"):
        _ranker().fit(log, nothing)
    for by in (["click"], {"click": "1"}, {"click": True}, "click"):
        wrong: Any = by
        with pytest.raises(ConfigError, match="weigh"):
            fitted.rank(log.slice(0, 5), by=wrong)


def test_the_ranker_evaluates_and_ranks(fitted: Ranker) -> None:
    held_out = feeds.log().slice(SPLIT)
    assert np.isfinite(fitted.evaluate(held_out).value("click", "log_loss"))
    assert fitted.rank(held_out.slice(0, 10), {"click": 1.0})[SCORE][0].as_py() > 0


def test_a_ranked_list_tells_its_items(fitted: Ranker) -> None:
    candidates = feeds.log().slice(SPLIT, 10)
    ranked = fitted.rank(candidates, {"click": 1.0}, keep=["surface"])
    best = int(np.argmax(fitted.score(candidates)["predicted_click"].to_numpy()))
    for name in ("item_id", "surface"):
        assert ranked[name][0].as_py() == candidates[name][best].as_py()
    scored = fitted.score(candidates, keep=["surface"])
    assert scored["surface"].to_pylist() == candidates["surface"].to_pylist()


def test_the_card_counts_every_row(fitted: Ranker) -> None:
    ledger = fitted.bundle.card.ledger
    assert ledger["read"] == feeds.ROWS
    assert ledger["read"] == sum(
        ledger[key] for key in ("used", "masked", "quarantined", "filtered")
    )
    assert fitted.bundle.card.data["train"].rows == SPLIT


def test_other_libraries_tables_are_accepted(fitted: Ranker) -> None:
    import polars as pl

    rows = feeds.log().slice(0, 5)
    assert fitted.score(pl.from_arrow(rows)).equals(fitted.score(rows))


def test_side_tables_come_by_name() -> None:
    bare = feeds.bare_log()
    ranker = _ranker(joined=True).fit(
        bare.slice(0, SPLIT), bare.slice(SPLIT), tables={"items": feeds.items()}
    )
    joined = ranker.score(bare.slice(0, 50))
    given = ranker.score(feeds.log().slice(0, 50))
    assert joined.equals(given)
    with pytest.raises(ConfigError, match="'items'"):
        _ranker(joined=True).fit(bare.slice(0, SPLIT), bare.slice(SPLIT))


def test_an_unfitted_ranker_says_so() -> None:
    with pytest.raises(ConfigError, match="not fitted"):
        _ranker().score(feeds.log())
