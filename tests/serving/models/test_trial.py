"""What a bundle is tried on, and what it is held to."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import Bundle, load_bundle
from polyrank.calibration.platt import PlattCurve
from polyrank.calibration.segmented import SegmentedCurve
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.fusion import parse_value_model
from polyrank.schema import Multiclass, Regression, Schema
from polyrank.scoring import Engine, Scorer
from polyrank.serving.models import Catalog, CatalogSettings, GateProcess, GateSettings, record_rows
from polyrank.serving.models.checks import check_compatible, check_parity, check_sound
from polyrank.serving.models.drift import check_drift, drift
from polyrank.serving.models.engine import EngineOf, eager, found_by, reference_of
from polyrank.serving.models.gate_worker import _hear, answer_of, ended, refused, serve
from polyrank.serving.models.rows import open_rows, predicted
from polyrank.serving.models.synthetic import ROWS, synthetic_rows
from polyrank.serving.models.trial import try_bundle
from polyrank.storage import FileSource, commit_directory, save_arrays
from tests import feeds
from tests.serving.models import worlds


@pytest.mark.parametrize("joined", [False, True])
def test_made_rows_have_all_that_any_bundle_reads(joined: bool) -> None:
    scorer = Scorer(feeds.bundle(joined))
    rows = synthetic_rows(scorer)
    assert rows.num_rows == ROWS
    assert rows.equals(synthetic_rows(Scorer(feeds.bundle(joined))))
    predictions = predicted(scorer, rows)
    check_sound(scorer.bundle.schema, predictions)
    assert all(np.ptp(value_N) > 0 for value_N in predictions.values())
    unseen = scorer.bundle.encoders.unseen(rows)
    ids = [f.name for f in scorer.bundle.schema.features if f.kind == "categorical"]
    assert all(unseen[name] == pytest.approx(1 / (ROWS - 1)) for name in ids)


@pytest.fixture
def recorded(tmp_path: Path, plain: Path) -> Path:
    """A bundle, and rows recorded with it."""
    shutil.copytree(plain, tmp_path / "bundle")
    record_rows(load_bundle(plain), worlds.rows(), tmp_path / "bundle.rows", limit=16)
    return tmp_path / "bundle"


def test_recorded_rows_keep_what_scoring_reads_and_what_it_gave(recorded: Path) -> None:
    bundle = load_bundle(recorded)
    found = open_rows(recorded.with_name("bundle.rows") / bundle.version[:12])
    assert found.rows.column_names == ["item", "tag", "age"]
    assert found.rows.num_rows == 16
    for task, value_N in predicted(Scorer(bundle), worlds.rows(16)).items():
        assert np.array_equal(found.predictions[task], value_N)
    rows = pa.table({"item": [1], "tag": ["a"], "age": [np.inf]})
    with pytest.raises(DataError, match="are refused"):
        record_rows(bundle, rows, recorded.with_name("other"))


def test_a_bundle_is_held_to_what_was_recorded_with_it(
    recorded: Path, process: GateProcess
) -> None:
    [record] = recorded.with_name("bundle.rows").iterdir()
    try_bundle(recorded, eager, record)
    files: dict[str, FileSource] = {each.name: each.read_bytes() for each in record.iterdir()}
    del files["MANIFEST.json"]
    found = dict(open_rows(record).predictions)
    found["like"] = np.nextafter(found["like"], 1.0)
    files["predictions.safetensors"] = save_arrays(found)
    commit_directory(record, files, kind="recorded-rows", format_version=1, replace=True)
    with pytest.raises(ArtefactError, match="'like' differs from what was recorded by up to"):
        try_bundle(recorded, eager, record)
    about = json.loads((record / "about.json").read_bytes()) | {"capability": "another"}
    files["about.json"] = json.dumps(about).encode()
    commit_directory(record, files, kind="recorded-rows", format_version=1, replace=True)
    try_bundle(recorded, eager, record)
    with Catalog({"m": recorded}, settings=worlds.AT_ONCE, process=process) as catalog:
        worlds.save(worlds.bundle(seed=2), recorded)
        reloaded = catalog.reload("m")
        assert [report["rows"] for report in reloaded.admitted.values()] == ["recorded"]


def test_predictions_of_the_same_bundle_must_agree() -> None:
    now = {"a": np.array([1.0, 2.0])}
    near = {"a": np.array([1.0, 2.0 + 1e-6])}
    check_parity(now, near, same_bits=False, what="another engine")
    with pytest.raises(ArtefactError, match="'a' differs from another engine by up to"):
        check_parity(now, near, same_bits=True, what="another engine")
    for other, told in (({}, "other tasks"), ({"a": np.ones(3)}, "other rows")):
        with pytest.raises(ArtefactError, match=told):
            check_parity(now, other, same_bits=False, what="another engine")
    with pytest.raises(ArtefactError, match="by up to nan"):
        check_parity(now, {"a": np.array([1.0, np.nan])}, same_bits=False, what="another engine")


def test_a_version_without_a_record_can_be_refused(recorded: Path, process: GateProcess) -> None:
    settings = CatalogSettings(gate=GateSettings(require_recorded=True))
    with Catalog({"m": recorded}, settings=settings, process=process) as catalog:
        worlds.save(worlds.bundle(seed=2), recorded)
        [reason] = catalog.reload("m").refused.values()
        assert "no predictions of this version were recorded" in reason


def test_a_damaged_record_is_refused(recorded: Path) -> None:
    [record] = recorded.with_name("bundle.rows").iterdir()
    (record / "about.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"about\.json"):
        try_bundle(recorded, eager, record)
    files: dict[str, FileSource] = {each.name: each.read_bytes() for each in record.iterdir()}
    del files["MANIFEST.json"]
    files["about.json"] = b"[]"
    commit_directory(record, files, kind="recorded-rows", format_version=1, replace=True)
    with pytest.raises(ArtefactError, match="is no record of rows"):
        open_rows(record)


def test_the_first_version_can_be_tried_apart_too(plain: Path, process: GateProcess) -> None:
    settings = CatalogSettings(gate=GateSettings(first_too=True, least_rank_correlation=0.9))
    with Catalog({"m": plain}, settings=settings, process=process) as catalog:
        assert catalog.ready()


def test_the_worker_says_what_it_found(plain: Path, tmp_path: Path) -> None:
    job = {"path": str(plain), "record": None, "engine": reference_of(eager), "memory_mib": 1}
    answer = answer_of(job)
    assert (answer["kind"], answer["content"]) == ("passed", load_bundle(plain).version)
    told = answer_of({**job, "path": str(tmp_path / "nothing")})
    assert told["kind"] == "refused"
    assert "does not exist" in told["reason"]


def test_the_process_answers_line_by_line_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bundles that are refused before anything is computed, since this process has threads."""
    limits = {"deadline": 20.0, "memory_mib": 512, "cpu_seconds": 20, "nice": 0, "threads": 1}
    job = {"path": str(tmp_path), "record": None, "engine": reference_of(eager), **limits}
    inbox, says = os.pipe()
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.append(number))
    lines = [json.dumps(job).encode(), json.dumps(job | {"path": "x"}).encode(), b""]
    os.write(says, b"\n".join(lines))
    out = io.BytesIO()

    def leave() -> None:
        while out.getvalue().count(b"\n") < len(lines):
            time.sleep(0.01)
        os.close(says)

    threading.Thread(target=leave, daemon=True).start()
    serve(inbox, out)
    assert killed == []
    ready, one, two = map(json.loads, out.getvalue().splitlines())
    assert ready == {"kind": "ready"}
    assert "MANIFEST.json: the file is missing" in one["reason"]
    assert "does not exist" in two["reason"]
    silent, _ = os.pipe()
    with pytest.raises(TimeoutError):
        _hear(silent, inbox, time.monotonic() + 0.01, lambda: False)
    assert set(killed) == {signal.SIGKILL}
    assert refused("why") == {"kind": "refused", "reason": "why"}
    assert [ended(-24), ended(3)] == [
        "its process was killed by SIGXCPU, the limit of processor time",
        "its process ended with exit code 3",
    ]


def test_an_engine_is_found_again_by_its_reference() -> None:
    engine_of = partial(worlds.odd, how="dies", good="x")
    assert found_by(reference_of(engine_of)).keywords == engine_of.keywords  # type: ignore[attr-defined]
    given: EngineOf = partial(worlds.swapping, good="a", path="b", other="c")
    nested: EngineOf = partial(eager)

    def inner(bundle: Bundle) -> Engine:
        return given(bundle)

    assert reference_of(nested) == reference_of(eager)
    with pytest.raises(ConfigError, match="no name to be found by"):
        reference_of(inner)
    with pytest.raises(ArtefactError, match="cannot be written as JSON"):
        reference_of(partial(worlds.odd, how="dies", good=worlds))  # type: ignore[arg-type]


def test_predictions_outside_of_what_a_task_can_be_are_refused() -> None:
    schema = Schema(
        features=worlds.FEATURES,
        tasks=(*worlds.MIXED.tasks, Multiclass(name="mood", classes={"sad": -1.0, "glad": 1.0})),
    )
    good = {"click": [0.0, 1.0], "like": [0.5, 0.5], "watch": [0.0, 9.0], "mood": [-1.0, 1.0]}
    predictions = {task: np.array(values) for task, values in good.items()}
    check_sound(schema, predictions)
    for task, value in (("click", 1.1), ("watch", -0.1), ("mood", 1.5), ("like", np.nan)):
        with pytest.raises(ArtefactError, match=repr(task)):
            check_sound(schema, predictions | {task: np.array([0.5, value])})
    check_sound(worlds.LEVELS, dict.fromkeys("abc", np.array([-1e30, 1e30])))


def test_inputs_and_tasks_may_change_where_that_is_allowed() -> None:
    fewer = worlds.MIXED.model_copy(update={"tasks": worlds.MIXED.tasks[:1]})
    check_compatible(worlds.MIXED, fewer, GateSettings())
    check_compatible(fewer, worlds.MIXED, GateSettings(may_lose=("like", "watch")))
    more = worlds.MIXED.model_copy(update={"features": worlds.FEATURES[:2]})
    check_compatible(more, worlds.MIXED, GateSettings())
    check_compatible(worlds.MIXED, more, GateSettings(may_read_more=True))
    number = worlds.FEATURES[2].model_copy(update={"column": "tag", "name": "tag"})
    other = worlds.MIXED.model_copy(update={"features": (worlds.FEATURES[0], number)})
    with pytest.raises(ArtefactError, match="reads 'tag' as numeric, before it was categorical"):
        check_compatible(other, worlds.MIXED, GateSettings())
    tasks = (*worlds.MIXED.tasks, Regression(name="stars"))
    check_compatible(worlds.MIXED.model_copy(update={"tasks": tasks}), worlds.MIXED, GateSettings())


def test_drift_is_told_and_refused_beyond_a_bound() -> None:
    one = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([1.0, 1.0, 1.0])}
    two = {"a": np.array([3.0, 2.0, 1.0]), "b": np.array([2.0, 2.0, 2.0]), "c": np.zeros(3)}
    assert drift(two, one) == {
        "a": {"mean_before": 2.0, "mean_now": 2.0, "largest": 2.0, "rank_correlation": -1.0},
        "b": {"mean_before": 1.0, "mean_now": 2.0, "largest": 1.0, "rank_correlation": None},
    }
    check_drift(two, one, None)
    with pytest.raises(ArtefactError, match="'a' ranks rows unlike before"):
        check_drift(two, one, 0.5)
    before = {"a": one["a"], "b": two["a"]}
    crossed = {"a": before["b"] * 2.0, "b": before["a"] * 2.0}
    with pytest.raises(ArtefactError, match="'a' is predicted as 'b' was"):
        check_drift(crossed, before, None)


def test_a_bundle_that_reads_what_no_row_has_is_tried_on_rows_of_its_own(
    plain: Path, tmp_path: Path, process: GateProcess
) -> None:
    """The version in service cannot read the rows of the new one: drift is told as not measured."""
    shutil.copytree(plain, tmp_path / "bundle")
    settings = CatalogSettings(gate=GateSettings(may_read_more=True))
    schema = worlds.MIXED.model_copy(update={"features": worlds.FEATURES[:2]})
    with Catalog({"m": tmp_path / "bundle"}, settings=settings, process=process) as catalog:
        found: Bundle = worlds.bundle(schema)
        worlds.save(found, tmp_path / "bundle")
        [report] = catalog.reload("m").admitted.values()
        assert "not measured" in str(report["drift"])


def test_a_ranking_may_read_what_requests_bring_already(
    plain: Path, tmp_path: Path, process: GateProcess
) -> None:
    """By its value model, its demotion or its calibration; features alone may be missing."""
    path = tmp_path / "bundle"
    shutil.copytree(plain, path)
    weights = {"kind": "weighted_sum", "terms": {"like": 1}}

    def by(column: str) -> dict[str, Any]:
        values = {"kind": "by_context", "column": column, "default": weights}
        return {**values, "values": {"home": {"kind": "weighted_sum", "terms": {"click": 1}}}}

    def ranked(tree: dict[str, Any], seed: int) -> Bundle:
        return worlds.bundle(seed=seed).with_value_model(*parse_value_model(tree, where="test"))

    curve = PlattCurve(slope=1.0, shift=0.0)
    segmented = SegmentedCurve(by="page", whole=curve, segments={})
    demoted = {**weights, "demotion": {"column": "page", "decay": 0.5}}
    refused = {
        "by a value model": ranked(by("page"), 2),
        "by a demotion": ranked(demoted, 3),
        "by a calibration": replace(worlds.bundle(seed=4), calibration={"click": segmented}),
    }
    with Catalog({"m": path}, settings=worlds.AT_ONCE, process=process) as catalog:
        before = catalog.take("m").content
        for found in refused.values():
            worlds.save(found, path)
            [reason] = catalog.reload("m").refused.values()
            assert "its ranking reads 'page', which the version in service does not" in reason
        assert catalog.take("m").content == before
        worlds.save(ranked(by("tag"), 5), path)  # a feature
        assert catalog.reload("m").refused == {}
        catalog.set_value_model("m", "default", by("page"), by="ann")
        worlds.save(refused["by a demotion"], path)  # requests bring it since then
        assert catalog.reload("m").refused == {}
    settings = CatalogSettings(gate=GateSettings(may_read_more=True))
    shutil.rmtree(tmp_path / "bundle.values")
    worlds.save(worlds.bundle(), path)
    with Catalog({"m": path}, settings=settings, process=process) as catalog:
        worlds.save(refused["by a calibration"], path)
        assert catalog.reload("m").refused == {}
