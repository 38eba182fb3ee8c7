"""``polyrank score``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import load_bundle
from polyrank.scoring import PREFIX, Scorer
from tests.cli.workbench import ROWS, feed_log, run, succeed

LABELS = ["click", "long_view", "purchase", "like", "report", "watch_time_s"]


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    """A shuffled log with repeated rows and without labels or times."""
    order = np.random.default_rng(0).permutation(np.arange(ROWS).repeat(2))
    log = feed_log().take(pa.array(order)).drop_columns([*LABELS, "time_ms", "position"])
    path = tmp_path / "candidates.parquet"
    pq.write_table(log, path, row_group_size=700)
    return path


def test_every_row_is_scored_in_its_place(bundle: Path, candidates: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored.parquet"
    told = succeed("score", bundle, candidates, out, "--keep", "surface")
    assert told == f"4,800 rows scored into {out}\n"
    given, scored = pq.read_table(candidates), pq.read_table(out)
    tasks = load_bundle(bundle).schema.task_names
    keys = ["user_id", "item_id", "request_id"]
    assert scored.column_names == [*keys, "surface", *(PREFIX + task for task in tasks)]
    for name in (*keys, "surface"):
        assert scored[name].to_pylist() == given[name].to_pylist()
    alone = Scorer(load_bundle(bundle)).score(given.slice(1234, 1))
    for task in tasks:
        values = scored[PREFIX + task].to_numpy()
        assert np.isfinite(values).all()
        assert alone[PREFIX + task][0].as_py() == values[1234]


def test_a_file_that_is_there_stays_unless_asked(
    bundle: Path, candidates: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scored.parquet"
    out.write_text("mine")
    outcome = run("score", bundle, candidates, out)
    assert outcome.code == 2
    assert "--force" in outcome.error["hint"]
    assert out.read_text() == "mine"
    pq.write_table(pa.table({"mine": [1]}), out)
    succeed("score", bundle, candidates, out, "--force")
    assert pq.read_metadata(out).num_rows == 4800


def test_a_refused_row_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    log = feed_log()
    activity = log["user_activity"].to_numpy().copy()
    activity[2000] = np.inf
    place = log.schema.get_field_index("user_activity")
    path = tmp_path / "bad.parquet"
    pq.write_table(log.set_column(place, "user_activity", pa.array(activity)), path)
    outcome = run("score", bundle, path, tmp_path / "scored.parquet")
    assert outcome.code == 3
    assert "bad.parquet, row 2000, column 'user_activity'" in outcome.err
    assert sorted(found.name for found in tmp_path.iterdir()) == ["bad.parquet"]


def test_mistakes(bundle: Path, candidates: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored.parquet"
    unknown = run("score", bundle, candidates, out, "--keep", "surfaec")
    assert unknown.code == 2
    assert "'surface'" in unknown.error["hint"]
    assert run("score", bundle, tmp_path / "nothing.parquet", out).code == 2
    nowhere = run("score", bundle, candidates, tmp_path / "no" / "scored.parquet")
    assert nowhere.code == 6
    assert not out.exists()


def test_what_is_read_is_never_written_over(bundle: Path, candidates: Path, tmp_path: Path) -> None:
    before = candidates.read_bytes()
    (tmp_path / "link.parquet").symlink_to(candidates)
    for out in (candidates, tmp_path / "sub" / ".." / candidates.name, tmp_path / "link.parquet"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        outcome = run("score", bundle, candidates, out, "--force")
        assert outcome.code == 2
        assert "would be replaced by its own scores" in outcome.error["message"]
        assert candidates.read_bytes() == before
    inside = run("score", bundle, candidates, bundle / "weights.safetensors", "--force")
    assert inside.code == 2
    assert "lies in the bundle" in inside.error["message"]
    load_bundle(bundle)


def test_a_column_named_as_a_prediction_is_not_kept(
    bundle: Path, candidates: Path, tmp_path: Path
) -> None:
    log = pq.read_table(candidates)
    path, out = tmp_path / "named.parquet", tmp_path / "scored.parquet"
    for name in ("predicted_click", "score"):
        pq.write_table(log.append_column(name, log["hour"]), path)
        outcome = run("score", bundle, path, out, "--keep", name)
        assert outcome.code == 2
        assert f"column '{name}' cannot be kept" in outcome.error["message"]
        assert not out.exists()
        succeed("score", bundle, path, out)
        out.unlink()
