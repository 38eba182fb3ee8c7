"""A second version beside the one that answers: in its shadow, as a canary, promoted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from polyrank.bundle import Bundle, save_bundle
from polyrank.model import RankingModel
from polyrank.scoring import Scorer
from polyrank.serving.models import Catalog, Served
from tests import feeds
from tests.serving.server import Server, running

ASKED = {"candidates": [{"id": place, "features": {"hour": place % 24}} for place in range(20)]}


def other() -> Bundle:
    """The bundle with other weights."""
    bundle = feeds.bundle()
    model = RankingModel(bundle.schema, bundle.encoders.layout, feeds.MODEL, seed=2).eval()
    return replace(bundle, model=model)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("versions") / "feed"
    save_bundle(feeds.bundle(), folder / "1")
    save_bundle(other(), folder / "2")
    with running({"feed": folder}) as found:
        found.change("POST", "/v1/models/feed/pin", {"version": "1"})
        yield found


def compared(server: Server, least: int) -> Any:
    """The comparison, once it has seen so many requests."""
    for _ in range(400):
        told = server.change("GET", "/v1/models/feed/status")["shadow"]
        if told["score_correlation"]["count"] >= least:
            return told
        threading.Event().wait(0.025)
    raise AssertionError("nothing was compared")


def test_a_shadow_is_compared_and_answers_nothing(server: Server) -> None:
    asked = {"version": "2", "share": 1.0}
    server.change("PUT", "/v1/models/feed/shadow", asked)
    for _ in range(5):
        assert server.rank(ASKED)["version"] == "1"
    told = compared(server, 5)
    assert told["mode"] == "shadow"
    assert told["second"] == "2"
    server.change("DELETE", "/v1/models/feed/shadow")
    assert server.change("GET", "/v1/models/feed/status")["shadow"] is None


def test_a_canary_answers_its_share_and_the_same_requests(server: Server) -> None:
    server.change("PUT", "/v1/models/feed/shadow", {"version": "2", "share": 0.5, "mode": "canary"})
    seen = {}
    for number in range(40):
        headers = {"x-request-id": f"request-{number}"}
        seen[number] = server.ask("POST", "/v1/rank", ASKED, headers=headers)["version"]
    assert set(seen.values()) == {"1", "2"}
    assert 8 <= list(seen.values()).count("2") <= 32
    for number, version in seen.items():
        headers = {"x-request-id": f"request-{number}"}
        assert server.ask("POST", "/v1/rank", ASKED, headers=headers)["version"] == version
    server.change("POST", "/v1/models/feed/promote")
    assert server.rank(ASKED)["version"] == "2"
    server.change("POST", "/v1/models/feed/pin", {"version": "1"})


class Broken:
    """An engine that has lost its memory."""

    name, precision = "eager", "fp32"

    def predict(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no memory")


def test_where_a_canary_fails_the_first_version_answers(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.change("PUT", "/v1/models/feed/shadow", {"version": "2", "share": 1.0, "mode": "canary"})
    whole = Catalog.take
    broken = Scorer(other(), engine=Broken())

    def take(self: Catalog, model: str, version: str | None = None, **more: Any) -> Served:
        found = whole(self, model, version, **more)
        if found.version == "2":
            monkeypatch.setitem(vars(found), "scorer", broken)  # frozen, and whole again afterwards
        return found

    monkeypatch.setattr(Catalog, "take", take)
    for _ in range(12):
        assert server.rank(ASKED)["version"] == "1"
    told = server.change("GET", "/v1/models/feed/status")["shadow"]
    assert told["halted"]
    assert told["errors"]["RuntimeError"] >= 10
    server.change("DELETE", "/v1/models/feed/shadow")
