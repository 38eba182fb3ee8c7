"""A version has ranked before it serves."""

from __future__ import annotations

from pathlib import Path

from polyrank.bundle import save_bundle
from polyrank.fusion import parse_value_model
from tests import feeds
from tests.serving.server import running

PASSES = "polyrank_pass_requests_count"
BY_CONTEXT = {
    "kind": "by_context",
    "column": "nowhere",
    "values": {"x": {"kind": "weighted_sum", "terms": {"click": {"weight": 2.0}}}},
    "default": {"kind": "weighted_sum", "terms": {"click": {"weight": 1.0}}},
}


def passes(text: str) -> float:
    """How many there were."""
    lines = [line for line in text.splitlines() if line.startswith(PASSES)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_what_is_served_has_ranked_by_features_and_by_ids(tmp_path: Path) -> None:
    save_bundle(feeds.bundle(joined=True), tmp_path / "1")
    with running({"feed": tmp_path}) as server:
        before = passes(server.client.get("/metrics").text)
        assert before == 2
        save_bundle(feeds.bundle(), tmp_path / "2")
        server.change("POST", "/v1/models/feed/reload")
        assert passes(server.client.get("/metrics").text) == before + 2


def test_what_cannot_be_ranked_beforehand_serves_all_the_same(tmp_path: Path) -> None:
    model, _ = parse_value_model(BY_CONTEXT, where="test")
    save_bundle(feeds.bundle().with_value_model(model), tmp_path / "bundle")
    with running({"feed": tmp_path / "bundle"}) as server:
        assert passes(server.client.get("/metrics").text) == 0
        body = {"candidates": [1], "context": {"nowhere": "x"}}
        assert len(server.rank(body)["candidates"]) == 1
