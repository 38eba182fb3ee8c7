"""Fitted encoders and a further log: what is known stays, what is new stands behind it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data import Encoders
from polyrank.errors import DataError
from polyrank.schema import (
    Binary,
    Categorical,
    Keys,
    Maturity,
    Numeric,
    Regression,
    Schema,
    Sequence,
)
from polyrank.training.extension.differences import _task_faults

TASK = Binary(name="y")


def schema_of(*features: Any, tasks: tuple[Any, ...] = (TASK,)) -> Schema:
    return Schema(features=features, tasks=tasks)


def table(**columns: Any) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"y": [float(row % 2) for row in range(rows)], **columns})


IDS = st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(IDS, IDS, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 8)))
def test_known_ids_keep_their_rows_and_new_ones_stand_behind(
    old: list[int | None], new: list[int | None], least: int, most: int | None
) -> None:
    feature = Categorical(name="id", min_frequency=least, max_size=most)
    schema = schema_of(feature, Numeric(name="x"))
    x = {"x": [float(place) for place in range(len(old))]}
    first = Encoders.fit(schema, [table(id=pa.array(old, pa.int64()), **x)])
    y = {"x": [5.0 for _ in new]}
    second = first.extended(schema, [table(id=pa.array(new, pa.int64()), **y)])
    counts = {one: new.count(one) for one in range(10)}
    known = {one for one in range(10) if old.count(one) >= least} if most is None else None
    every = table(id=pa.array([None, *range(10)], pa.int64()), x=[1.0] * 11)
    before = first.encode(every, labels=False).ids_BF[:, 0].numpy()
    after = second.encode(every, labels=False).ids_BF[:, 0].numpy()
    rows = second.rows_before(first)
    kept = before != 1
    assert (after[kept] == before[kept]).all()
    assert (rows[after] == before).all()
    size = len(second.rows["id"]) - 2
    assert most is None or size <= max(most, len(first.rows["id"]) - 2)
    if known is not None:
        fresh = {one for one in range(10) if counts[one] >= least} - known
        assert {one for one in range(10) if after[one + 1] != 1} == known | fresh
    assert (
        first.encode(every, labels=False).numeric_BN
        == second.encode(every, labels=False).numeric_BN
    ).all()


def test_a_vocabulary_grows_to_its_largest_size_and_no_further() -> None:
    schema = schema_of(Categorical(name="id", min_frequency=1, max_size=3))
    first = Encoders.fit(schema, [table(id=["a", "b"])])
    second = first.extended(schema, [table(id=["d", "c", "d", "e", "e"])])
    every = pa.table({"id": ["a", "b", "c", "d", "e"]})
    assert second.encode(every, labels=False).ids_BF.flatten().tolist() == [2, 3, 1, 4, 1]


def test_without_growth_new_ids_stay_unknown() -> None:
    schema = schema_of(Categorical(name="id", min_frequency=1))
    first = Encoders.fit(schema, [table(id=["a", "b"])])
    second = first.extended(schema, [table(id=["b", "c"])], grow=False)
    assert second.state()[0] == first.state()[0]
    assert second.encode(pa.table({"id": ["c"]}), labels=False).ids_BF.tolist() == [[1]]


def test_rows_of_features_behind_a_grown_one_move_with_it() -> None:
    features = (
        Categorical(name="id", min_frequency=1),
        Sequence(name="past", shares="id"),
        Numeric(name="x", scaling="bins", num_bins=2),
        Categorical(name="place", buckets=3),
    )
    schema = schema_of(*features)
    rest = {"past": [["a"], ["b"]], "x": [1.0, 2.0], "place": ["p", "q"]}
    first = Encoders.fit(schema, [table(id=["a", "b"], **rest)])
    second = first.extended(schema, [table(id=["c", "d"], **rest)], seed=7)
    rows = second.rows_before(first)
    assert len(rows) == second.layout.num_rows == first.layout.num_rows + 2
    before, after = (one.encode(table(id=["a", "b"], **rest)) for one in (first, second))
    assert (rows[after.ids_BF.numpy()] == before.ids_BF.numpy()).all()
    values = after.ragged["past"].values_V.numpy()
    assert (rows[values] == before.ragged["past"].values_V.numpy()).all()
    assert rows[list(second.rows["id"])[4:]].tolist() == [1, 1]


def test_a_vocabulary_that_was_empty_takes_its_first_ids() -> None:
    schema = schema_of(Categorical(name="id", min_frequency=1), Categorical(name="b", buckets=3))
    nothing = table(id=pa.nulls(2), b=pa.nulls(2))
    first = Encoders.fit(schema, [nothing])
    second = first.extended(schema, [table(id=[4, 4], b=["p", "q"])])
    assert second.encode(pa.table({"id": [4], "b": ["p"]}), labels=False).ids_BF[0, 0] == 2
    third = second.extended(schema, [nothing])
    assert third.fingerprint() == second.fingerprint()


@pytest.mark.parametrize("buckets", [None, 3])
def test_ids_of_another_kind_are_refused(buckets: int | None) -> None:
    schema = schema_of(Categorical(name="id", min_frequency=1, buckets=buckets))
    first = Encoders.fit(schema, [table(id=[1, 2])])
    with pytest.raises(DataError, match="ids are of type string, but of type int") as caught:
        first.extended(schema, [table(id=["a", "b"])])
    assert "feature 'id', column 'id'" in str(caught.value)


def test_known_tasks_keep_their_moments_and_new_ones_have_those_of_the_further_log() -> None:
    feature = Categorical(name="id", min_frequency=1)
    old = schema_of(feature, tasks=(Regression(name="a"),))
    new = schema_of(feature, tasks=(Regression(name="b"), Regression(name="a")))
    first = Encoders.fit(old, [table(id=[1, 1], a=[1.0, 3.0])])
    second = first.extended(new, [table(id=[1, 1], a=[10.0, 30.0], b=[5.0, 5.0])])
    assert second.layout.targets["a"] == first.layout.targets["a"]
    assert second.layout.targets["b"].mean == 5.0
    assert second.layout.tasks == ("b", "a")


def test_extended_encoders_are_saved_and_loaded_as_any() -> None:
    schema = schema_of(Categorical(name="id", min_frequency=1), Numeric(name="x"))
    first = Encoders.fit(schema, [table(id=["a"], x=[1.0])])
    second = first.extended(schema, [table(id=["b", "c"], x=[None, 9.0])])
    again = Encoders.from_state(schema, *second.state())
    assert again.fingerprint() == second.fingerprint() != first.fingerprint()
    rows = pa.table({"id": ["c", "a"], "x": [4.0, 1.0]})
    ids = [one.encode(rows, labels=False).ids_BF for one in (again, second)]
    assert torch.equal(*ids)


def test_how_old_rows_are_is_told_of_the_further_log() -> None:
    def late(until: int) -> Schema:
        window = Maturity(window=10, event_time="came", observed_until=until)
        task = Binary(name="y", maturity=window)
        return Schema(features=(Numeric(name="x"),), tasks=(task,), keys=Keys(time="t"))

    def rows(times: list[int]) -> pa.Table:
        came = [time if place % 2 else None for place, time in enumerate(times)]
        return table(t=times, x=[1.0] * len(times), came=pa.array(came, pa.int64()))

    first = Encoders.fit(late(40), [rows([0, 10, 20, 30])])
    second = first.extended(late(100), [rows([75, 80, 85, 90])])
    assert first.layout.targets["y"].ages == (1.0, 4.0)
    assert second.layout.targets["y"].ages == (1.0, 2.5)
    assert second.layout.targets["y"].mean == first.layout.targets["y"].mean


def test_when_the_log_was_cut_is_no_meaning_but_the_window_is() -> None:
    def late(**changed: Any) -> Schema:
        tree = {"window": 10, "event_time": "came", "observed_until": 40, **changed}
        task = Binary(name="y", maturity=Maturity(**tree))
        return Schema(features=(Numeric(name="x"),), tasks=(task,), keys=Keys(time="t"))

    assert not list(_task_faults(late(), late(observed_until=100)))
    (fault,) = _task_faults(late(), late(observed_until=100, window=20))
    assert fault.where == "schema.tasks.y.maturity.window"
