"""What a comparison of two engines says, by hand; made-up rows; the files beside a network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from polyrank.bundle import save_bundle
from polyrank.cli import main
from polyrank.scoring.export import compiled, write
from polyrank.scoring.export.inputs_of import inputs_of
from polyrank.scoring.export.made_up import made_up, one_request
from polyrank.scoring.export.parity import LIST, compare_predictions
from polyrank.scoring.export.triton import config_text
from polyrank.scoring.export.write import describe, export_bundle
from polyrank.storage import jsonio
from tests import feeds


def test_a_comparison_by_other_hands() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 2, 2 * LIST)
    found = np.round(reference + rng.normal(0, 0.05, 2 * LIST), 2)
    told = compare_predictions({"watch": reference}, {"watch": found}, on="rows").tasks["watch"]
    assert told.largest_difference == np.abs(found - reference).max()
    assert told.relative == told.largest_difference / reference.max()
    assert told.rank_correlation == pytest.approx(spearmanr(reference, found).statistic, abs=1e-12)
    assert told.new_ties == 2 * LIST - len(np.unique(found))
    lists = [slice(0, LIST), slice(LIST, None)]
    # Ties in the order given, as a ranking has them: an earlier row is a little better.
    nudged = found - 1e-9 * np.arange(2 * LIST)
    ndcg = [
        ndcg_score([reference[own] - reference[own].min()], [nudged[own]], ignore_ties=True)
        for own in lists
    ]
    assert told.ndcg_lost == pytest.approx(1 - np.mean(ndcg), abs=1e-12)


def test_nothing_is_lost_where_nothing_differs() -> None:
    same = {"click": np.array([0.1, 0.3, 0.2])}
    parity = compare_predictions(same, same, on="rows", group_N=np.array([1, 1, 2]))
    told = parity.tasks["click"]
    assert (told.largest_difference, told.ndcg_lost, told.new_ties) == (0.0, 0.0, 0)
    assert told.rank_correlation == pytest.approx(1.0)
    assert parity.worst == 0.0
    level = compare_predictions({"click": np.ones(3)}, {"click": np.ones(3)}, on="rows")
    assert math.isnan(level.tasks["click"].rank_correlation)
    assert level.tasks["click"].ndcg_lost == 0.0


@pytest.mark.parametrize("broken", ["click", "watch"])
def test_a_task_that_is_not_a_number_is_the_worst(broken: str) -> None:
    reference = {"click": np.array([0.1, 0.3]), "watch": np.array([1.0, 2.0])}
    found = {**reference, broken: np.full(2, np.nan)}
    assert math.isnan(compare_predictions(reference, found, on="rows").worst)


def test_a_report_is_one_file_whatever_it_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """In a package, in an artefact and on the screen; tracing and compiling, which take long and
    write none of it, left out."""
    bundle = feeds.bundle()
    level = compare_predictions({"click": np.ones(3)}, {"click": np.ones(3)}, on="r", engine="e")
    monkeypatch.setattr(write, "program_of", lambda *_, **__: None)
    monkeypatch.setattr(compiled, "compile_program", lambda program, package: package.touch())
    monkeypatch.setattr(write, "compiled_predictions", lambda *_: {})
    monkeypatch.setattr(write, "onnx_content", lambda *_: onnx.ModelProto().SerializeToString())
    monkeypatch.setattr(write, "_run", lambda *_: {})
    monkeypatch.setattr(write, "compare_predictions", lambda *_, **__: level)
    rows = made_up(bundle.encoders, 2)
    found = set()
    for form in ("onnx", "pt2"):
        export_bundle(bundle, tmp_path / form, form, rows, on="r")
        found.add((tmp_path / form / "parity.json").read_bytes())
    save_bundle(bundle, tmp_path / "bundle")
    words = [str(tmp_path / "bundle"), "--out", str(tmp_path / "again"), "--json"]
    assert main(["export", *words]) == 0
    assert found == {capsysbinary.readouterr().out}
    [content] = found
    assert content == jsonio.dumps(jsonio.loads(content, where="parity"))
    assert b'"rank_correlation": null' in content


def test_made_up_rows_are_rows_of_the_table() -> None:
    encoders = feeds.bundle().encoders
    batch = made_up(encoders, 50)
    assert len(batch) == 50
    for place, column in enumerate(encoders.layout.ids):
        own = encoders.rows[column.name]
        assert set(batch.ids_BF[:, place].tolist()) <= set(own)
    for listed in encoders.layout.ragged:
        ragged = batch.ragged[listed.name]
        assert int(ragged.lengths_B.max()) <= listed.max_length
        assert set(ragged.values_V.tolist()) <= set(encoders.rows[listed.name])
    assert torch.equal(made_up(encoders, 50).ids_BF, batch.ids_BF)
    assert not torch.equal(made_up(encoders, 50, seed=1).ids_BF, batch.ids_BF)
    assert one_request(batch).row_N.tolist() == [0] * 50


def test_what_stands_beside_the_network() -> None:
    bundle = feeds.bundle()
    inputs = inputs_of(bundle)
    tasks = bundle.schema.task_names
    text = config_text("feed", inputs, tasks)
    assert text.count("{ name:") == len(inputs.each) + len(tasks)
    assert '{ name: "user_ids" data_type: TYPE_INT64 dims: [ -1, 2 ] }' in text
    assert '{ name: "click" data_type: TYPE_FP64 dims: [ -1 ] }' in text
    told = describe(bundle, inputs)
    assert [each["name"] for each in told["inputs"]] == list(inputs.names)  # type: ignore[call-overload, index, union-attr]
