"""The face, from fit to load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from polyrank.config import EvaluationConfig, TrainingConfig
from polyrank.errors import ConfigError
from polyrank.model import Towers
from polyrank.ranker import Ranker
from polyrank.scoring import SCORE
from polyrank.sharing import MMoE
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
        ledger[key] for key in ("trained", "masked", "quarantined", "filtered")
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
