"""``polyrank report``: the page of a trained model, against its card, its log and the rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyrank.bundle import load_bundle
from polyrank.evaluation import Evaluation
from polyrank.scoring import Scorer
from polyrank.scoring.evaluation import observe_log
from tests.cli.workbench import run, succeed
from tests.pages.browser import chromium, opened


@pytest.fixture(scope="module")
def page(bundle: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a bundle and its test part, by surface."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    words = ["--slice", "surface", "--resamples", 0, "--out", path]
    assert str(path) in succeed("report", bundle, trained / "test.parquet", *words)
    return path


def figures(text: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each figure, as they stand in the page."""
    found = {}
    for part in text.split('data-name="')[1:]:
        name = part.split('"', 1)[0]
        columns = json.loads(
            part.split('<script type="application/json">', 1)[1].split("</script>", 1)[0]
        )["columns"]
        found[name] = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    return found


def test_its_numbers_are_those_of_the_card_the_run_and_the_rows(
    page: Path, bundle: Path, trained: Path
) -> None:
    text = page.read_text()
    found, own = figures(text), load_bundle(bundle)
    evaluation = Evaluation.from_json(own.card.metrics["validation"])
    assert f"{evaluation.value('click', 'auc'):.4f}" in text
    log = [json.loads(line) for line in (bundle.parent / "log.jsonl").read_text().splitlines()]
    steps = [record for record in log if record["kind"] == "train"]
    for row in found["losses"]:
        assert row["value"] in [
            record["losses"][row["task"]] for record in steps if record["step"] == row["step"]
        ]
    seen = observe_log(Scorer(own), trained / "test.parquet", [own.schema.keys.position or ""])
    for task in own.schema.task_names:
        mask = seen.masks[task]
        predictions = seen.predictions[task][mask]
        bars = [row for row in found["scores"] if row["task"] == task]
        assert sum(row["share"] for row in bars) == pytest.approx(1.0)
        assert bars[0]["low"] == predictions.min()
        assert bars[-1]["high"] == predictions.max()
        positions = np.asarray(seen.slices[own.schema.keys.position or ""], float)[mask]
        for row in found["positions"]:
            if row["task"] == task:
                values = predictions if row["kind"] == "predicted" else seen.labels[task][mask]
                assert row["mean"] == pytest.approx(values[positions == row["position"]].mean())
                assert row["rows"] == (positions == row["position"]).sum()
    assert {row["task"] for row in found["reliability"]} == {*own.schema.task_names}
    assert "surface=" in text


def test_it_is_drawn_asks_for_nothing_and_fits(page: Path) -> None:
    with chromium() as browser, opened(browser, page, width=380, color_scheme="dark") as found:
        panels = found.page.locator(".panel")
        assert panels.count() == found.page.locator(".panel svg.marks").count() > 10
        assert found.sideways() <= 0
        found.page.set_viewport_size({"width": 1400, "height": 900})
        found.page.wait_for_timeout(250)
        assert found.sideways() <= 0
        assert (found.said, found.asked) == ([], [])


def test_without_a_log_or_a_run_it_says_what_is_missing(bundle: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "bundle"
    shutil.copytree(bundle, alone)
    out = tmp_path / "page.html"
    succeed("report", alone, "--out", out)
    text = out.read_text()
    assert figures(text) == {}
    assert "does not stand beside the bundle" in text
    assert "No log was given" in text
    assert "On test, " in text
    refused = run("report", alone, "--slice", "surface", "--out", tmp_path / "other.html")
    assert (refused.code, "needs a log" in refused.err) == (2, True)
    assert not (tmp_path / "other.html").exists()
