"""What every store has to do, whatever it keeps its rows in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyrank.errors import DataError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features import FeatureStore, StoreSettings
from tests.serving.features import world
from tests.serving.features.stores import MAKERS, opened

SOON = 30.0
MANY = settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def test_every_kind_of_store_is_here() -> None:
    kinds = {kind.model_fields["kind"].annotation for kind in get_args(get_args(StoreSettings)[0])}
    assert {get_args(kind)[0] for kind in kinds} == set(MAKERS)


@dataclass
class Stores:
    of: dict[str, FeatureStore]


@pytest.fixture(scope="module", params=MAKERS)
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    where = MAKERS[request.param](request, tmp_path_factory.mktemp("store"))
    found = Stores({name: opened(where, name) for name in world.tables()})
    yield found
    for store in found.of.values():
        store.close()
        store.close()


def _fetch(store: FeatureStore, ids: Any) -> pa.Table:
    found = store.fetch(ids, Deadline.within(SOON))
    assert found.degraded is None
    assert found.table.num_rows == len(ids) == len(found.known_N)
    return found.table


@MANY
@given(data=st.data(), name=st.sampled_from(["users", "items"]))
def test_rows_come_in_the_order_of_ids_and_null_where_unknown(
    stores: Stores, data: st.DataObject, name: str
) -> None:
    pool = [*world.IDS[name], *world.ABSENT[name], None]
    ids = data.draw(st.lists(st.sampled_from(pool), max_size=40))
    found = stores.of[name].fetch(ids, Deadline.within(SOON))
    assert found.table.schema.equals(world.codec(name).schema)
    assert world.same(found.table, world.expected(name, ids))
    assert found.known_N.tolist() == [id_ in world.IDS[name] for id_ in ids]
    assert found.degraded is None


@MANY
@given(data=st.data())
def test_ids_are_compared_byte_for_byte(stores: Stores, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(max_size=6), max_size=20))
    known = stores.of["users"].fetch(texts, Deadline.within(SOON)).known_N
    assert known.tolist() == [text in world.USER_IDS for text in texts]
    numbers = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
    known = stores.of["items"].fetch(numbers, Deadline.within(SOON)).known_N
    assert known.tolist() == [number in world.ITEM_IDS for number in numbers]


def test_nan_is_not_null(stores: Stores) -> None:
    assert np.isnan(_fetch(stores.of["users"], [" a"])["age"][0].as_py())
    assert _fetch(stores.of["users"], [""])["age"].to_pylist() == [None]


@pytest.mark.parametrize("name", ["users", "items"])
def test_arrays_are_ids_too(stores: Stores, name: str) -> None:
    ids = world.IDS[name]
    wanted = world.expected(name, ids)
    assert world.same(_fetch(stores.of[name], pa.array(ids)), wanted)
    assert world.same(_fetch(stores.of[name], pa.chunked_array([ids[:3], ids[3:]])), wanted)
    assert world.same(_fetch(stores.of[name], pa.array(ids).dictionary_encode()), wanted)


def test_narrow_and_unsigned_numbers_are_the_same_ids(stores: Stores) -> None:
    for dtype in (pa.int8(), pa.uint64()):
        found = _fetch(stores.of["items"], pa.array([7, None, 100], dtype))
        assert world.same(found, world.expected("items", [7, None, 100]))


@pytest.mark.parametrize("name", ["users", "items"])
@pytest.mark.parametrize("ids", [[], [None], [None, None]])
def test_no_ids_are_no_rows_and_no_question(stores: Stores, name: str, ids: list[None]) -> None:
    before = stores.of[name].counts
    assert world.same(_fetch(stores.of[name], ids), world.expected(name, ids))
    assert stores.of[name].counts.unknown == before.unknown


@pytest.mark.parametrize(
    ("name", "ids", "told"),
    [
        ("users", [1], "the ids are int64: no row would be found. Its key is text"),
        ("users", ["a", 1], "another kind"),
        ("users", ["\ud800"], "out of range"),
        ("users", [b"a"], "binary"),
        ("items", ["7"], "no row would be found. Its key is whole numbers within int64"),
        ("items", [7.0], "double"),
        ("items", [True], "bool"),
        ("items", [2**63], "of range"),
        ("items", [2**64], "out of range"),
        ("items", [-(2**63) - 1], "out of range"),
        ("items", pa.array([2**63], pa.uint64()), "out of range"),
    ],
)
def test_ids_of_another_kind_are_refused(
    stores: Stores, name: str, ids: list[Any], told: str
) -> None:
    with pytest.raises(DataError, match=told) as caught:
        stores.of[name].fetch(ids, Deadline.within(SOON))
    assert str(caught.value).startswith(f"ids of table {name!r}: ")
    assert _fetch(stores.of[name], world.IDS[name]).num_rows  # and it answers as before


def test_hits_and_unknown_ids_are_counted(stores: Stores) -> None:
    store = stores.of["items"]
    before = store.counts
    _fetch(store, [7, 7, 1, None, 10])
    after = store.counts
    assert (after.calls - before.calls, after.degraded) == (1, 0)
    assert (after.hits - before.hits, after.unknown - before.unknown) == (3, 1)


def test_many_ids_in_one_call(stores: Stores) -> None:
    ids = [*range(200, 12_200), *world.ITEM_IDS]
    found = stores.of["items"].fetch(ids, Deadline.within(SOON))
    assert found.degraded is None
    assert np.flatnonzero(found.known_N).tolist() == list(range(12_000, len(ids)))
    assert world.same(found.table.slice(12_000), world.expected("items", world.ITEM_IDS))


def test_many_threads_get_each_their_own_rows(stores: Stores) -> None:
    faults: list[str] = []

    def ask(seed: int) -> None:
        order = np.random.default_rng(seed)
        for _ in range(6):
            for name in ("users", "items"):
                ids = order.permutation(np.array(world.IDS[name], object)).tolist()
                if not world.same(_fetch(stores.of[name], ids), world.expected(name, ids)):
                    faults.append(name)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_no_secret_is_told(stores: Stores) -> None:
    told = repr([store.describe() for store in stores.of.values()])
    assert "kind" in told
    assert "sesame" not in told
