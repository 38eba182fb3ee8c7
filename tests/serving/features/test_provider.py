"""The provider: scoring with its columns is scoring with the offline join, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyrank.data import load_side_table
from polyrank.errors import ArtefactError, ConfigError, DataError
from polyrank.schema import Bag, Binary, Categorical, Schema, SideTable
from polyrank.scoring import PREFIX, Scorer
from polyrank.serving.deadline import Deadline
from polyrank.serving.features import Provider, store_settings
from tests.serving.features import world
from tests.serving.features.stores import MAKERS, file_settings, filled

USERS = st.sampled_from([*world.USER_IDS, *world.ABSENT["users"], None])
ITEMS = st.sampled_from([*world.ITEM_IDS, *world.ABSENT["items"], None])
NEVER = Deadline.never()


@pytest.fixture(scope="module", params=MAKERS)
def provider(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provider]:
    where = MAKERS[request.param](request, tmp_path_factory.mktemp("provider"))
    bundle = world.bundle()
    found = Provider.open(bundle.schema, bundle.tables, dict.fromkeys(bundle.tables, where))
    yield found
    found.close()


def _without_rows() -> Scorer:
    """A scorer whose own join would find nothing."""
    bundle = world.bundle()
    tables = {name: table.slice(0, 0) for name, table in bundle.tables.items()}
    return Scorer(replace(bundle, tables=tables))


def _bits(scored: pa.Table) -> list[int]:
    bits: list[int] = scored[PREFIX + "click"].to_numpy().view(np.int64).tolist()
    return bits


@st.composite
def _requests(draw: st.DrawFn) -> pa.Table:
    """Candidates of one user, or of any; some all null, some with narrow numbers."""
    items = draw(st.lists(ITEMS, min_size=1, max_size=30))
    size = len(items)
    users = draw(st.lists(USERS, min_size=size, max_size=size) | USERS.map(lambda u: [u] * size))
    narrow = all(item is None or abs(item) < 128 for item in items)
    kind = draw(st.sampled_from([pa.int64(), pa.int8() if narrow else pa.int64()]))
    text = draw(st.sampled_from([pa.string(), pa.large_string()]))
    return pa.table({"user_id": pa.array(users, text), "item_id": pa.array(items, kind)})


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(request=_requests())
def test_scoring_with_its_columns_is_scoring_with_the_offline_join(
    provider: Provider, request: pa.Table
) -> None:
    offline = Scorer(world.bundle()).score(request)
    completed = provider.complete(request, NEVER)
    assert _bits(_without_rows().score(completed.table)) == _bits(offline)
    assert completed.degraded == {}
    for side in world.schema().tables:
        ids = request[side.on].to_pylist()
        known = [id_ in world.IDS[side.name] and id_ not in world.MISSING for id_ in ids]
        assert completed.known[side.name].tolist() == known


def test_the_law_can_fail(provider: Provider) -> None:
    """The columns matter: other rows of the same tables give other bits."""
    request = pa.table({"user_id": ["a", "A"], "item_id": [7, 10]})
    table = provider.complete(request, NEVER).table
    swapped = pa.table(
        {
            name: column if name in request.column_names else column.take(pa.array([1, 0]))
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    assert _bits(_without_rows().score(swapped)) != _bits(_without_rows().score(table))


def test_a_value_that_stands_for_missing_is_no_id(provider: Provider) -> None:
    """Though the side table has such a key: as in the offline join."""
    request = pa.table({"user_id": ["nobody", "a"], "item_id": [7, -124]})
    found = provider.complete(request, NEVER)
    assert found.known["users"].tolist() == [False, True]
    assert found.known["items"].tolist() == [True, False]
    offline = Scorer(world.bundle()).score(request)
    assert _bits(_without_rows().score(found.table)) == _bits(offline)


def test_one_side_table_by_itself(provider: Provider) -> None:
    """A request's user, once for all its candidates."""
    request = pa.table({"user_id": ["a"]})
    found = provider.complete(request, NEVER, tables=["users"])
    assert list(found.known) == ["users"]
    assert found.table.column_names == ["user_id", "age", "country", "history"]


def test_an_id_is_asked_once_a_request(provider: Provider) -> None:
    before = provider.counts()
    request = pa.table({"user_id": ["a"] * 50, "item_id": [7, 1] * 25})
    provider.complete(request, NEVER)
    after = provider.counts()
    assert after["users"].hits - before["users"].hits == 1
    assert after["items"].hits - before["items"].hits == 1
    assert after["items"].unknown - before["items"].unknown == 1
    assert {told["kind"] for told in provider.describe().values()} <= set(MAKERS)


def test_columns_that_are_given_stay_and_a_table_all_of_whose_are_is_not_asked(
    provider: Provider,
) -> None:
    before = provider.counts()["users"].calls
    request = pa.table({"user_id": ["a"], "item_id": [7], "item_quality": [99.0]})
    found = provider.complete(request, NEVER).table
    assert found["item_quality"].to_pylist() == [99.0]
    assert found["item_vector"].null_count == 0
    again = provider.complete(found, NEVER)
    assert again.table is found
    assert again.known == {}
    bare = found.drop_columns(["user_id"])
    assert provider.complete(bare, NEVER).table is bare
    assert provider.counts()["users"].calls == before + 1


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"item_id": [7]}, "candidates: lacks column 'user_id' (key of table 'users')"),
        (
            {"user_id": [7], "item_id": [7]},
            "column 'user_id' is int64, and the key 'id' of table 'users' is large_string: no row "
            "would be found. Give both the same type.",
        ),
        ({"user_id": [[7]], "item_id": [7]}, "column 'user_id' is list<item: int64>, and an id is"),
    ],
)
def test_a_request_without_fitting_ids(
    provider: Provider, request_: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError) as caught:
        provider.complete(pa.table(request_), NEVER)
    assert str(caught.value).startswith(told)


def test_what_is_no_id_is_null_and_its_row_refused_as_offline(provider: Provider) -> None:
    request = pa.table({"user_id": ["a", "a"], "item_id": [7.0, 7.5]})
    completed = provider.complete(request, NEVER)
    assert completed.known["items"].tolist() == [True, False]
    for scorer, table in ((Scorer(world.bundle()), request), (_without_rows(), completed.table)):
        with pytest.raises(DataError, match="whole numbers"):
            scorer.score(table)


def test_a_store_that_is_down_leaves_the_others_alone(tmp_path: Path) -> None:
    bundle = world.bundle()
    where = filled(file_settings("sqlite", tmp_path / "a.sqlite"))
    users = store_settings({"kind": "redis", "url": "redis://127.0.0.1:1", "timeout_ms": 5000})
    provider = Provider.open(bundle.schema, bundle.tables, {"users": users, "items": where})
    request = pa.table({"user_id": ["a", None], "item_id": [7, 10]})
    found = provider.complete(request, Deadline.within(30))
    assert dict(found.degraded) == {"users": "down"}
    assert found.known["users"].tolist() == [False, False]
    assert found.known["items"].tolist() == [True, True]
    unknown = request.set_column(0, "user_id", pa.array(["b", None]))
    finite = _without_rows().score(found.table)
    assert np.isfinite(finite[PREFIX + "click"].to_numpy()).all()
    joined = Scorer(bundle).score(unknown)
    assert abs(finite[PREFIX + "click"][1].as_py() - joined[PREFIX + "click"][1].as_py()) == 0
    late = provider.complete(request, Deadline.within(0))
    assert dict(late.degraded) == {"users": "deadline", "items": "deadline"}
    provider.close()


def test_what_does_not_fit_the_bundle_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    bundle = world.bundle()
    where = filled(file_settings("lmdb", tmp_path / "a.lmdb"))
    with pytest.raises(ConfigError, match="no side table 'item'. Did you mean 'items'"):
        Provider.open(bundle.schema, bundle.tables, {"item": where})
    gone = file_settings("sqlite", tmp_path / "gone.sqlite")
    with pytest.raises(ArtefactError, match="gone"):
        Provider.open(bundle.schema, bundle.tables, {"users": where, "items": gone})


def test_ids_split_from_text_are_text_where_those_they_share_are() -> None:
    """As the offline join reads them, whatever the side table holds."""
    schema = Schema(
        features=(
            Categorical(name="item_id", min_frequency=1),
            Bag(name="similar", shares="item_id", separator=","),
        ),
        tasks=(Binary(name="click"),),
        tables=(SideTable(name="items", on="user_id"),),
    )
    side = schema.tables[0]
    table = load_side_table(pa.table({"user_id": [1], "similar": ["7,8"]}), side, schema)
    assert table["similar"].to_pylist() == [[7, 8]]
    both = schema.model_copy(update={"tables": (side, SideTable(name="texts", on="item_id"))})
    texts = pa.table({"item_id": pa.array(["7"], pa.large_string())})
    found = Provider.open(both, {"items": table, "texts": texts}, {})
    request = pa.table({"user_id": [1]})
    similar = found.complete(request, NEVER, tables=["items"]).table["similar"].to_pylist()
    assert similar == [["7", "8"]]  # the request has no item to tell
    provider = Provider.open(schema, {"items": table}, {})
    for item, wanted in (("7", [["7", "8"], None]), (7, [[7, 8], None])):
        request = pa.table({"user_id": [1, 2], "item_id": [item, item]})
        found = provider.complete(request, NEVER).table
        assert found["similar"].to_pylist() == wanted


def test_a_side_table_may_be_joined_on_a_column_of_another() -> None:
    schema = Schema(
        features=(Categorical(name="author_id"), Categorical(name="country")),
        tasks=(Binary(name="click"),),
        tables=(
            SideTable(name="items", on="item_id"),
            SideTable(name="authors", on="author_id"),
        ),
    )
    given = {
        "items": pa.table({"item_id": [1, 2], "author_id": ["x", None]}),
        "authors": pa.table({"author_id": ["x"], "country": ["FR"]}),
    }
    tables = {side.name: load_side_table(given[side.name], side, schema) for side in schema.tables}
    found = Provider.open(schema, tables, {}).complete(pa.table({"item_id": [1, 2, 3]}), NEVER)
    assert found.table["country"].to_pylist() == ["FR", None, None]
    assert found.known["authors"].tolist() == [True, False, False]
