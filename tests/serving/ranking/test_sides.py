"""Whose column it is, and where it comes from, changes no answer: it is the offline one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from polyrank.bundle import Bundle, Card, DataDates, describe_tasks
from polyrank.data import Encoders, Reader, load_side_table, open_log
from polyrank.model import ModelConfig, RankingModel, Towers
from polyrank.schema import Binary, Categorical, Feature, Keys, Schema, SideTable
from polyrank.scoring import Order, Scorer
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.features import Provider
from polyrank.serving.ranking import ModelRanker, parse
from polyrank.serving.ranking.ask import MAX_REPEATED
from polyrank.sharing import MMoE

SIZE = 60
KEYS = Keys(user="uid", item="iid")
LOG = pa.table(
    {
        "uid": [place % 7 for place in range(SIZE)],
        "iid": [place % 10 for place in range(SIZE)],
        "hour": [place % 5 for place in range(SIZE)],
        "click": [place % 2 for place in range(SIZE)],
    }
)
TABLES = {
    "users": pa.table({"uid": range(7), "tier": [f"t{place % 3}" for place in range(7)]}),
    "items": pa.table({"iid": range(10), "author": [f"a{place % 4}" for place in range(10)]}),
    "authors": pa.table({"author": [f"a{p}" for p in range(4)], "fame": ["f0", "f1", "f2", "f1"]}),
}
ON = {"users": "uid", "items": "iid", "authors": "author"}


def one(name: str, side: Any, column: str = "") -> Feature:
    return Categorical(name=name, column=column or name, side=side, min_frequency=1)


def made(features: tuple[Feature, ...], tables: tuple[str, ...], keys: Keys) -> Bundle:
    schema = Schema(
        features=features,
        tasks=(Binary(name="click"),),
        keys=keys,
        tables=tuple(SideTable(name=name, on=ON[name]) for name in tables),
    )
    sides = {side.name: load_side_table(TABLES[side.name], side, schema) for side in schema.tables}
    encoders = Encoders.fit(schema, Reader(open_log(LOG), schema, tables=sides).chunks("all"))
    config = ModelConfig(
        embedding_dim=4, sharing=MMoE(num_experts=2, widths=(4,)), towers=Towers(widths=(4,))
    )
    return Bundle(
        schema=schema,
        encoders=encoders,
        model=RankingModel(schema, encoders.layout, config, seed=3).eval(),
        model_config=config,
        tables=sides,
        card=Card(tasks=describe_tasks(schema), data={"train": DataDates(rows=SIZE)}),
    )


def ranked(bundle: Bundle, body: Mapping[str, Any]) -> tuple[list[float], tuple[str, ...]]:
    """Scores in the order asked, and the columns that nobody gave."""
    scorer = Scorer(bundle)
    provider = Provider.open(bundle.schema, bundle.tables, {})
    ask = parse(json.dumps(body).encode())
    found = ModelRanker(scorer, provider).rank(ask, Order.of(bundle), Deadline.never(), {})
    return found.scored.score_N.tolist(), found.predicted.tables.wanting.missing


def offline(bundle: Bundle, rows: Mapping[str, Any]) -> list[float]:
    """One row at a time, so that none can be taken for another."""
    table = pa.table(rows)
    scorer = Scorer(bundle)
    return [scorer.rank(table.slice(at, 1))["score"][0].as_py() for at in range(table.num_rows)]


ITEMS = [3, 4, 9, 3]
WHOLE = {"uid": [5] * 4, "iid": ITEMS, "hour": [2] * 4}
BY_ID = {"user": {"id": 5}, "candidates": ITEMS, "context": {"hour": 2}}
HOUR, TIER = one("hour", "context"), one("tier", "user")
AUTHOR, FAME = one("author", "item"), one("fame", "item")
SIDES: Mapping[str, tuple[tuple[Feature, ...], tuple[str, ...]]] = {
    "of the user and of the context": ((TIER, one("again", "context", "tier"), HOUR), ("users",)),
    "a user's that tells of the item": ((one("tier", "item"), HOUR), ("users",)),
    "an item's that tells of the user": ((one("author", "user"), HOUR), ("items",)),
    "a key that is the item's": ((one("uid", "item"), AUTHOR, HOUR), ("items",)),
    "a table's key from another": ((AUTHOR, FAME, TIER, HOUR), ("users", "items", "authors")),
}


@pytest.mark.parametrize("case", SIDES)
def test_any_side_is_scored_as_offline(case: str) -> None:
    bundle = made(*SIDES[case], KEYS)
    rows = {**WHOLE, "hour": [2, 0, 2, 1]}
    part: list[dict[str, Any]] = [{"id": item} for item in ITEMS]
    part[1]["features"] = {"hour": 0}
    part[3]["features"] = {"hour": 1}
    assert ranked(bundle, BY_ID) == (offline(bundle, WHOLE), ())
    assert ranked(bundle, {**BY_ID, "candidates": part}) == (offline(bundle, rows), ())
    assert ranked(bundle, {**BY_ID, "candidates": []})[0] == []


def test_an_id_among_features_is_of_that_candidate_alone() -> None:
    bundle = made((AUTHOR, FAME, one("iid", "item"), HOUR), ("items", "authors"), KEYS)
    part = [3, {"features": {"iid": 4}}, 9, {"features": {"author": "a0", "iid": 3}}]
    rows = {**WHOLE, "author": ["a3", "a0", "a1", "a0"]}
    assert ranked(bundle, {**BY_ID, "candidates": part}) == (offline(bundle, rows), ())


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": [{"id": 7, "features": {"iid": 3}}, 4]},
        {"context": {"hour": 2, "iid": 3}},
        {"context": {"hour": 2, "iid": 3}, "candidates": [{"features": {"iid": 4}}, {"id": 7}]},
        {"user": {"id": 5, "features": {"uid": 6}}},
        {"context": {"hour": 2, "uid": 6}},
    ],
)
def test_an_id_that_stands_twice_is_refused(odd: Mapping[str, Any]) -> None:
    bundle = made((AUTHOR, one("iid", "item"), one("uid", "user"), HOUR), ("items",), KEYS)
    with pytest.raises(RequestError, match=r"'.id' is given beside .* leave one out") as told:
        ranked(bundle, {**BY_ID, **odd})
    assert told.value.status == 400


def test_what_holds_for_all_candidates_is_bounded() -> None:
    """10,000 times a text of 100 kB froze the process for 11 s, and took a gigabyte."""
    bundle = made((AUTHOR, HOUR, TIER), ("users", "items"), KEYS)
    text = "x" * (MAX_REPEATED // 100)
    told = {
        "context": {"author": text[2:], "hour": 1, "unread": text},
        "user": {"features": {"tier": text}},
    }
    assert len(ranked(bundle, {**BY_ID, **told, "candidates": [3] * 100})[0]) == 100
    for more in (text + "x", [text], {text: 1}):
        with pytest.raises(RequestError, match="and 8,000,000 in all are the most") as refused:
            ranked(bundle, {**BY_ID, "context": {"author": more}, "candidates": [3] * 100})
        assert refused.value.status == 413


def test_candidates_of_which_nothing_is_read_are_scored_alike() -> None:
    bundle = made((one("tier", "user", "uid"), HOUR), (), Keys())
    body = {"user": {"features": {"uid": 1}}, "candidates": [1, 2]}
    scores = offline(bundle, {"uid": [1] * 2, "hour": pa.nulls(2, pa.int64())})
    assert ranked(bundle, body) == (scores, ("hour",))
