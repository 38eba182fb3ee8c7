"""Profiles: what is counted, how sure the counts are, and that a bundle keeps its own."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.bundle import Distribution, Profile, Rate, load_bundle, save_bundle
from polyrank.data import Reader, open_log
from polyrank.errors import ConfigError
from polyrank.schema import Bag, Binary, Categorical, Embedding, Numeric, Schema, Sequence
from polyrank.scoring import Scorer
from polyrank.scoring.profiles import (
    NUM_GROUPS,
    Columns,
    Thinned,
    Values,
    counted_by,
    distribution_of,
    group_of,
    profile_of,
    profile_rows,
)
from polyrank.scoring.profiles.counting import effective_size
from tests.monitoring import worlds


def of_numbers(value_N: list[float]) -> tuple[Values, pa.Table]:
    present = [place for place, value in enumerate(value_N) if value == value]
    values = Values(
        name="x",
        part="input",
        kind="number",
        value_K=np.array(value_N, dtype=np.float64)[present],
        row_K=np.array(present, dtype=np.int64),
        missing_N=np.isnan(np.array(value_N, dtype=np.float64)),
    )
    return values, pa.table({"user": range(len(value_N))})


@given(st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=1, max_size=80))
def test_every_value_is_in_one_bin(value_N: list[float]) -> None:
    values, table = of_numbers(value_N)
    found = distribution_of(values, group_of(table, Columns("user", None)))
    assert found.total == len(values.value_K)
    assert found.missing.count == len(value_N) - found.total
    for place, value in enumerate(found.edges):
        below = found.edges[place - 1] if place else -np.inf
        inside = (values.value_K > below) & (values.value_K <= value)
        assert inside.sum() == found.counts[place] > 0
    assert found.counts[-1] == 0, "nothing lies above the largest value"
    again = counted_by(found, values, group_of(table, Columns("user", None)))
    assert again == found


def test_deciles_are_about_equally_full() -> None:
    values, table = of_numbers(np.random.default_rng(0).normal(size=1000).tolist())
    found = distribution_of(values, group_of(table, Columns(None, None)))
    assert found.counts == (100,) * 10 + (0,)
    assert found.effective == pytest.approx(1000, rel=0.25)


def test_every_kind_of_feature() -> None:
    schema = Schema(
        features=(
            Categorical(name="shop"),
            Numeric(name="price"),
            Bag(name="tags", separator=","),
            Sequence(name="seen", shares="shop"),
            Embedding(name="vector", dim=2),
            Embedding(name="nothing", dim=2),
            Numeric(name="absent"),
        ),
        tasks=(Binary(name="click"),),
    )
    vectors = pa.array([[3.0, 4.0], None, [0.0, 0.0]], pa.list_(pa.float32(), 2))
    rows = pa.table(
        {
            "shop": [7, 7, None],
            "price": [1.0, None, 3.0],
            "tags": [["a", "b"], ["a"], None],
            "seen": [[7], [], [7, 8, 9]],
            "vector": vectors,
            "nothing": pa.nulls(3),
            "click": [1, 0, 1],
        }
    )
    found = {each.name: each for each in profile_of(rows, schema, on="three").distributions}
    assert set(found) == {
        "shop",
        "price",
        "tags",
        "tags (length)",
        "seen",
        "seen (length)",
        "vector (length)",
        "nothing (length)",
    }
    assert (found["shop"].values, found["shop"].counts) == (("7",), (2, 0))
    assert found["shop"].missing.share == pytest.approx(1 / 3)
    assert (found["price"].edges, found["price"].counts) == ((1.0, 3.0), (1, 1, 0))
    assert (found["tags"].values, found["tags"].counts) == (("a", "b"), (2, 1, 0))
    assert found["tags (length)"].edges == (1.0, 2.0)
    assert found["seen (length)"].edges == (0.0, 1.0, 3.0)
    assert (found["seen"].values, found["seen"].compared) == (("7", "8", "9"), False)
    assert found["vector (length)"].edges == (0.0, 5.0)
    assert found["nothing (length)"].missing.share == 1
    nulls = profile_of(pa.table({"tags": pa.nulls(3)}), schema, on="")
    assert [each.missing.share for each in nulls.distributions] == [1.0, 1.0]


def test_ids_that_the_model_never_saw_are_counted() -> None:
    log = worlds.log(1, 30)
    half = np.where(np.arange(log.num_rows) % 2, log["item"].to_numpy(), 10**9)
    log = log.set_column(log.schema.get_field_index("item"), "item", pa.array(half))
    rows = pa.concat_tables(Reader(open_log(log), worlds.SCHEMA).chunks("all")).combine_chunks()
    found = profile_of(rows, worlds.SCHEMA, on="", encoders=worlds.bundle().encoders)
    (item,) = (each for each in found.distributions if each.name == "item")
    assert item.unseen is not None
    assert item.unseen.count == (log.num_rows + 1) // 2
    (hour,) = (each for each in found.distributions if each.name == "hour")
    assert hour.unseen is None, "it has no vocabulary"


@pytest.mark.parametrize(("alike", "expected"), [(True, 500), (False, 10_000)])
def test_as_sure_as_so_many_independent_rows(alike: bool, expected: int) -> None:
    """500 users of 20 rows each; where those of one are alike they tell as much as one row."""
    random = np.random.default_rng(0)
    user_N = np.repeat(np.arange(500), 20)
    value_N = random.random(500)[user_N] if alike else random.random(10_000)
    values, _ = of_numbers(value_N.tolist())
    table = pa.table({"user": user_N, "row": np.arange(10_000)})
    found = distribution_of(values, group_of(table, Columns("user", None)))
    assert found.effective == pytest.approx(expected, rel=0.2)
    careless = distribution_of(values, group_of(table, Columns(None, "row")))
    assert careless.effective == pytest.approx(10_000, rel=0.2)


def test_what_is_independent() -> None:
    table = pa.table({"user": [1, 1, None, None], "request": ["a", "b", "b", None]})
    by_user = group_of(table, Columns("user", "request"))
    assert (by_user.unit, by_user.units) == ("user", 3), "each null is one by itself"
    assert by_user.group_N[0] == by_user.group_N[1]
    by_request = group_of(table, Columns("none", "request"))
    assert (by_request.unit, by_request.units) == ("request", 3)
    empty = table.set_column(0, "user", pa.nulls(4, pa.int64()))
    assert group_of(empty, Columns("user", "request")).unit == "request"
    assert group_of(table, Columns(None, None)).unit == "row"
    assert group_of(table.slice(0, 0), Columns(None, None)).units == 0


def test_sizes_of_counts_that_tell_nothing() -> None:
    none = np.zeros((NUM_GROUPS, 3), dtype=np.int64)
    assert effective_size(none) == 0
    one_bin = none.copy()
    one_bin[:, 1] = 2
    assert effective_size(one_bin) == 2 * NUM_GROUPS
    one_group = none.copy()
    one_group[0] = [5, 5, 0]
    assert effective_size(one_group) == 1
    equal = none.copy()
    equal[:, :2] = 1
    assert effective_size(equal) == 2 * NUM_GROUPS, "never more than there are"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 60))
def test_a_sample_is_of_the_size_asked_for_and_in_order(sizes: list[int], most: int) -> None:
    total, sample = sum(sizes), Thinned(most)
    table = pa.table({"row": range(total)})
    starts = np.cumsum([0, *sizes[:-1]])
    chunks = [table.slice(int(start), size) for start, size in zip(starts, sizes, strict=True)]
    assert [chunk.num_rows for chunk in sample.watch(chunks)] == sizes
    found = sample.table()
    assert found is not None
    rows = found["row"].to_pylist()
    assert len(rows) == min(most, total)
    assert rows == sorted(set(rows))
    assert sample.rows == total


def test_each_row_is_as_likely_to_be_sampled() -> None:
    count_N = np.zeros(40)
    for seed in range(400):
        sample = Thinned(10, seed)
        for start in range(0, 40, 5):
            sample.add(pa.table({"row": range(start, start + 5)}))
        found = sample.table()
        assert found is not None
        count_N[found["row"].to_numpy()] += 1
    assert count_N.sum() == 4000
    assert ((count_N - 100) ** 2).sum() / 75 < 90, "chi-square of 39 degrees"
    assert Thinned(10).table() is None


def test_a_bundle_keeps_its_profile_and_old_ones_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    bundle = worlds.bundle()
    save_bundle(bundle, tmp_path / "new")
    assert load_bundle(tmp_path / "new").profile == bundle.profile
    assert (tmp_path / "new" / "profile.json").stat().st_size < 30_000
    save_bundle(dataclasses.replace(bundle, profile=None), tmp_path / "old")
    assert not (tmp_path / "old" / "profile.json").exists()
    assert load_bundle(tmp_path / "old").profile is None


def test_the_profile_of_a_scorers_rows_has_its_predictions() -> None:
    scorer, sample = Scorer(worlds.bundle()), Thinned(50)
    assert profile_rows(scorer, sample, "none") is None
    reader = Reader(open_log(worlds.log(2, 20)), worlds.SCHEMA)
    for chunk in reader.chunks("all"):
        sample.add(chunk)
    found = profile_rows(scorer, sample, "the validation part")
    assert found is not None
    assert (found.on, found.rows, found.unit) == ("50 rows of the validation part", 50, "user")
    outputs = {each.name: each for each in found.distributions if each.part == "prediction"}
    assert {name: each.total for name, each in outputs.items()} == {"click": 50, "buy": 50}
    left = {each.name for each in found.without_predictions({"buy"}).distributions}
    assert "click" in left
    assert "buy" not in left


@pytest.mark.parametrize(
    ("edges", "counts", "message"),
    [((1.0,), (1,), "1 counts for 1 bounds"), ((1.0, 1.0), (1, 1, 1), "must rise")],
)
def test_distributions_that_cannot_be(
    edges: tuple[float, ...], counts: tuple[int, ...], message: str
) -> None:
    none = Rate(count=0, of=1, effective=1.0)
    with pytest.raises(ConfigError, match=message):
        Distribution(
            name="x",
            part="input",
            kind="number",
            edges=edges,
            counts=counts,
            effective=1.0,
            missing=none,
        )
    assert Profile(on="", rows=0, unit="row", units=0).distributions == ()
