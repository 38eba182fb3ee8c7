"""A second version beside the one that answers: in its shadow, as a canary, promoted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from polyrank.bundle import Bundle, save_bundle
from polyrank.fusion import parse_value_model
from polyrank.model import RankingModel
from polyrank.scoring import Order, Scorer
from polyrank.serving.models import DEFAULT, Catalog, Served
from polyrank.serving.models.shadowing import MAX_ERRORS
from tests import feeds
from tests.scoring.engines import broken
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


def test_what_a_model_says_of_itself_names_all_versions(server: Server) -> None:
    assert server.ask("GET", "/v2/models/feed")["versions"] == ["1", "2"]
    assert server.ask("GET", "/v2/models/feed/versions/2")["versions"] == ["2"]


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


Maker = Callable[[Bundle], Scorer]


def reads_more(bundle: Bundle) -> Scorer:
    """A value model that reads what no request brings: each is refused."""
    weights = {"kind": "weighted_sum", "terms": {"click": 1}}
    tree = {"kind": "by_context", "column": "page", "values": {"home": weights}, "default": weights}
    return Scorer(bundle.with_value_model(parse_value_model(tree, where="test")[0]))


@contextmanager
def damaged(made: Maker) -> Iterator[None]:
    """Version 2 goes wrong after it was let in; whole again afterwards."""
    whole = Catalog.take
    with pytest.MonkeyPatch.context() as patch:
        broken: dict[int, Scorer] = {}

        def take(self: Catalog, model: str, version: str | None = None, **more: Any) -> Served:
            found = whole(self, model, version, **more)
            if found.version == "2" and id(found) not in broken:
                broken[id(found)] = scorer = made(found.bundle)
                patch.setitem(vars(found), "scorer", scorer)
                patch.setitem(vars(found), "profiles", {DEFAULT: Order.of(scorer.bundle)})
            return found

        patch.setattr(Catalog, "take", take)
        yield


def ranked(server: Server) -> str:
    return str(server.rank(ASKED)["version"])


def inferred(server: Server) -> str:
    tensor = {"name": "item_id", "datatype": "INT64", "shape": [2], "data": [5, 6]}
    answer = server.ask("POST", "/v2/models/feed/infer", {"inputs": [tensor]})
    return str(answer["model_version"])


def shadow_of(server: Server) -> Any:
    return server.change("GET", "/v1/models/feed/status")["shadow"]


@pytest.mark.parametrize(
    ("made", "asked", "kind"),
    [
        (broken.cut, ranked, "IndexError"),
        (broken.out_of_bounds, ranked, "InvalidArgument"),
        (broken.out_of_bounds, inferred, "InvalidArgument"),
        (broken.not_finite, ranked, "RequestError"),
        (broken.not_finite, inferred, "RequestError"),
        (reads_more, ranked, "RequestError"),
    ],
)
def test_where_a_canary_fails_the_first_version_answers(
    server: Server, made: Maker, asked: Callable[[Server], str], kind: str
) -> None:
    """In whichever way it fails and is asked; each failure counts once."""
    canary = {"version": "2", "share": 1.0, "mode": "canary"}
    server.change("PUT", "/v1/models/feed/shadow", canary)
    assert asked(server) == "2"
    compared(server, 1 if asked is ranked else 0)
    with damaged(made):
        assert [asked(server) for _ in range(MAX_ERRORS - 1)] == ["1"] * (MAX_ERRORS - 1)
        threading.Event().wait(0.05)  # for what would be compared, and fail again
        told = shadow_of(server)
        assert (told["errors"], told["halted"]) == ({kind: MAX_ERRORS - 1}, False)
        assert asked(server) == "1"
        assert shadow_of(server)["halted"]
        assert asked(server) == "1"
        if asked is ranked:  # who names the version gets what it gives
            server.rank({**ASKED, "version": "2"}, 400 if made is reads_more else 500)
    server.change("DELETE", "/v1/models/feed/shadow")


def test_what_both_versions_refuse_is_the_requests_fault(server: Server) -> None:
    canary = {"version": "2", "share": 1.0, "mode": "canary"}
    server.change("PUT", "/v1/models/feed/shadow", canary)
    assert "no profile" in server.rank({**ASKED, "profile": "nowhere"}, 400)["error"]
    assert shadow_of(server)["errors"] == {}
    server.change("DELETE", "/v1/models/feed/shadow")


def test_a_shadow_that_failed_is_compared_again(server: Server) -> None:
    server.change("PUT", "/v1/models/feed/shadow", {"version": "2", "share": 1.0})
    for made, errors in ((broken.out_of_bounds, 1), (broken.not_finite, 2)):
        with damaged(made):
            server.ask("GET", "/v2/models/feed/versions/2")  # which takes it
            assert server.rank(ASKED)["version"] == "1"
            for _ in range(400):
                if sum(shadow_of(server)["errors"].values()) == errors:
                    break
                threading.Event().wait(0.01)
    server.rank(ASKED)
    assert compared(server, 1)["errors"] == {"InvalidArgument": 1, "not finite": 1}
    server.change("DELETE", "/v1/models/feed/shadow")
