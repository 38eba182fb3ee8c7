"""What whoever reaches a server may see of the rows that its models were made on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa

from polyrank.bundle import load_bundle, save_bundle
from polyrank.schema import SideTable
from polyrank.serving.models import record_rows
from tests import feeds
from tests.serving.server import running

CANARY = "canary-5417"
OPEN = (
    "/v1/models",
    "/v1/models/feed/example",
    "/v1/stats",
    "/v2",
    "/v2/models/feed",
    "/openapi.json",
    "/metrics",
    "/console",
    "/console/app.js",
)


def test_rows_of_a_log_and_ids_are_told_with_the_token_only(tmp_path: Path) -> None:
    """T28."""
    path = tmp_path / "feed"
    save_bundle(feeds.bundle(), path)
    rows = feeds.log().slice(0, 30)
    place = rows.column_names.index("user_country")
    marked = rows.set_column(place, "user_country", pa.array([CANARY] * 30))
    record_rows(load_bundle(path), marked, tmp_path / "feed.rows")
    ids = {str(item) for item in feeds.log()["item_id"].to_pylist()}
    ids |= {CANARY, *feeds.log()["item_category"].to_pylist()} - {None}
    assert len(ids) > 80
    terms = {"click": {"weight": 1.0}}
    by_mood = {
        "kind": "by_context",
        "column": "mood",
        "values": {"good": {"kind": "weighted_sum", "terms": terms}},
        "default": {"kind": "weighted_sum", "terms": terms},
    }
    with running({"feed": path}) as server:
        server.change(
            "PUT", "/v1/models/feed/value-model", {"profile": "mood", "value_model": by_mood}
        )
        example = server.ask("GET", "/v1/models/feed/example")
        told = server.rank(example)
        assert len({each["score"] for each in told["candidates"]}) == 20
        assert "missing" not in told
        assert server.rank({**example, "profile": "mood"})["candidates"]
        for open_to_all in OPEN:
            answer = server.client.get(open_to_all)
            assert answer.status_code == 200
            assert [each for each in ids if each in answer.text] == [], open_to_all
        recorded = server.change("GET", "/v1/models/feed/recorded")
        assert recorded["user"]["features"]["user_country"] == CANARY
        assert len(server.rank(recorded)["candidates"]) == 20
        refused = server.ask("GET", "/v1/models/feed/recorded", status=401)
        assert CANARY not in str(refused)


def test_an_example_names_the_user_by_id_where_a_side_table_knows_users(tmp_path: Path) -> None:
    """An id of a user among the features of a candidate would be refused."""
    plain = feeds.bundle()
    ids = pa.array([f"u{number}" for number in range(5)])
    users = pa.table({"user_id": ids, "user_country": ["fr"] * 5})
    schema = plain.schema.model_copy(update={"tables": (SideTable(name="users", on="user_id"),)})
    path = tmp_path / "feed"
    save_bundle(dataclasses.replace(plain, schema=schema, tables={"users": users}), path)
    with running({"feed": path}) as server:
        example = server.ask("GET", "/v1/models/feed/example")
        assert set(example["user"]) == {"id", "features"}
        assert all("user_id" not in each["features"] for each in example["candidates"])
        assert len(server.rank(example)["candidates"]) == 20
