"""The whole server: what it answers is what the bundle answers offline, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from polyrank.bundle import save_bundle
from polyrank.fusion import parse_value_model
from polyrank.scoring import PREFIX, Scorer
from tests import feeds
from tests.serving.client_runs import CLIENTS, run_clients
from tests.serving.server import TOKEN, Server, running

TASKS = feeds.schema().task_names
USER = ("user_country", "user_age_bucket", "user_activity", "user_history")
ITEM = ("item_author", "item_category", "item_tags", "item_length_s", "item_age_days")
CONTEXT = ("surface", "hour")
SUM = {"kind": "weighted_sum", "terms": {"click": {"weight": 1.0}, "report": {"weight": -9.0}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    save_bundle(feeds.bundle(joined=True), folder / "feed")
    save_bundle(feeds.bundle(), folder / "plain")
    rules = {"bounds": {"terms.*.weight": {"min": -100}, "demotion.decay": {"max": 0.5}}}
    models = {"feed": folder / "feed", "plain": folder / "plain"}
    with running(models, catalog={"rules": rules}) as found:
        yield found


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(feeds.bundle(joined=True))


def request(start: int, size: int) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of one user as a table without the items' features, and as a request by id."""
    rows = feeds.bare_log().slice(start, size)
    first = {name: [rows[name][0].as_py()] * size for name in USER}
    for name, values in first.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(values, rows[name].type))
    taken = rows.select(["item_id", *CONTEXT]).to_pylist()
    body = {
        "model": "feed",
        "user": {"id": 1, "features": {name: values[0] for name, values in first.items()}},
        "candidates": [
            {"id": row["item_id"], "features": {name: row[name] for name in CONTEXT}}
            for row in taken
        ],
    }
    return rows, body


def answered(answer: Any, name: str) -> list[float]:
    return [each["predictions"][name] for each in answer["candidates"]]


@pytest.mark.parametrize("size", [1, 2, 31, 200])
def test_a_ranking_is_the_offline_ranking_to_the_bit(
    server: Server, scorer: Scorer, size: int
) -> None:
    rows, body = request(7 * size, size)
    offline = scorer.rank(rows, explain=True)
    answer = server.rank({**body, "explain": True})
    assert [each["id"] for each in answer["candidates"]] == offline["item_id"].to_pylist()
    assert [each["score"] for each in answer["candidates"]] == offline["score"].to_pylist()
    for task in TASKS:
        assert answered(answer, task) == offline[PREFIX + task].to_pylist()
    for each in answer["candidates"]:
        assert sum(each["terms"].values()) == pytest.approx(each["score"], rel=1e-6, abs=1e-9)


def test_the_best_k_are_the_first_k(server: Server) -> None:
    _, body = request(40, 30)
    everyone = server.rank(body)["candidates"]
    assert server.rank({**body, "top_k": 4})["candidates"] == everyone[:4]
    assert server.rank({**body, "top_k": 99})["candidates"] == everyone


def test_permuted_candidates_keep_their_bits(server: Server) -> None:
    _, body = request(300, 64)
    before = {each["index"]: each for each in server.rank(body)["candidates"]}
    order = np.random.default_rng(0).permutation(64).tolist()
    moved = {**body, "candidates": [body["candidates"][place] for place in order]}
    for each in server.rank(moved)["candidates"]:
        assert {**each, "index": order[each["index"]]} == before[order[each["index"]]]


def test_features_in_the_request_are_those_of_the_store(server: Server) -> None:
    """What a candidate brings itself is used; the others' come from the store."""
    _, body = request(100, 12)
    table = feeds.items().to_pylist()
    known = {row["item_id"]: row for row in table}
    columns = [name for name in (*ITEM, "item_embedding") if name in table[0]]
    given = json.loads(json.dumps(body))
    for entry in given["candidates"][::2]:
        entry["features"] |= {name: known[entry["id"]][name] for name in columns}
    by_id = server.rank(body)
    assert server.rank(given)["candidates"] == by_id["candidates"]
    other = json.loads(json.dumps(body))
    other["candidates"][0]["features"]["item_category"] = "never seen"
    changed = {each["index"]: each for each in server.rank(other)["candidates"]}
    same = {each["index"]: each for each in by_id["candidates"]}
    assert changed[0] != same[0]
    assert all(changed[place] == same[place] for place in range(1, 12))


def test_unseen_ids_and_missing_values_are_scored_and_told(server: Server, scorer: Scorer) -> None:
    rows, body = request(10, 3)
    body["candidates"][1]["id"] = 2**40
    del body["user"]["features"]["user_country"]
    rows = rows.set_column(
        rows.column_names.index("item_id"),
        "item_id",
        pa.array([rows["item_id"][0].as_py(), 2**40, rows["item_id"][2].as_py()]),
    )
    place = rows.column_names.index("user_country")
    rows = rows.set_column(place, "user_country", pa.nulls(3, rows["user_country"].type))
    answer = server.rank(body)
    assert answer["unknown"] == {"items": 1}
    assert answer["missing"] == ["user_country"]
    offline = scorer.rank(rows)
    assert [each["score"] for each in answer["candidates"]] == offline["score"].to_pylist()


def test_no_candidates_no_answer_and_nothing_else_is_wrong(server: Server) -> None:
    assert server.rank({"model": "feed", "candidates": []})["candidates"] == []


def test_a_column_nobody_reads_is_told(server: Server) -> None:
    _, body = request(0, 2)
    assert server.rank({**body, "context": {"mood": 1}})["ignored"] == ["mood"]


def test_requests_side_by_side_have_their_own_answers(server: Server) -> None:
    bodies = [request(17 * place, 5 + place)[1] for place in range(24)]
    alone = [server.rank(body)["candidates"] for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(server.rank, bodies * 2))
    assert [answer["candidates"] for answer in together] == alone * 2


BAD: Sequence[tuple[Any, str]] = (
    ([], "must be a JSON object"),
    ({"candidates": 3}, "`candidates` must be a list"),
    ({"candidates": [1], "topk": 3}, "Did you mean 'top_k'"),
    ({"candidates": [1.5]}, "`candidates[0]` must be text, or a whole number"),
    ({"candidates": [True]}, "`candidates[0]`"),
    ({"candidates": [{"id": 1, "feature": {}}]}, "has no field 'feature'"),
    ({"candidates": [1], "user": 7}, "`user` must be an object"),
    ({"candidates": [1], "top_k": 0}, "`top_k`"),
    ({"candidates": [1], "explain": 1}, "`explain`"),
    ({"candidates": [1], "profile": "no\nsuch"}, "`profile`"),
    ({"candidates": [1, "a"]}, "not of one kind"),
    ({"candidates": [1], "user": {"features": {"user_activity": "much"}}}, "user_activity"),
    ({"candidates": [1], "user": {"features": {"user_activity": {}}}}, "user_activity"),
    ({"candidates": [1], "context": {"hour": [[1]]}}, "'hour'"),
    ({"candidates": [{"id": 1, "features": {"user_country": 1}}]}, "is of the user"),
    ({"candidates": ["not a number"]}, "item_id"),
)


@pytest.mark.parametrize(("body", "told"), BAD)
def test_bad_requests_are_refused_with_the_reason(server: Server, body: Any, told: str) -> None:
    asked = {**body, "model": "feed"} if isinstance(body, dict) else body
    answer = server.rank(asked, status=400)
    assert told in answer["error"]
    assert set(answer) == {"error"}
    assert len(answer["error"]) <= 512


def test_what_is_not_there_is_404(server: Server) -> None:
    assert "no model" in server.rank({"model": "fed", "candidates": [1]}, 404)["error"]
    asked = {"model": "feed", "version": "9", "candidates": [1]}
    assert "no version" in server.rank(asked, 404)["error"]
    for path in ("/v2/models/fed", "/v2/models/feed/versions/9/ready", "/v3", "/v1/models/x/y"):
        assert "error" in server.ask("GET", path, status=404)
    assert "error" in server.ask("GET", "/v1/rank", status=405)


def test_which_model_must_be_said_where_there_are_several(server: Server) -> None:
    assert "feed, plain" in server.rank({"candidates": [1]}, 400)["error"]


SENT = ("user_country", "user_activity", "item_id", "item_author", "surface", "hour")


def as_tensors(server: Server, rows: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    """Columns of the plain model, as an inference request."""
    specs = server.ask("GET", "/v2/models/plain")["inputs"]
    kinds = {each["name"]: each["datatype"] for each in specs}
    convert: dict[str, Any] = {"INT64": int, "FP64": float, "BYTES": str}
    inputs = [
        {
            "name": name,
            "datatype": kinds[name],
            "shape": [rows.num_rows],
            "data": [convert[kinds[name]](value) for value in rows[name].to_pylist()],
        }
        for name in names
    ]
    return {"inputs": inputs, "outputs": ["score", *TASKS]}


def only(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows, in which all other features are missing."""
    for place, name in enumerate(rows.column_names):
        if name in feeds.schema().feature_columns() and name not in names:
            rows = rows.set_column(place, name, pa.nulls(rows.num_rows, rows[name].type))
    return rows


def test_the_clients_of_the_protocol_get_the_same_bits(server: Server) -> None:
    """One of them sends every number as a float, which is no id."""
    rows = feeds.log().slice(50, 9)
    whole = as_tensors(server, rows, SENT)
    sent: dict[str, tuple[Sequence[str], Any]] = {name: (SENT, [whole]) for name in CLIENTS}
    sent["triton"] = (SENT, [whole, {**whole, "binary": True, "id": "b"}])
    floats = [each["name"] for each in whole["inputs"] if each["datatype"] != "INT64"]
    assert 0 < len(floats) < len(SENT)
    sent["open_inference"] = (floats, [as_tensors(server, rows, floats)])
    cases = {name: own for name, (_, own) in sent.items()}
    for name, result in run_clients(server.url, "plain", cases).items():
        offline = Scorer(feeds.bundle()).score(only(rows, sent[name][0]))
        assert result["ready"], name
        for answer in result["answers"]:
            assert "error" not in answer, (name, answer)
            for task in TASKS:
                found = answer["outputs"][task]["data"]
                assert found == offline[PREFIX + task].to_pylist(), (name, task)


def test_lists_and_vectors_are_tensors(server: Server) -> None:
    rows = feeds.log().slice(0, 4)
    tags = rows["item_tags"].to_pylist()
    flat = [str(tag) for each in tags for tag in each]
    kinds = {e["name"]: e["datatype"] for e in server.ask("GET", "/v2/models/plain")["inputs"]}
    values = flat if kinds["item_tags"] == "BYTES" else [int(tag) for tag in flat]
    vectors = [value for each in rows["item_embedding"].to_pylist() for value in each]
    inputs = [
        {"name": "item_tags", "shape": [len(flat)], "datatype": kinds["item_tags"], "data": values},
        {
            "name": "item_tags.lengths",
            "shape": [4],
            "datatype": "INT64",
            "data": [len(each) for each in tags],
        },
        {
            "name": "item_embedding",
            "shape": [4, len(vectors) // 4],
            "datatype": "FP32",
            "data": vectors,
        },
    ]
    answer = server.ask("POST", "/v2/models/plain/infer", {"inputs": inputs})
    whole = only(rows, ("item_tags", "item_embedding"))
    offline = Scorer(feeds.bundle()).score(whole)
    found = {each["name"]: each["data"] for each in answer["outputs"]}
    assert {task: found[task] for task in TASKS} == {
        task: offline[PREFIX + task].to_pylist() for task in TASKS
    }
    inputs[1]["data"] = [1, 1, 1, 1000]
    refused = server.ask("POST", "/v2/models/plain/infer", {"inputs": inputs}, 400)
    assert "item_tags.lengths" in refused["error"]


def test_a_timeout_of_the_request_holds(server: Server) -> None:
    """In microseconds; 0 is none."""
    ids = {"name": "item_id", "datatype": "INT64", "shape": [1], "data": [3]}
    for timeout, status in ((0, 200), (60_000_000, 200), (1, 504)):
        body = {"inputs": [ids], "parameters": {"timeout": timeout}}
        server.ask("POST", "/v2/models/feed/infer", body, status)


WRAPS = [2**62] * 4
"""Lengths whose sum is 0 in 64 bits."""


@pytest.mark.parametrize("values", [[], None])
def test_lengths_of_no_values_are_refused(server: Server, values: Any) -> None:
    inputs = [{"name": "item_tags.lengths", "shape": [4], "datatype": "INT64", "data": WRAPS}]
    if values is not None:
        inputs.append({"name": "item_tags", "shape": [0], "datatype": "BYTES", "data": values})
    refused = server.ask("POST", "/v2/models/plain/infer", {"inputs": inputs}, 400)
    assert "item_tags.lengths" in refused["error"]


def test_rows_bring_what_a_value_model_reads(server: Server, scorer: Scorer) -> None:
    tree = {
        "kind": "by_context",
        "column": "tier",
        "values": {"1": SUM},
        "default": {"kind": "weighted_sum", "terms": {"like": {"weight": 2.0}}},
    }
    asked = {"profile": "tiers", "value_model": tree}
    server.change("PUT", "/v1/models/feed/value-model", asked)
    assert "tier" in {each["name"] for each in server.ask("GET", "/v2/models/feed")["inputs"]}
    rows = feeds.bare_log().slice(0, 3)
    inputs = [
        {"name": "item_id", "datatype": "INT64", "data": rows["item_id"].to_pylist()},
        {"name": "tier", "datatype": "BYTES", "data": ["1", "2", "1"]},
    ]
    body: dict[str, Any] = {"parameters": {"profile": "tiers"}, "outputs": [{"name": "like"}]}
    body["inputs"] = [{**each, "shape": [3]} for each in inputs]
    rows = only(rows, ["item_id"]).append_column("tier", pa.array([1, 2, 1]))
    model, _ = parse_value_model(tree, where="test")
    offline = Scorer(feeds.bundle(joined=True).with_value_model(model)).rank(rows)
    answer = server.ask("POST", "/v2/models/feed/infer", {**body, "outputs": [{"name": "score"}]})
    assert sorted(answer["outputs"][0]["data"]) == sorted(offline["score"].to_pylist())
    del body["inputs"][1]
    likes = server.ask("POST", "/v2/models/feed/infer", body)["outputs"][0]["data"]
    assert sorted(likes) == sorted(offline[PREFIX + "like"].to_pylist())


def test_priority_is_accepted_and_has_no_effect(server: Server) -> None:
    """F7; and the document says so, with all other parameters that there are."""
    tensor = {"name": "item_id", "datatype": "INT64", "shape": [3], "data": [1, 2, 3]}
    path, body = "/v2/models/feed/infer", {"id": "same", "inputs": [tensor]}
    plain = server.ask("POST", path, body)
    for priority in (0, 1, 9, 2**31):
        asked = {**body, "parameters": {"priority": priority}}
        assert server.ask("POST", path, asked) == plain
    for wrong in ("high", 1.5, True, None):
        told = server.ask("POST", path, {**body, "parameters": {"priority": wrong}}, 400)
        assert "priority" in told["error"]
    paths = server.ask("GET", "/openapi.json")["paths"]
    content = paths["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]
    known = content["application/json"]["schema"]["properties"]["parameters"]["properties"]
    assert set(known) == {"binary_data_output", "timeout", "priority", "profile"}
    assert known["priority"]["type"] == "integer"
    assert "without any effect" in known["priority"]["description"]


def test_a_value_model_changes_at_once_and_rolls_back(server: Server) -> None:
    rows, body = request(500, 20)
    before = server.rank(body)
    changed = server.change("PUT", "/v1/models/feed/value-model", {"value_model": SUM})
    after = server.rank(body)
    assert after["value_model"] == {"profile": "default", "version": changed["value_version"]}
    model, _ = parse_value_model(SUM, where="test")
    offline = Scorer(feeds.bundle(joined=True).with_value_model(model)).rank(rows)
    assert [each["score"] for each in after["candidates"]] == offline["score"].to_pylist()
    server.change("POST", "/v1/models/feed/value-model/rollback", {})
    assert server.rank(body)["candidates"] == before["candidates"]


def test_profiles_rank_side_by_side(server: Server) -> None:
    _, body = request(600, 20)
    asked = {"profile": "search", "value_model": SUM}
    server.change("PUT", "/v1/models/feed/value-model", asked)
    search = server.rank({**body, "profile": "search"})
    assert search["value_model"]["profile"] == "search"
    assert search["candidates"] != server.rank(body)["candidates"]
    assert "no profile" in server.rank({**body, "profile": "shop"}, 400)["error"]


ADMIN = (
    ("GET", "/v1/models/feed/status"),
    ("GET", "/v1/models/feed/requests"),
    ("PUT", "/v1/models/feed/value-model"),
    ("POST", "/v1/models/feed/value-model/rollback"),
    ("POST", "/v1/models/feed/reload"),
    ("POST", "/v1/models/feed/pin"),
    ("PUT", "/v1/models/feed/shadow"),
    ("DELETE", "/v1/models/feed/shadow"),
    ("POST", "/v1/models/feed/promote"),
)


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_operators_routes_need_the_token(server: Server, method: str, path: str) -> None:
    """G1."""
    for header in ("", "Bearer", f"Basic {TOKEN}", TOKEN):
        headers = {"authorization": header} if header else {}
        assert "token" in server.ask(method, path, {}, 401, headers)["error"]
    wrong = {"authorization": "Bearer not-this-one-0123456789"}
    answer = server.client.request(method, path, headers=wrong)
    assert answer.status_code in (403, 429)
    assert server.client.request(method, f"{path}?token={TOKEN}").status_code == 401


def test_what_operators_ask_is_checked(server: Server) -> None:
    path = "/v1/models/feed"
    for method, further, body, told in (
        ("PUT", "value-model", {}, "`value_model`"),
        ("PUT", "value-model", {"value_model": SUM, "expected_version": "1"}, "`expected_version`"),
        ("PUT", "value-model", {"value_model": {**SUM, "terms": {"clik": {"weight": 1}}}}, "clik"),
        ("PUT", "value-model", {"value_model": SUM, "profil": "a"}, "Did you mean 'profile'"),
        ("PUT", "shadow", {"version": "1", "share": "x"}, "`share`"),
        ("PUT", "shadow", {"version": "1", "share": 0.5, "mode": "x"}, "`mode`"),
        ("POST", "value-model/rollback", [], "must be a JSON object"),
        ("POST", "value-model/rollback", {"profile": 3}, "`profile`"),
    ):
        assert told in server.change(method, f"{path}/{further}", body, 400)["error"]
    assert server.change("GET", f"{path}/status")["serving"]
    assert server.change("POST", f"{path}/reload")["refused"] == {}
    assert "error" in server.change("DELETE", f"{path}/shadow", status=404)
    assert "error" in server.change("POST", f"{path}/promote", status=404)
    server.change("POST", f"{path}/pin", {"version": "1"}, 400)


def test_health_metadata_and_metrics(server: Server) -> None:
    assert server.ask("GET", "/v2/health/live") == {"live": True}
    assert server.ask("GET", "/v2/health/ready") == {"ready": True}
    assert server.ask("GET", "/v2/models/feed/ready")["ready"]
    assert server.ask("GET", "/v2")["name"] == "polyrank"
    assert set(server.ask("GET", "/v1/models")) == {"feed", "plain"}
    assert server.ask("GET", "/openapi.json")["openapi"].startswith("3.1")
    server.rank(request(0, 3)[1])
    text = server.client.get("/metrics").text
    assert 'polyrank_requests_total{route="/v1/rank",status="200"}' in text
    assert 'polyrank_predictions_total{model="feed",task="click"}' in text
    assert 'polyrank_feature_store_total{event="hits",model="feed",table="items"}' in text
    assert 'polyrank_version_info{model="feed",version=' in text


def test_the_example_of_each_model_is_a_request_that_it_answers(server: Server) -> None:
    for model in ("feed", "plain"):
        example = server.ask("GET", f"/v1/models/{model}/example")
        answer = server.rank({**example, "explain": True})
        assert len(answer["candidates"]) == len(example["candidates"])
        assert set(answer.get("ignored", ())) <= {"tier"}  # which another test's profile reads


def test_a_value_model_is_tried_without_being_set(server: Server) -> None:
    rows, body = request(700, 20)
    before = server.rank(body)
    tried = server.rank({**body, "value_model": SUM})
    model, _ = parse_value_model(SUM, where="test")
    offline = Scorer(feeds.bundle(joined=True).with_value_model(model)).rank(rows)
    assert [each["score"] for each in tried["candidates"]] == offline["score"].to_pylist()
    assert tried["value_model"] == {"profile": None, "version": None}
    assert server.rank(body)["candidates"] == before["candidates"]
    bad = {**SUM, "terms": {"clik": {"weight": 1}}}
    assert "clik" in server.rank({**body, "value_model": bad}, 400)["error"]


def test_what_operators_may_not_set_no_request_may_try(server: Server) -> None:
    _, body = request(700, 3)
    formula = {"kind": "expression", "expression": "click * 1e9"}
    by_hour = {"kind": "by_context", "column": "hour", "values": {"1": SUM}}
    low = {"kind": "weighted_sum", "terms": {"click": -101.0, "report": -102.0}}
    for tree, told in (
        (formula, "kind: must be one of weighted_sum, product, rank_ensemble, linear, by_context"),
        ({**by_hour, "default": formula}, "got 'expression'"),
        (low, "report.weight: must be at least -100, got -102"),
        ({**SUM, "demotion": {"column": "item_id", "decay": 0.9}}, "demotion.decay: must be at mo"),
        ({**SUM, "kind": "sum"}, "names no value model"),
        ({**SUM, "terms": {"clik": 1.0}}, "Did you mean 'click'?"),
    ):
        path = "/v1/models/feed/value-model"
        refused = server.change("PUT", path, {"profile": "tried", "value_model": tree}, 400)
        assert told in refused["error"]
        assert server.rank({**body, "value_model": tree}, 400) == refused


def test_what_happened_lately_is_told(server: Server) -> None:
    _, body = request(800, 8)
    server.rank(body)
    stats = server.ask("GET", "/v1/stats")
    assert stats["routes"]["/v1/rank"]["requests"] >= 1
    assert stats["routes"]["/v1/rank"]["ms"]["p50"] > 0
    spread = stats["distributions"]["feed"]["score"]
    assert spread["low"] <= spread["high"]
    assert sum(spread["counts"]) >= 8
    assert server.change("GET", "/v1/models/feed/requests")[0] == body
