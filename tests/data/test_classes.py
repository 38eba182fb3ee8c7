"""Labels that are levels or classes, from the log to the batch, and what the fit learns of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polyrank.data import EncodedLog, Encoders, Reader, in_unit, label_values, open_log
from polyrank.data.validate import validate_log
from polyrank.errors import ArtefactError, DataError
from polyrank.schema import Binary, Keys, Multiclass, Numeric, Ordinal, Schema

REACTION = Multiclass(name="reaction", classes={"love": 3, "none": 0, "angry": -1, "seen": 0})
STARS = Ordinal(name="stars", levels=(1, 2.5, 4))
SCHEMA = Schema(
    features=(Numeric(name="age"),), tasks=(REACTION, STARS), keys=Keys(weight="weight")
)
ROWS: dict[str, list[Any]] = {
    "age": [1.0, 2.0, 3.0, 4.0, 5.0],
    "reaction": ["none", "love", None, "seen", "angry"],
    "stars": [1.0, None, 4.0, 4.0, 2.5],
    "weight": [1.0, 2.0, 1.0, 0.0, 1.0],
}


def read(columns: dict[str, Any], schema: Schema = SCHEMA, **options: Any) -> pa.Table:
    return pa.concat_tables(Reader(open_log(pa.table(columns)), schema, **options).chunks("all"))


def one_task(task: Multiclass | Ordinal) -> Schema:
    return Schema(features=(Numeric(name="age"),), tasks=(task,))


def test_batches_carry_places_of_classes_and_users_see_their_worth() -> None:
    table = read(ROWS)
    batch = Encoders.fit(SCHEMA, [table]).encode(table)
    assert REACTION.names == ("angry", "none", "seen", "love")
    assert batch.labels_BT is not None
    assert batch.observed_BT is not None
    assert batch.labels_BT[:, 0].tolist() == [1, 3, 0, 2, 0]
    assert batch.labels_BT[:, 1].tolist() == [1, 0, 4, 4, 2.5]
    assert batch.observed_BT.tolist() == [
        [True, True],
        [True, False],
        [False, True],
        [True, True],
        [True, True],
    ]
    assert label_values(table, REACTION).tolist() == pytest.approx(
        [0, 3, np.nan, 0, -1], nan_ok=True
    )
    codes = batch.labels_BT[:, 0].numpy()
    assert in_unit(REACTION, codes).tolist() == [0, 3, -1, 0, -1]  # the third is not observed


def test_the_encoded_log_keeps_them(tmp_path: Path) -> None:
    table = read(ROWS)
    encoders = Encoders.fit(SCHEMA, [table])
    log = EncodedLog.build(tmp_path / "log", encoders, [table], fingerprint="x")
    (batch,) = log.batches(batch_size=10, seed=0, epoch=0, shuffle=False)
    known = encoders.encode(table).labels_BT
    assert batch.labels_BT is not None
    assert known is not None
    assert batch.labels_BT.tolist() == known.tolist()


NUMBERED = Multiclass(name="act", classes={"0": 0, "1": 1, "7": 5}, missing_values=(-1,))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 7, None, -1, 1], pa.int16()),
        pa.array([0.0, 7.0, float("nan"), -1.0, 1.0]),
        pa.array(["0", "7", None, "-1", "1"]),
        pa.array(["0", "7", None, "-1", "1"]).dictionary_encode(),
    ],
)
def test_a_class_may_be_a_number_or_text(column: Any) -> None:
    table = read({"age": [1.0] * 5, "act": column}, one_task(NUMBERED))
    assert label_values(table, NUMBERED).tolist() == pytest.approx(
        [0, 5, np.nan, np.nan, 1], nan_ok=True
    )


@pytest.mark.parametrize(
    ("classes", "values"),
    [({0: 0, 1: 1, 7: 5}, "0 7.0 1"), ({"none": 0, "1": 5, "love": 1}, "none 1 love")],
)
def test_a_csv_holds_them(tmp_path: Path, classes: dict[Any, float], values: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text("age,act\n" + "".join(f"1,{value}\n" for value in [*values.split(), ""]))
    task = Multiclass(name="act", classes=classes)
    (table,) = Reader(open_log(path), one_task(task)).chunks("all")
    assert label_values(table, task).tolist() == pytest.approx([0, 5, 1, np.nan], nan_ok=True)


def test_yes_or_no_may_be_classes() -> None:
    task = Multiclass(name="act", classes={"0": -1, "1": 1})
    table = read({"age": [1.0] * 3, "act": [True, False, None]}, one_task(task))
    assert label_values(table, task).tolist() == pytest.approx([1, -1, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"reaction": ["none", "wow", None, "seen", "angry"]},
            "table, row 1, column 'reaction': holds 'wow': task 'reaction': the label is one of "
            "angry, none, seen, love. Add it to `classes` with what it is worth, or list it in "
            "`missing_values`.",
        ),
        (
            {"stars": [1.0, 2.0, 4.0, 3.0, 2.5]},
            "table, rows 1-3, column 'stars': 2 rows (1, 3) hold 2.0, 3.0: task 'stars': the "
            "label is one of 1, 2.5, 4. Mend it, add it to `levels`, or list it in "
            "`missing_values`.",
        ),
        (
            {"reaction": [1, 2, 3, 4, 5]},
            "column 'reaction' (label of task 'reaction') is int64, and its `classes` are of "
            "another type. Name the column's own values in `classes`.",
        ),
        (
            {"stars": ["1", "2.5", "4", "4", "4"]},
            "column 'stars' (label of task 'stars') is string, and a label is a number. Cast it "
            "to a number; a time span to seconds, say.",
        ),
    ],
)
def test_what_is_no_class_is_refused_in_a_sentence(columns: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError) as refused:
        read(ROWS | columns)
    (problem,) = refused.value.problems or (refused.value,)
    assert str(problem).removeprefix("table: ") == told


def test_a_long_list_of_classes_is_cut_short() -> None:
    task = Ordinal(name="stars", levels=tuple(range(20)))
    with pytest.raises(DataError, match=r"one of 0, 1, 2, 3, 4, 5, 6, 7, \.\.\. \(20 in all\)"):
        read({"age": [1.0], "stars": [0.5]}, one_task(task))


def test_what_is_masked_may_be_any() -> None:
    task = STARS.model_copy(update={"mask": "seen"})
    columns = {"age": [1.0, 1.0], "stars": [99.0, 4.0], "seen": [0, 1]}
    encoders = Encoders.fit(one_task(task), [read(columns, one_task(task))])
    assert encoders.layout.targets["stars"].shares == (0, 0, 1)


labels = st.lists(
    st.tuples(
        st.sampled_from(["none", "love", "seen", "angry", None]),
        st.sampled_from([1.0, 2.5, 4.0, None]),
        st.integers(0, 3).map(float),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=50, deadline=None)
@given(labels, st.integers(1, 12))
def test_the_fit_knows_shares_mean_and_spread(
    rows: list[tuple[str | None, float | None, float]], size: int
) -> None:
    reactions, stars, weights = map(list, zip(*rows, strict=True))
    columns = {"age": [0.0] * len(rows), "reaction": pa.array(reactions, pa.string())}
    columns |= {"stars": pa.array(stars, pa.float64()), "weight": weights}
    table = read(columns)
    chunks = [table.slice(start, size) for start in range(0, len(rows), size)]
    for found in (reactions, stars):
        assume(any(w for value, w in zip(found, weights, strict=True) if value is not None))
    targets = Encoders.fit(SCHEMA, chunks).layout.targets
    for task, found in ((REACTION, reactions), (STARS, stars)):
        names: tuple[Any, ...] = task.names if isinstance(task, Multiclass) else task.levels
        masses = [
            sum(w for value, w in zip(found, weights, strict=True) if value == name)
            for name in names
        ]
        stats = targets[task.name]
        assert stats.shares == pytest.approx([mass / sum(masses) for mass in masses])
        mean = sum(m * v for m, v in zip(masses, task.values, strict=True)) / sum(masses)
        assert stats.mean == pytest.approx(mean, abs=1e-12)
        squares = sum(m * (v - mean) ** 2 for m, v in zip(masses, task.values, strict=True))
        spread = (squares / sum(masses)) ** 0.5
        assert stats.std == pytest.approx(spread if spread > 1e-9 else 1.0)
        assert (stats.quantiles, stats.groups) == ((), None)


def test_more_labels_than_a_block_are_counted_as_few() -> None:
    rng = np.random.default_rng(0)
    stars = rng.choice(STARS.levels, 70_000, p=[0.5, 0.3, 0.2])
    table = pa.table({"age": np.zeros(70_000), "stars": stars})
    found = {
        Encoders.fit(one_task(STARS), [table.slice(at, size) for at in range(0, 70_000, size)])
        .layout.targets["stars"]
        .shares
        for size in (70_000, 9_999)
    }
    assert len(found) == 1
    assert found.pop() == pytest.approx([(stars == level).mean() for level in STARS.levels])


def test_the_state_brings_it_all_back_in_any_order_of_classes() -> None:
    encoders = Encoders.fit(SCHEMA, [read(ROWS)])
    meta, arrays = encoders.state()
    turned = dict(reversed(list(REACTION.classes.items())))
    schema = SCHEMA.model_copy(
        update={"tasks": (REACTION.model_copy(update={"classes": turned}), STARS)}
    )
    again = Encoders.from_state(schema, json.loads(json.dumps(meta)), arrays)
    assert again.layout == encoders.layout
    first, second = (each.encode(read(ROWS)).labels_BT for each in (encoders, again))
    assert first is not None
    assert second is not None
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda shares: shares[1:],
        lambda shares: shares * np.nan,
        lambda shares: shares * 2,
        lambda shares: np.append(-shares[:1], np.append(2 * shares[0] + shares[1], shares[2:])),
        lambda shares: shares.astype(np.float32),
    ],
)
def test_a_damaged_state_is_refused(change: Any) -> None:
    meta, arrays = Encoders.fit(SCHEMA, [read(ROWS)]).state()
    damaged = {**arrays, "reaction.label_shares": change(arrays["reaction.label_shares"])}
    with pytest.raises(ArtefactError, match="reaction"):
        Encoders.from_state(SCHEMA, meta, damaged)


def test_a_log_of_one_class_is_worth_a_look() -> None:
    table = pa.table({"age": [1.0, 2.0], "stars": [4.0, 4.0]})
    (warning,) = validate_log(open_log(table), one_task(STARS))
    assert str(warning).startswith(
        "task 'stars': all 2 observed labels are 4 over the training rows."
    )


def test_they_may_lie_within_a_binary_task() -> None:
    inner = STARS.model_copy(update={"within": "click"})
    schema = Schema(features=(Numeric(name="age"),), tasks=(Binary(name="click"), inner))
    table = read({"age": [1.0] * 3, "click": [1, 0, 1], "stars": [4.0, 1.0, None]}, schema)
    batch = Encoders.fit(schema, [table]).encode(table)
    assert batch.observed_BT is not None
    assert batch.observed_BT[:, 1].tolist() == [True, False, False]
