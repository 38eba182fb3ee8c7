"""Side tables that are encoded beforehand change no bit and no word.

The oracles: the same ranker over a provider that gives every column itself, and offline scoring, a
row at a time, of what a dictionary has of the ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.bundle import Bundle
from polyrank.schema import Keys
from polyrank.scoring import PREFIX, Scorer
from polyrank.serving.deadline import Deadline
from polyrank.serving.errors import RequestError
from polyrank.serving.features import Provider, StoreSettings, store_settings
from polyrank.serving.ranking import ModelRanker, parse, tables
from tests.serving.features import world
from tests.serving.features.stores import file_settings, filled

Settings = Mapping[str, StoreSettings]


class Plain(Provider):
    """Gives every column itself."""

    def rows_of(self, name: str) -> pa.Table | None:
        """Nothing is in memory."""
        return None


def bundle() -> Bundle:
    """Every kind of feature, from a table of users and one of items."""
    made = world.bundle()
    schema = made.schema.model_copy(update={"keys": Keys(user="user_id", item="item_id")})
    return replace(made, schema=schema)


def opened(kind: type[Provider], where: Settings) -> Provider:
    return kind.open(bundle().schema, world.tables(), where)


def ranker(kind: type[Provider], where: Settings) -> ModelRanker:
    return ModelRanker(Scorer(bundle()), opened(kind, where))


@pytest.fixture(scope="module", params=["memory", "users elsewhere"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelRanker, ModelRanker]]:
    """With rows that are ready, and without."""
    where: Settings = {}
    if request.param != "memory":
        path = tmp_path_factory.mktemp("ready") / "a.sqlite"
        where = {"users": filled(file_settings("sqlite", path))}
    fast, plain = opened(Provider, where), opened(Plain, where)
    yield ModelRanker(Scorer(bundle()), fast), ModelRanker(Scorer(bundle()), plain)
    fast.close()
    plain.close()


def outcome(asked: ModelRanker, body: Mapping[str, Any], context: Sequence[str] = ()) -> Any:
    """All that a request brings about: bits, columns and what was wanting, or the refusal."""
    try:
        found = asked.predict(parse(json.dumps(body).encode()), context, Deadline.never(), {})
    except RequestError as error:
        return error.status, str(error)
    table = found.tables
    rows = [
        {name: part[name].to_pylist() for name in sorted(part.column_names)}
        for part in (table.user, table.rows)
    ]
    return (
        {task: value_N.tobytes() for task, value_N in found.predictions.items()},
        repr({name: value_N.tolist() for name, value_N in found.asked.columns.items()}),
        repr(rows),
        (table.wanting, table.ignored, table.parted),
    )


def known(name: str, id_: Any) -> dict[str, Any]:
    """What a dictionary has of an id; ids split from text are text, as those they share."""
    row = world.expected(name, [None if id_ in world.MISSING else id_])[0]
    if row.get("item_similar") is not None:
        row["item_similar"] = [None if each is None else str(each) for each in row["item_similar"]]
    return row


def offline(body: Mapping[str, Any]) -> list[float]:
    """Every row by itself, with what it brings and, else, what is known of its ids."""
    scorer, user = Scorer(bundle()), body["user"]
    found = []
    for each in body["candidates"]:
        entry = each if isinstance(each, dict) else {"id": each}
        given = {"item_id": entry["id"], **entry.get("features", {})}
        row = {**known("users", user["id"]), **known("items", given["item_id"]), **given}
        row |= {"user_id": user["id"], **user["features"]}
        table = pa.table({name: [value] for name, value in row.items()})
        found.append(scorer.score(table)[PREFIX + "click"][0].as_py())
    return found


USERS = st.sampled_from([*world.USER_IDS, *world.ABSENT["users"], None])
ITEMS = st.sampled_from([*world.ITEM_IDS, *world.ABSENT["items"], None])
OF_USER: Mapping[str, Sequence[Any]] = {
    "age": [3.5, 7, None, True],
    "country": ["DE", "é", "nowhere", None],
    "history": [[7, 10], [], None, [None, 5]],
}
OF_ITEM: Mapping[str, Sequence[Any]] = {
    "item_category": [3, -1, 2**62, None],
    "item_tags": [["a", "t"], [], None, [None]],
    "item_similar": ["1,2", "", None],
    "item_vector": [[1.0, 2.0, 3.0], None],
    "item_quality": [0.25, 9, None],
    "item_id": [7, 100, 55],
}
WRONG: Mapping[str, Sequence[Any]] = {
    "age": ["old", [1]],
    "country": [7, ["DE"], 1.5],
    "history": [["a"], [1.5], "1,2", [[7]]],
    "user_id": [7, 1.5],
    "item_category": ["x", 0.5, [1]],
    "item_tags": [[1], "a", {"a": 1}],
    "item_similar": [[1, 2], 5],
    "item_vector": [[1.0], ["a", "b", "c"], 1.0, [None, 1.0, 2.0]],
    "item_quality": ["x", [0.5], True],
    "item_id": ["seven", 7.5, [7]],
    "nobody_reads": [1],
}
CONTEXTS = st.sampled_from(
    [(), ("item_category",), ("age", "item_quality"), ("country",), ("item_tags",), ("hour",)]
)


def some(values: Mapping[str, Sequence[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of a few of the columns."""
    columns = {name: st.sampled_from(list(found)) for name, found in values.items()}
    return st.lists(st.sampled_from(sorted(columns)), max_size=2).flatmap(
        lambda names: st.fixed_dictionaries({name: columns[name] for name in names})
    )


def entry(item: Any, features: Mapping[str, Any], *, both_ids: bool) -> dict[str, Any]:
    """A candidate, whose id stands in one place or, to be refused, in two."""
    return {"id": None if "item_id" in features and not both_ids else item, "features": features}


@st.composite
def bodies(draw: st.DrawFn, *, wrong: bool) -> dict[str, Any]:
    """A request; all candidates bring a column, or some do."""
    items = draw(st.lists(ITEMS, min_size=1, max_size=4))
    more = WRONG if wrong else {}
    brought = some({**OF_ITEM, **{name: more[name] for name in more if name not in OF_USER}})
    candidates: list[Any] = list(items)
    if draw(st.booleans()):
        same = draw(brought)
        own = [draw(st.none() | brought) for _ in items]
        candidates = [
            item if mine is None else entry(item, same | mine, both_ids=wrong)
            for item, mine in zip(items, own, strict=True)
        ]
    of_user = some({**OF_USER, **{name: more[name] for name in more if name not in OF_ITEM}})
    user = {"id": draw(USERS), "features": draw(of_user)}
    return {"user": user, "candidates": candidates}


@settings(max_examples=20)
@given(body=bodies(wrong=False), context=CONTEXTS)
def test_rows_that_are_ready_have_the_bits_of_the_plain_way_and_of_scoring_offline(
    both: tuple[ModelRanker, ModelRanker], body: dict[str, Any], context: tuple[str, ...]
) -> None:
    fast, plain = (outcome(each, body, context) for each in both)
    assert fast == plain
    if isinstance(fast[0], dict):
        assert np.frombuffer(fast[0]["click"]).tolist() == offline(body)


@settings(max_examples=40)
@given(body=bodies(wrong=True), context=CONTEXTS)
def test_what_is_refused_is_refused_in_the_same_words(
    both: tuple[ModelRanker, ModelRanker], body: dict[str, Any], context: tuple[str, ...]
) -> None:
    fast, plain = (outcome(each, body, context) for each in both)
    assert fast == plain


BODY = {"user": {"id": "a", "features": {}}, "candidates": [7, 10, 7, 1, None]}


def joined(asked: ModelRanker, context: Sequence[str] = ()) -> list[dict[str, frozenset[str]]]:
    """Of user and rows, by side table the columns that are ready."""
    found = asked.predict(parse(json.dumps(BODY).encode()), context, Deadline.never(), {})
    return [
        {name: each.names for name, each in half.joined.items()} for half in found.tables.halves
    ]


OF_USERS = {"age", "country", "history"}
OF_ITEMS = {"item_category", "item_tags", "item_vector", "item_quality"}


def test_what_is_in_memory_and_not_too_large_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ranker(Provider, {})
    assert joined(made) == [{"users": OF_USERS}, {"items": OF_ITEMS}]
    wanted = [{"users": OF_USERS - {"age"}}, {"items": OF_ITEMS - {"item_quality"}}]
    assert joined(made, ("item_quality", "age")) == wanted
    monkeypatch.setattr(tables, "MOST_BYTES", 0)
    assert joined(ranker(Provider, {})) == [{}, {}]
    assert joined(ranker(Plain, {})) == [{}, {}]


def test_an_id_counts_once_a_request_either_way() -> None:
    counts = []
    for kind in (Provider, Plain):
        provider = opened(kind, {})
        outcome(ModelRanker(Scorer(bundle()), provider), BODY)
        counts.append(provider.counts())
    assert counts[0] == counts[1]
    assert (counts[0]["items"].hits, counts[0]["items"].unknown) == (2, 1)


def test_a_table_whose_store_is_down_leaves_the_other_ready() -> None:
    down = {"kind": "redis", "url": "redis://127.0.0.1:1", "timeout_ms": 5000}
    where = {"users": store_settings(down)}
    fast, plain = (outcome(ranker(kind, where), BODY) for kind in (Provider, Plain))
    assert fast == plain
    assert fast[3][0].degraded == {"users": "down"}


def test_many_threads_ask_at_once() -> None:
    asked = ranker(Provider, {})
    users: list[dict[str, Any]] = [{}, {"age": 3}, {"country": "DE"}, {"history": [7]}]
    asks = [
        {"user": {"id": id_, "features": features}, "candidates": [7, 10, 100, at]}
        for at, id_ in enumerate(world.USER_IDS[:3])
        for features in users
    ]
    wanted = [outcome(asked, body) for body in asks]
    fresh = ranker(Provider, {})
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda body: outcome(fresh, body), asks)) == wanted
