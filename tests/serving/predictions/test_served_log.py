"""What a real server logs: what was answered, in types that no client chooses."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from polyrank.bundle import save_bundle
from polyrank.errors import PolyrankError
from polyrank.serving.host import hosted
from polyrank.serving.predictions import PredictionLog, types_of
from polyrank.serving.predictions.part import Part
from polyrank.serving.settings import ServeSettings
from tests import feeds
from tests.serving.predictions.served import answer
from tests.serving.server import TOKEN, running


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "feed"
    save_bundle(feeds.bundle(), path)
    return path


def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server has to say."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("polyrank.serving"), "handlers", [handler])
    return said


def test_an_unknown_profile_is_told(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = heard(monkeypatch)
    explore = {"feed": {"defualt": {"kind": "list"}, "default": {"kind": "list"}}}
    with running({"feed": bundle}, predictions={"folder": tmp_path}, explore=explore):
        pass
    assert [text for text in said if "explore" in text] == [
        "explore: model 'feed' has no profile 'defualt' so far, so nothing is drawn of it. "
        "Did you mean 'default'?"
    ]


def test_what_came_too_late_is_not_logged(bundle: Path, tmp_path: Path) -> None:
    """Requests with ever longer deadlines: logged are those that were answered, each once."""
    body = {"user": {"id": 1}, "candidates": [place % 90 for place in range(5_000)], "top_k": 3}
    told: dict[str, tuple[int, str]] = {}
    with running({"feed": bundle}, predictions={"folder": tmp_path}) as server:
        server.rank(body)
        for place in range(24):
            headers = {"x-request-id": f"r-{place}", "x-deadline-ms": str(2 + 2 * place)}
            got = server.client.post("/v1/rank", json=body, headers=headers)
            told[f"r-{place}"] = got.status_code, got.text
        kept = server.client.post("/v1/rank", json=body, headers={"x-request-id": "kept"})
        told["kept"] = kept.status_code, kept.text
    rows = ds.dataset(tmp_path / "feed").to_table()["served_request"].to_pylist()
    logged = {name: rows.count(name) for name in told}
    assert logged == {name: 3 if status == 200 else 0 for name, (status, _) in told.items()}
    assert logged["kept"] == 3
    assert any("while the answer was computed" in text for _, text in told.values())


def test_no_client_ends_the_logging_of_others(bundle: Path, tmp_path: Path) -> None:
    """Nobody, text and numbers as the user's id, in files that any reader takes together."""
    settings = {"folder": tmp_path, "features": "all", "file_bytes": 1}
    users: list[Any] = [None, "abc", *range(4)]
    with running({"feed": bundle}, predictions=settings) as server:
        for user in users:
            hour = None if user == "abc" else user
            server.rank({"user": {"id": user}, "candidates": [5], "context": {"hour": hour}})
        server.rank({"candidates": [5], "context": {"hour": 1.5}})
    table = ds.dataset(tmp_path / "feed").to_table()
    assert sorted(table["user_id"].to_pylist(), key=str) == ["0", "1", "2", "3", None, None, "abc"]
    assert pl.read_parquet(tmp_path / "feed" / "*.parquet").height == 7
    types = {field.name: field.type for field in table.schema}
    known = types_of(feeds.bundle())
    assert {name: types[name] for name in known} == known
    assert pa.null() not in types.values()


def test_other_types_end_a_file_and_not_the_log(tmp_path: Path) -> None:
    """Without types of the bundle's own."""
    log = PredictionLog(tmp_path)
    for user in ("abc", 1, 2, "d"):
        rows = pa.table({"user_id": [user], "item_id": [5]})
        log.append(answer(rows=rows, predictions={}))
    log.close()
    counts = log.counts()
    assert (counts.written, counts.files, counts.unfit) == (4, 3, 0)


def test_what_is_too_large_to_log_is_dropped_before_it_is_made(
    bundle: Path, tmp_path: Path
) -> None:
    """What is known of the user stands with every candidate: a history of 100,000 ids and 10,000
    candidates were 8 GB, out of a request of 360 kB."""
    number, size = 2_000, 200_000
    body = {"candidates": [5] * number, "user": {"features": {"user_country": "x" * size}}}
    settings = {"folder": tmp_path, "queue_bytes": number * size // 2}
    with running({"feed": bundle}, predictions=settings) as server:
        server.rank({"candidates": [5] * number})
        before = pa.default_memory_pool().max_memory()
        answer = server.rank(body)
        assert "ignored" not in answer
        assert pa.default_memory_pool().max_memory() - before < number * size // 4
        metrics = server.client.get("/metrics").text
    assert 'prediction_log_total{event="dropped"} 1.0' in metrics


@pytest.mark.parametrize("features", [["hours"], "all"])
def test_what_could_never_be_logged_is_refused_at_once(
    features: Any, bundle: Path, tmp_path: Path
) -> None:
    path, told = bundle, r"predictions\.features.*Did you mean 'hour'"
    if features == "all":  # a feature has the name of a column that the log adds
        path, told = tmp_path / "clash", "'served_rank' cannot be logged"
        keys = feeds.schema().keys.model_copy(update={"user": "served_rank"})
        schema = feeds.schema().model_copy(update={"keys": keys})
        save_bundle(dataclasses.replace(feeds.bundle(), schema=schema), path)
    predictions: Any = {"folder": tmp_path / "log", "features": features}
    settings = ServeSettings(models={"feed": path}, predictions=predictions)
    with pytest.raises(PolyrankError, match=told), hosted(settings, token=TOKEN):
        pass


def test_a_value_model_that_reads_what_cannot_be_logged_is_refused(
    bundle: Path, tmp_path: Path
) -> None:
    """Also one that was set while nothing was logged, and would come back by a rollback."""
    path, put = tmp_path / "feed", "/v1/models/feed/value-model"
    shutil.copytree(bundle, path)
    plain = {"kind": "weighted_sum", "terms": {"click": 1.0}}
    names = ("score", "served_rank", "predicted_click", "weight_click")
    trees = [
        {"kind": "by_context", "column": name, "values": {"x": plain}, "default": plain}
        for name in names
    ]
    with running({"feed": path}) as server:
        for tree in (trees[0], plain):
            server.change("PUT", put, {"value_model": tree})
    with running({"feed": path}, predictions={"folder": tmp_path / "log"}) as server:
        before = server.ask("GET", "/v1/models")
        demoted = {**plain, "demotion": {"column": "served_rank", "decay": 0.5}}
        for tree, name in zip([*trees, demoted], [*names, "served_rank"], strict=True):
            told = server.change("PUT", put, {"value_model": tree}, 400)["error"]
            assert told == (
                f"value model: prediction log: column '{name}' cannot be logged: the log adds one "
                "of that name. Rename it in what reads it (the schema, calibration or a value "
                "model), or switch the log off."
            )
        assert "'score' cannot" in server.change("POST", f"{put}/rollback", {}, 400)["error"]
        assert server.ask("GET", "/v1/models") == before
        for column in ("hour", "tier"):
            server.change("PUT", put, {"value_model": {**trees[0], "column": column}})
        server.rank({"candidates": [5], "context": {"tier": "x"}})
    assert ds.dataset(tmp_path / "log" / "feed").count_rows() == 1


def test_what_is_not_written_at_the_end_is_told(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs while the server leaves."""
    said = heard(monkeypatch)
    monkeypatch.setattr("polyrank.serving.host.LOG_SECONDS", 0.1)
    monkeypatch.setattr(Part, "write", lambda *_: time.sleep(1.0))
    settings = {"folder": tmp_path, "file_bytes": 1}
    with running({"feed": bundle}, predictions=settings) as server:
        for _ in range(3):
            server.rank({"candidates": [5]})
    assert re.search(r"could not be finished in 0.1 s: [23] answered requests lost", " ".join(said))
