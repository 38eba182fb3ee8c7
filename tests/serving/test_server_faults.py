"""The whole server when something is wrong: stores, disks, versions, clients, canaries."""

from __future__ import annotations

import gc
import io
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from polyrank.bundle import Bundle, save_bundle
from polyrank.errors import ConfigError
from polyrank.fusion import parse_value_model
from polyrank.model import RankingModel
from polyrank.scoring import PREFIX, Scorer
from polyrank.serving.features import codec_of, fill, store_settings
from polyrank.serving.host import hosted
from polyrank.serving.http import AccessLog, Limits, bind, serving, url_of
from polyrank.serving.rankers import LOOK_SECONDS
from polyrank.serving.ranking import ModelRanker
from polyrank.serving.settings import ServeSettings
from tests import feeds
from tests.serving.features import redis_process
from tests.serving.features.redis_process import RedisProcess
from tests.serving.server import TOKEN, Server, running

TASKS = feeds.schema().task_names


def body(start: int, size: int) -> dict[str, Any]:
    """A request by the items' ids alone."""
    return {"candidates": feeds.bare_log()["item_id"].slice(start, size).to_pylist()}


def scores(answer: Any) -> dict[int, float]:
    return {each["index"]: each["score"] for each in answer["candidates"]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "feed"
    save_bundle(feeds.bundle(joined=True), path)
    return path


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with redis_process.running(tmp_path) as found:
        yield found


def test_a_store_that_is_down_is_told_and_comes_back(bundle: Path, redis: RedisProcess) -> None:
    """F11, and Redis stopped and started again."""
    found = feeds.bundle(joined=True)
    side = found.schema.tables[0]
    wanted = {"items": (codec_of(side, found.tables["items"]), found.tables["items"])}
    given = {"kind": "redis", "url": redis.url, "timeout_ms": 2000, "cooldown_s": 0.05}
    fill(store_settings(given), wanted)
    with running({"feed": bundle}, features={"feed": {"items": given}}) as server:
        healthy = server.rank(body(0, 12))
        with running({"feed": bundle}) as in_memory:
            assert scores(healthy) == scores(in_memory.rank(body(0, 12)))
        redis.stop()
        down = server.rank(body(0, 12))
        assert down["degraded"] == {"items": "down"}
        assert "unknown" not in down, "a store that did not answer has not said so"
        assert np.isfinite(list(scores(down).values())).all()
        ids = {"name": "item_id", "datatype": "INT64", "shape": [1], "data": [3]}
        told = server.client.post("/v2/models/feed/infer", json={"inputs": [ids]}).json()
        assert told["parameters"] == {"degraded": "items:down"}
        text = server.client.get("/metrics").text
        assert 'polyrank_degraded_requests_total{model="feed",table="items"} 2.0' in text
        redis.start()
        fill(store_settings(given), wanted)
        for _ in range(200):
            again = server.rank(body(0, 12))
            if "degraded" not in again:
                break
            threading.Event().wait(0.05)
        assert scores(again) == scores(healthy)


def test_what_is_logged_scores_to_the_same_bits(bundle: Path, tmp_path: Path) -> None:
    """Section 4.6: replayed offline, each logged row gives what was answered."""
    predictions = {"folder": str(tmp_path / "log"), "features": "all", "candidates": "all"}
    answers = []
    with running({"feed": bundle}, predictions=predictions) as server:
        for start in range(0, 60, 20):
            answers.append(server.rank({**body(start, 20), "top_k": 5}))
    table = pq.read_table(tmp_path / "log")
    assert table.num_rows == 60
    assert int(np.sum(table["served_shown"].to_pylist())) == 15
    offline = Scorer(feeds.bundle(joined=True)).score(
        table.select([name for name in table.column_names if not name.startswith("served_")])
    )
    for task in TASKS:
        assert offline[PREFIX + task].to_pylist() == table[PREFIX + task].to_pylist()
    shown = table.filter(table["served_shown"]).to_pylist()
    for answer in answers:
        mine = [row for row in shown if row["served_request"] == answer["request_id"]]
        ranked = sorted(mine, key=lambda row: row["served_rank"])
        assert [row["score"] for row in ranked] == [each["score"] for each in answer["candidates"]]


def test_a_log_that_cannot_be_written_stops_no_answer(bundle: Path, tmp_path: Path) -> None:
    """F12."""
    blocked = tmp_path / "log"
    blocked.mkdir()
    (blocked / "feed").write_text("a file where a folder is wanted")
    with running({"feed": bundle}, predictions={"folder": str(blocked), "file_bytes": 1}) as server:
        for _ in range(3):
            assert server.rank(body(0, 3))["candidates"]
        for _ in range(100):
            text = server.client.get("/metrics").text
            if re.search(r'polyrank_prediction_log_total\{event="refusals"\} [1-9]', text):
                break
            threading.Event().wait(0.02)
        else:
            pytest.fail("nobody is told that the log is refused")


def constant(bundle: Any, value: float) -> Any:
    """The bundle ranked by ``value`` times one, whatever is predicted."""
    tree = {"kind": "expression", "expression": f"{value} + 0 * click"}
    model, _ = parse_value_model(tree, where="test")
    return bundle.with_value_model(model)


@pytest.mark.parametrize("reloads", [3, pytest.param(200, marks=pytest.mark.nightly)])
def test_reloads_under_load_fail_and_mix_nothing(tmp_path: Path, reloads: int) -> None:
    """F1, T9: version k scores every candidate k."""
    path, plain = tmp_path / "feed", feeds.bundle()
    save_bundle(constant(plain, 0.0), path)
    wrong: list[Any] = []
    acknowledged = [0]
    stop = threading.Event()
    with running({"feed": path}, watch_seconds=3600) as server:

        def ask() -> None:
            asked = {"candidates": [{"id": 1, "features": {}} for _ in range(3)]}
            with httpx.Client(base_url=server.url, timeout=60) as client:
                while not stop.is_set():
                    least = acknowledged[0]
                    answer = client.post("/v1/rank", json=asked)
                    found = {each["score"] for each in answer.json().get("candidates", [])}
                    if answer.status_code != 200 or len(found) != 1 or min(found) < least:
                        wrong.append((answer.status_code, least, answer.text))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, reloads + 1):
            save_bundle(constant(plain, float(number)), path, replace=True)
            assert server.change("POST", "/v1/models/feed/reload")["refused"] == {}
            acknowledged[0] = number
        stop.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        (path / "weights.safetensors").write_bytes(b"not weights")
        refused = server.change("POST", "/v1/models/feed/reload")["refused"]
        assert refused
        asked = {"candidates": [{"id": 1, "features": {}}]}
        assert server.rank(asked)["candidates"][0]["score"] == reloads


def test_what_is_replaced_is_let_go_of_with_its_stores(tmp_path: Path) -> None:
    """At once, since nothing in it is a circle that Python would have to look for."""
    path, plain = tmp_path / "feed", feeds.bundle()
    save_bundle(plain, path)
    gc.collect()
    gc.disable()
    try:
        _replaced(path, plain)
    finally:
        gc.enable()


def _replaced(path: Path, plain: Bundle) -> None:
    before = alive()
    asked = {"candidates": [1]}
    with running({"feed": path}, watch_seconds=3600) as server:
        save_bundle(constant(plain, 1.0), path, replace=True)
        server.change("POST", "/v1/models/feed/reload")
        time.sleep(LOOK_SECONDS)
        server.rank(asked)
        assert {kind: alive()[kind] - before[kind] for kind in before} == dict.fromkeys(before, 1)


def alive() -> dict[type, int]:
    """How many there are of what a version consists of."""
    kinds = (ModelRanker, Scorer, Bundle, RankingModel)
    return {kind: sum(isinstance(each, kind) for each in gc.get_objects()) for kind in kinds}


def test_a_version_that_its_store_does_not_fit_is_refused(tmp_path: Path) -> None:
    path, store = tmp_path / "feed", tmp_path / "items.sqlite"
    found = feeds.bundle(joined=True)
    table = found.tables["items"]
    side = found.schema.tables[0]
    save_bundle(found, path)
    fill(store_settings(str(store)), {"items": (codec_of(side, table), table)})
    features = {"feed": {"items": str(store)}}
    with running({"feed": path}, features=features, watch_seconds=3600) as server:
        healthy = server.rank(body(0, 5))["candidates"]
        place = table.column_names.index("item_age_days")
        whole = table.set_column(
            place, "item_age_days", table["item_age_days"].cast("int64", safe=False)
        )
        save_bundle(replace(found, tables={"items": whole}, version=""), path, replace=True)
        (reason,) = server.change("POST", "/v1/models/feed/reload")["refused"].values()
        assert "item_age_days" in reason
        assert server.rank(body(0, 5))["candidates"] == healthy
    with (
        pytest.raises(ConfigError, match="Did you mean 'feed'"),
        running({"feed": path}, features={"fed": features["feed"]}),
    ):
        pass


CANARY = "canary-7f3a91"


class Kept(logging.Handler):
    """Everything that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture
def logged() -> Iterator[Kept]:
    root, kept = logging.getLogger(), Kept()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(kept)


def test_what_clients_send_is_in_no_log_error_or_metric(bundle: Path, logged: Kept) -> None:
    """G5, G6, T28."""
    lines = io.StringIO()
    tree = ServeSettings(models={"feed": bundle}, limits=Limits(grace_seconds=0))
    with (
        AccessLog(lines) as access,
        hosted(tree, token=TOKEN, access_log=access) as guard,
        bind("127.0.0.1", 0) as listener,
        serving(guard, listener),
        httpx.Client(base_url=url_of(listener), timeout=60) as client,
    ):
        sent = [
            {"user": {"features": {"user_country": CANARY}}, "candidates": [1]},
            {"candidates": [CANARY]},
            {"candidates": [1], "context": {"surface": CANARY, "hour": CANARY}},
            {"candidates": [{"id": 1, "features": {"item_length_s": CANARY}}]},
        ]
        for each in sent:
            client.post(f"/v1/rank?secret={CANARY}", json=each)
        client.post("/v2/models/feed/infer", content=f'{{"inputs": "{CANARY}"}}')
        wrong = {"authorization": f"Bearer {CANARY}-and-more"}
        client.get("/v1/models/feed/status", headers=wrong)
        client.get(f"/v1/{CANARY}")
        client.post("/v1/rank", json=sent[0], headers={"x-request-id": f"{CANARY}\\n{{}}"})
        metrics = client.get("/metrics").text
        stats = client.get("/v1/stats").text
    told = [*lines.getvalue().splitlines(), *logged.messages]
    assert len(lines.getvalue().splitlines()) >= 9
    assert all(json.loads(line)["event"] == "request" for line in lines.getvalue().splitlines())
    own = [line for line in told if CANARY in line and "httpx" not in line and "HTTP" not in line]
    assert own == []
    assert CANARY not in metrics
    assert CANARY not in stats
    assert TOKEN not in "\n".join(told) + metrics


@pytest.fixture(scope="module")
def fuzzed(bundle: Path) -> Iterator[Server]:
    with running({"feed": bundle}) as server:
        yield server


@pytest.fixture(scope="module")
def operations(fuzzed: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/openapi.json")
    found: list[Any] = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    assert len(found) >= 12
    return found


def check(case: Any) -> None:
    """Refused or answered, and never a bug."""
    answer = case.call(timeout=30)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error"}
        assert len(answer.json()["error"]) <= 512


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_of_the_interface_is_a_bug(operations: list[Any], data: st.DataObject) -> None:
    """E1 to E6, T17."""
    check(data.draw(data.draw(st.sampled_from(operations)).as_strategy()))


@pytest.mark.nightly
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_none_of_ten_thousand_is(operations: list[Any], data: st.DataObject) -> None:
    """E1 to E6, T17."""
    check(data.draw(data.draw(st.sampled_from(operations)).as_strategy()))


def test_rows_are_bounded(bundle: Path) -> None:
    """E5."""
    with running({"feed": bundle}, max_candidates=50) as server:
        assert len(server.rank(body(0, 50))["candidates"]) == 50
        assert "50 are the most" in server.rank(body(0, 51), 413)["error"]
        tensor = {"name": "item_id", "datatype": "INT64", "shape": [51], "data": [1] * 51}
        server.ask("POST", "/v2/models/feed/infer", {"inputs": [tensor]}, 413)


def test_a_table_of_one_row_is_enough_for_duplicates(fuzzed: Server) -> None:
    """E5: equal candidates have equal scores, and keep the order in which they were given."""
    item = feeds.bare_log()["item_id"][0].as_py()
    answer = fuzzed.rank({"candidates": [item] * 40})
    assert len(set(scores(answer).values())) == 1
    assert [each["index"] for each in answer["candidates"]] == list(range(40))
