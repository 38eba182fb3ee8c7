"""Examination by EM: against a slow loop, against known truth, and what may not matter.

Shapes: N rows, K positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from polyrank.data import Encoders, Reader, open_log
from polyrank.data.encoding import examination
from polyrank.data.encoding.examination import Counts, ExaminationFit
from polyrank.data.hashing import hash_column
from polyrank.data.layout import ExaminationCurve
from polyrank.data.validate import validate_log
from polyrank.errors import ArtefactError, DataError
from polyrank.schema import Binary, Categorical, Keys, Numeric, Schema

Floats = NDArray[np.float64]
Rows = tuple[Floats, NDArray[np.uint64], Floats, Floats]

SCHEMA = Schema(
    features=(
        Categorical(name="place", column="position", side="bias", min_frequency=1),
        Categorical(name="item", side="item", min_frequency=1),
        Categorical(name="device", side="bias", min_frequency=1),
        Numeric(name="hour", side="bias", scaling="bins", num_bins=4),
        Numeric(name="age", side="user"),
    ),
    tasks=(Binary(name="click", examined_by="position"), Binary(name="like")),
    keys=Keys(item="item", position="position", propensity="propensity"),
)


def rows(
    theta_K: Floats, number: int, *, items: int = 60, seed: int = 0, most: float = 0.8
) -> Rows:
    """Positions, hashed items, labels and weights of 1, by the model."""
    rng = np.random.default_rng(seed)
    gamma_I = rng.uniform(0.1, most, items)
    position_N = rng.integers(1, len(theta_K) + 1, number)
    item_N = rng.integers(0, items, number)
    label_N = rng.random(number) < theta_K[position_N - 1] * gamma_I[item_N]
    hash_N = hash_column(pa.array(item_N))
    return position_N.astype(float), hash_N, label_N.astype(float), np.ones(number)


def fitted(found: Rows, **settings: Any) -> ExaminationFit:
    fit = ExaminationFit(key=5, **settings)
    fit.add(*found)
    return fit


def log(number: int = 600, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    position, item = rng.integers(1, 4, number), rng.integers(0, 12, number)
    click = rng.random(number) < (item + 1) / 13 / position
    return pa.table(
        {
            "position": position,
            "item": item,
            "device": rng.choice(["tv", "phone"], number),
            "hour": rng.uniform(0, 24, number),
            "age": rng.normal(30, 5, number),
            "click": click.astype(float),
            "like": (rng.random(number) < 0.3).astype(float),
            "propensity": rng.uniform(0.05, 1, number),
        }
    )


def test_a_step_is_that_of_a_loop_over_rows() -> None:
    position_N, _, label_N, _ = rows(np.array([1.0, 0.5, 0.25]), 200, items=6)
    k_N = position_N.astype(np.int64) - 1
    i_N = np.random.default_rng(1).integers(0, 6, 200)
    theta_K, gamma_I = np.array([0.9, 0.6, 0.3]), np.linspace(0.1, 0.7, 6)
    looked, liked = [[0.0, 0] for _ in theta_K], [[0.0, 0] for _ in gamma_I]
    for k, i, label in zip(k_N, i_N, label_N, strict=True):
        theta, gamma = theta_K[k], gamma_I[i]
        neither = 1 - theta * gamma
        looked[k][0] += 1.0 if label else theta * (1 - gamma) / neither
        liked[i][0] += 1.0 if label else gamma * (1 - theta) / neither
        looked[k][1] += 1
        liked[i][1] += 1
    counts = Counts(k_C=k_N, i_C=i_N, shown_C=np.ones(200), liked_C=label_N)
    for found, sums in zip(counts.step(theta_K, gamma_I), (looked, liked), strict=True):
        np.testing.assert_allclose(found, [total / number for total, number in sums])


def test_no_curve_near_it_is_more_likely() -> None:
    """Where EM ends, with the best gamma of each item for every curve tried."""
    found = rows(np.array([1.0, 0.6, 0.3]), 3000, items=8)
    theta_K = np.array(fitted(found).curve().theta)

    def likelihood(theta_K: Floats) -> float:
        grid_G = np.linspace(0.001, 1.0, 1000)
        total = 0.0
        for item in np.unique(found[1]):
            mine_N = found[1] == item
            p_GN = grid_G[:, None] * theta_K[found[0][mine_N].astype(int) - 1]
            p_GN = p_GN.clip(1e-12, 1 - 1e-12)
            total += np.where(found[2][mine_N] == 1, np.log(p_GN), np.log1p(-p_GN)).sum(1).max()
        return total

    best = likelihood(theta_K)
    for place in (1, 2):
        for factor in (0.9, 1.1):
            moved_K = theta_K.copy()
            moved_K[place] *= factor
            assert likelihood(moved_K) < best


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_true_curve_is_found(power: float) -> None:
    truth_K = np.arange(1.0, 7.0) ** -power
    curve = fitted(rows(truth_K, 60_000)).curve()
    assert curve.positions == (1, 2, 3, 4, 5, 6)
    assert max(curve.theta) == 1
    np.testing.assert_allclose(curve.theta, truth_K / truth_K.max(), atol=0.05)


def test_more_liked_items_on_top_are_not_taken_for_examination() -> None:
    """The rates by position fall with quality alone; the curve does not."""
    rng = np.random.default_rng(0)
    item_N = rng.integers(0, 40, 40_000)
    gamma_N = (item_N + 5) / 50
    position_N = np.where(rng.random(40_000) < gamma_N, 1.0, 2.0)
    label_N = (rng.random(40_000) < gamma_N).astype(float)
    rates = [label_N[position_N == k].mean() for k in (1, 2)]
    assert rates[1] < 0.7 * rates[0]
    curve = fitted((position_N, hash_column(pa.array(item_N)), label_N, np.ones(40_000))).curve()
    np.testing.assert_allclose(curve.theta, [1, 1], atol=0.04)


def test_the_position_with_the_highest_rate_need_not_be_the_one_most_looked_at() -> None:
    """The better items stand at the second."""
    rng = np.random.default_rng(1)
    item_N = rng.integers(0, 40, 60_000)
    gamma_N = (item_N + 5) / 50
    position_N = np.where(rng.random(60_000) < gamma_N, 2.0, 1.0)
    theta_N = np.where(position_N == 1, 1.0, 0.7)
    label_N = (rng.random(60_000) < theta_N * gamma_N).astype(float)
    rates = [label_N[position_N == k].mean() for k in (1, 2)]
    assert rates[0] < rates[1]
    curve = fitted((position_N, hash_column(pa.array(item_N)), label_N, np.ones(60_000))).curve()
    np.testing.assert_allclose(curve.theta, [1, 0.7], atol=0.04)


def test_any_cut_into_chunks_gives_the_same_bits() -> None:
    """With weights whose sums round, and with items left out."""
    position_N, item_N, label_N, _ = rows(np.array([1.0, 0.5, 0.2]), 5000)
    weight_N = np.random.default_rng(2).uniform(0, 3, 5000)
    found = position_N, item_N, label_N, weight_N
    for most in (10_000, 60):
        whole = fitted(found, max_cells=most)
        cut = ExaminationFit(key=5, max_cells=most)
        for at in (slice(0, 1), slice(1, 700), slice(700, 700), slice(700, 5000)):
            cut.add(position_N[at], item_N[at], label_N[at], weight_N[at])
        assert whole.level == cut.level
        assert (whole.level > 0) == (most == 60)
        assert whole.curve() == cut.curve()


def test_fewer_items_are_held_and_each_with_all_its_rows() -> None:
    truth_K = np.array([1.0, 0.6, 0.4])
    found = rows(truth_K, 200_000, items=500)
    fit = fitted(found, max_cells=600)
    assert 300 <= len(fit._code) <= 600
    kept_N = np.isin(found[1], fit._item)
    assert fit._shown.sum() == kept_N.sum()
    assert fit._liked.sum() == found[2][kept_N].sum()
    np.testing.assert_allclose(fit.curve().theta, truth_K, atol=0.05)


def test_weight_two_is_a_row_repeated_and_weight_zero_a_row_removed() -> None:
    position_N, item_N, label_N, _ = rows(np.array([1.0, 0.5]), 1000, items=10)
    weight_N = np.tile([0.0, 1.0, 2.0, 1.0], 250)
    again = np.repeat(np.arange(1000), weight_N.astype(int))
    repeated = position_N[again], item_N[again], label_N[again], np.ones(len(again))
    weighted = fitted((position_N, item_N, label_N, weight_N)).curve()
    assert weighted == fitted(repeated).curve()


def test_positions_that_nothing_ties_to_the_rest_and_rare_ones_are_left_out() -> None:
    """Items 1 and 2 stand at 1 and 2; item 3 only at 3; position 4 has one row in 1,000."""
    position_N = np.array([1.0, 2.0] * 500 + [3.0] * 100 + [4.0, np.nan])
    item_N = np.array([1, 1, 2, 2] * 250 + [3] * 100 + [1, 1], dtype=np.uint64)
    label_N = np.array([1.0, 0.0, 1.0, 1.0] * 250 + [1.0] * 100 + [1.0, 1.0])
    found = position_N, item_N, label_N, np.ones(len(position_N))
    assert fitted(found).curve().positions == (1, 2)


def test_positions_far_down_count_as_the_last() -> None:
    position_N = np.array([1.0, 5000.0, 1.0, 1000.0] * 10)
    label_N = np.array([1.0, 0.0, 1.0, 1.0] * 10)
    curve = fitted((position_N, np.ones(40, dtype=np.uint64), label_N, np.ones(40))).curve()
    assert curve.positions == (1, examination.MAX_POSITION)
    np.testing.assert_allclose(curve.theta, [1, 0.5], atol=0.02)


def test_labels_that_are_all_one_at_the_top_are_no_division_by_zero() -> None:
    item_N = np.array([1, 1] * 20, dtype=np.uint64)
    label_N = np.array([1.0, 1.0] * 10 + [1.0, 0.0] * 10)
    curve = fitted((np.array([1.0, 2.0] * 20), item_N, label_N, np.ones(40))).curve()
    np.testing.assert_allclose(curve.theta, [1, 0.5], atol=0.02)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_log_that_tells_nothing_is_refused(label: float) -> None:
    """No label of 1, or each item at one position."""
    positions = np.array([1.0, 2.0, 1.0, 2.0])
    items = np.array([1, 1, 2, 2] if label == 0 else [1, 2, 3, 4], dtype=np.uint64)
    with pytest.raises(DataError, match="stands at two positions.*Leave `examined_by` out"):
        fitted((positions, items, np.full(4, label), np.ones(4))).curve()
    with pytest.raises(DataError, match="stands at two positions"):
        ExaminationFit(key=1).curve()


def test_between_beyond_and_without_a_position() -> None:
    curve = ExaminationCurve(positions=(2, 4), theta=(1.0, 0.5))
    found = curve.at(np.array([1.0, 2.0, 3.0, 4.0, 9.0, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 1.0, 0.75, 0.5, 0.5, np.nan])


# With the encoders.


def test_thinned_negatives_count_as_those_there_were() -> None:
    table = log(4000)
    rng = np.random.default_rng(3)
    kept = (table["click"].to_numpy() == 1) | (rng.random(4000) < 0.25)
    task = Binary(name="click", examined_by="position", keep_rate=0.25)
    thinned = SCHEMA.model_copy(update={"tasks": (task,)})
    whole, part = (
        Encoders.fit(schema, [rows]).layout.targets["click"].examination
        for schema, rows in ((SCHEMA, table), (thinned, table.filter(pa.array(kept))))
    )
    assert whole is not None
    assert part is not None
    np.testing.assert_allclose(part.theta, whole.theta, atol=0.06)


def test_missing_keys_and_labels_are_left_out() -> None:
    table = log()
    odd = pa.table(
        {
            **{name: table[name].slice(0, 40) for name in table.column_names},
            "click": pa.array([None] * 20 + [1.0] * 20),
            "item": pa.array([3] * 20 + [None] * 20, pa.int64()),
        }
    )
    unplaced = odd.set_column(0, "position", pa.nulls(40, pa.int64()))
    more = pa.concat_tables([table, odd, unplaced])
    first, second = (
        Encoders.fit(SCHEMA, [rows]).layout.targets["click"].examination for rows in (table, more)
    )
    assert first == second


def test_rows_without_a_position_are_refused_where_a_task_is_examined_by_it() -> None:
    table = log(100)
    positions = [None, *table["position"].to_pylist()[1:]]
    holed = table.set_column(0, "position", pa.array(positions, pa.int64()))
    (found,) = (p for p in validate_log(open_log(holed), SCHEMA) if p.exit_code)
    told = "may not be null where task 'click' is examined by it. Fill it, drop such rows, or leave"
    assert told in str(found)
    assert "row 0, column 'position'" in str(found)
    with pytest.raises(DataError, match="examined by it"):
        list(Reader(open_log(holed), SCHEMA).chunks("all"))
    tasks = (Binary(name="click"), Binary(name="like"))
    plain = SCHEMA.model_copy(update={"tasks": tasks})
    assert not [p for p in validate_log(open_log(holed), plain) if p.exit_code]


def test_the_curve_and_the_propensity_come_as_extras_with_labels_alone() -> None:
    table = log()
    encoders = Encoders.fit(SCHEMA, [table])
    curve = encoders.layout.targets["click"].examination
    assert curve is not None
    assert encoders.layout.targets["like"].examination is None
    assert encoders.layout.extras == ("click.examination", "propensity")
    found = encoders.encode(table).extras
    expected = [curve.theta[k - 1] for k in table["position"].to_pylist()]
    assert found["click.examination"].tolist() == pytest.approx(expected)
    assert found["propensity"].tolist() == pytest.approx(table["propensity"].to_pylist())
    assert encoders.encode(table, labels=False).extras == {}
    hidden = table.set_column(0, "position", pa.nulls(600, pa.int64()))
    assert encoders.encode(hidden).extras["click.examination"].isnan().all()


def test_encoders_with_a_curve_come_back_from_their_state() -> None:
    encoders = Encoders.fit(SCHEMA, [log()])
    again = Encoders.from_state(SCHEMA, *encoders.state())
    assert again.layout == encoders.layout
    assert again.fingerprint() == encoders.fingerprint()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("click.examination", [1.0, 0.5], "is float64 .2,., not float64 of length 3"),
        ("click.examination", [1.0, 0.5, 1.5], "not within 0 and 1"),
        ("click.examination", [0.9, 0.5, 0.1], "the largest 1"),
        ("click.examination", [1.0, np.nan, 0.1], "not within 0 and 1"),
        ("click.positions", [0, 1, 2], "do not rise from 1"),
        ("click.positions", [1, 1, 2], "do not rise from 1"),
        ("click.positions", [1, 2, 1001], "do not rise from 1"),
    ],
)
def test_a_curve_that_was_altered_is_refused(name: str, values: list[Any], message: str) -> None:
    meta, arrays = Encoders.fit(SCHEMA, [log()]).state()
    with pytest.raises(ArtefactError, match=message):
        Encoders.from_state(SCHEMA, meta, {**arrays, name: np.array(values)})


def test_a_curve_that_the_schema_does_not_ask_for_is_refused() -> None:
    meta, arrays = Encoders.fit(SCHEMA, [log()]).state()
    tasks = (Binary(name="click"), Binary(name="like"))
    with pytest.raises(ArtefactError, match="3 positions, against `examined_by`"):
        Encoders.from_state(SCHEMA.model_copy(update={"tasks": tasks}), meta, arrays)


def test_a_log_that_tells_nothing_is_refused_with_its_task() -> None:
    table = log()
    still = table.set_column(0, "position", pa.array(np.ones(600, dtype=np.int64)))
    with pytest.raises(DataError, match="stands at two positions") as caught:
        Encoders.fit(SCHEMA, [still])
    assert caught.value.where == "task 'click', `examined_by`"


# Features on the side ``bias``.


def test_bias_features_have_rows_behind_the_shared_table() -> None:
    encoders = Encoders.fit(SCHEMA, [log()])
    layout = encoders.layout
    assert layout.num_rows == len(encoders.rows["item"]) == encoders.rows["item"].stop
    assert list(layout.bias_rows) == ["place", "device", "hour"]
    assert layout.bias_rows["place"].start == layout.num_rows
    starts = [rows.start for rows in layout.bias_rows.values()]
    stops = [rows.stop for rows in layout.bias_rows.values()]
    assert starts[1:] == stops[:-1]
    ids_BF = encoders.encode(log()).ids_BF
    for column, place in zip(layout.ids, ids_BF.unbind(1), strict=True):
        own = layout.bias_rows.get(column.name, range(layout.num_rows))
        assert own.start <= int(place.min()) <= int(place.max()) < own.stop
        if column.name in layout.bias_rows:
            assert int(place.min()) > own.start  # nothing is missing


def test_to_score_no_bias_column_is_needed_and_one_that_is_there_is_not_read() -> None:
    table = log()
    encoders = Encoders.fit(SCHEMA, [table])
    bare = table.select(["item", "age"])
    odd = table.set_column(0, "position", pa.array(["first"] * 600))
    odd = odd.set_column(3, "hour", pa.array([np.inf] * 600))
    for given in (bare, table, odd):
        read = Reader(open_log(given), SCHEMA, labels=False)
        batch = encoders.encode(next(read.chunks("all")), labels=False)
        for column, ids_B in zip(encoders.layout.ids, batch.ids_BF.unbind(1), strict=True):
            own = encoders.layout.bias_rows.get(column.name)
            if own is not None:
                assert (ids_B == own.start).all()
        assert torch.equal(batch.ids_BF, encoders.encode(bare, labels=False).ids_BF)
    assert "position" in Reader(open_log(table), SCHEMA, labels=False).ignored


@pytest.mark.parametrize("column", ["device", "hour", "position"])
def test_to_train_every_bias_column_is_needed(column: str) -> None:
    source = open_log(log().drop_columns([column]))
    with pytest.raises(DataError, match=f"'{column}'"):
        Reader(source, SCHEMA)


def test_the_bins_of_a_bias_feature_are_checked_in_training() -> None:
    table = log()
    odd = table.set_column(3, "hour", pa.array([np.inf] + [1.0] * 599))
    with pytest.raises(DataError, match="numeric feature 'hour' is finite"):
        list(Reader(open_log(odd), SCHEMA).chunks("all"))
