"""The state of encoders: out and in again byte for byte, and nothing else gets in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from polyrank.data.encoders import Encoders
from polyrank.errors import ArtefactError
from polyrank.schema import Binary, Categorical, Numeric, Schema
from polyrank.storage import jsonio, load_arrays, save_arrays
from tests.data.encoding_oracle import ROWS, SCHEMA, Row, table_of
from tests.data.test_encoders import few, logs, state_bytes

Meta = dict[str, Any]
Arrays = dict[str, np.ndarray[Any, Any]]


@few
@given(train=logs, rows=logs)
def test_encoders_come_back_byte_for_byte_through_files(train: list[Row], rows: list[Row]) -> None:
    encoders = Encoders.fit(SCHEMA, [table_of(train)], seed=3)
    meta, arrays = encoders.state()
    tree = jsonio.loads(jsonio.dumps(meta), where="meta")
    assert isinstance(tree, dict)
    stored = load_arrays(save_arrays(arrays, finite=True), where="arrays")
    again = Encoders.from_state(SCHEMA, tree, stored)
    assert state_bytes(again) == state_bytes(encoders)
    assert again.fingerprint() == encoders.fingerprint()
    assert again.layout == encoders.layout
    one, two = encoders.encode(table_of(rows)), again.encode(table_of(rows))
    assert torch.equal(one.ids_BF, two.ids_BF)
    assert torch.equal(one.numeric_BN, two.numeric_BN)


def test_the_fingerprint_tells_schema_seed_and_data_apart() -> None:
    table = table_of(ROWS)
    other = SCHEMA.model_copy(update={"features": tuple(reversed(SCHEMA.features))})
    prints = [
        Encoders.fit(SCHEMA, [table]).fingerprint(),
        Encoders.fit(SCHEMA, [table], seed=1).fingerprint(),
        Encoders.fit(SCHEMA, [table.slice(1)]).fingerprint(),
        Encoders.fit(other, [table]).fingerprint(),
    ]
    assert len(set(prints)) == 4
    assert prints[0] == Encoders.fit(SCHEMA, [table]).fingerprint()


def test_another_process_fits_and_encodes_the_same_bytes() -> None:
    script = (
        "from tests.data.encoding_oracle import ROWS, SCHEMA, table_of\n"
        "from polyrank.data.encoders import Encoders\n"
        "encoders = Encoders.fit(SCHEMA, [table_of(ROWS)])\n"
        "batch = encoders.encode(table_of(ROWS))\n"
        "print(encoders.fingerprint(), batch.ids_BF.tolist(), batch.groups['user'].tolist())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": "src:."},
    )
    encoders = Encoders.fit(SCHEMA, [table_of(ROWS)])
    batch = encoders.encode(table_of(ROWS))
    assert batch.groups is not None
    here = [encoders.fingerprint(), batch.ids_BF.tolist(), batch.groups["user"].tolist()]
    assert there.stdout.decode().strip() == " ".join(map(str, here))


def test_changing_a_state_changes_no_encoders() -> None:
    table = table_of(ROWS)
    encoders = Encoders.fit(SCHEMA, [table])
    before = encoders.fingerprint()
    meta, arrays = encoders.state()
    arrays = {name: array.copy() for name, array in arrays.items()}
    again = Encoders.from_state(SCHEMA, meta, arrays)
    for held in (encoders.state()[1], arrays):
        for array in held.values():
            if array.flags.writeable:
                array[:] = 0
    assert encoders.fingerprint() == again.fingerprint() == before
    assert torch.equal(again.encode(table).ids_BF, encoders.encode(table).ids_BF)


def set_meta(*path: str, to: object) -> Callable[[Meta, Arrays], None]:
    def change(meta: Meta, arrays: Arrays) -> None:
        place = meta
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to

    return change


def drop_meta(*path: str) -> Callable[[Meta, Arrays], None]:
    def change(meta: Meta, arrays: Arrays) -> None:
        place = meta
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


def set_array(name: str, to: Callable[[Any], Any]) -> Callable[[Meta, Arrays], None]:
    def change(meta: Meta, arrays: Arrays) -> None:
        arrays[name] = to(arrays[name].copy())

    return change


def at(place: int, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


CHANGES: dict[str, Callable[[Meta, Arrays], None]] = {
    "a newer format": set_meta("format", to=3),
    "no format": drop_meta("format"),
    "an unknown key": set_meta("surprise", to=1),
    "a lost vocabulary": drop_meta("vocabularies", "city"),
    "a foreign vocabulary": set_meta("vocabularies", "foreign", to={"kind": "int", "size": 0}),
    "a lost scaler": drop_meta("numerics", "price"),
    "a lost target": drop_meta("targets", "buy"),
    "a vocabulary where the schema hashes": set_meta(
        "vocabularies", "query", to={"kind": "string", "size": 0}
    ),
    "a hash where the schema counts": set_meta(
        "vocabularies", "item", to={"kind": "int", "buckets": 5, "key": "0" * 16}
    ),
    "another number of buckets": set_meta("vocabularies", "query", "buckets", to=6),
    "a short key": set_meta("vocabularies", "query", "key", to="12"),
    "another size": set_meta("vocabularies", "item", "size", to=3),
    "a negative size": set_meta("vocabularies", "item", "size", to=-1),
    "more ids than allowed": set_meta("vocabularies", "city", "size", to=4),
    "ids of no kind": set_meta("vocabularies", "item", "kind", to=None),
    "ids of the other kind": set_meta("vocabularies", "item", "kind", to="string"),
    "an unknown kind": set_meta("vocabularies", "item", "kind", to="float"),
    "an infinite fill": set_meta("numerics", "price", "fill", to=float("inf")),
    "a fill beyond all numbers": set_meta("numerics", "price", "fill", to=1e101),
    "a center beyond all numbers": set_meta("numerics", "price", "center", to=-1e101),
    "no spread": set_meta("numerics", "price", "spread", to=0.0),
    "a text for a number": set_meta("numerics", "price", "center", to="0"),
    "a deviation of zero": set_meta("targets", "buy", "std", to=0.0),
    "no label": set_meta("targets", "buy", "count", to=0),
    "a mean that is NaN": set_meta("targets", "buy", "mean", to=float("nan")),
    "a lost array": lambda meta, arrays: arrays.__delitem__("item.ids"),
    "a foreign array": lambda meta, arrays: arrays.update(more=np.zeros(1)),
    "ids of another width": set_array("item.ids", lambda ids: ids.astype(np.int32)),
    "ids in two dimensions": set_array("item.ids", lambda ids: ids.reshape(1, -1)),
    "an id too few": set_array("item.ids", lambda ids: ids[1:]),
    "an id twice": set_array("item.ids", at(0, 3)),
    "a text twice": set_array("city.bytes", lambda text: np.tile(text[: len(text) // 3], 3)),
    "offsets that fall": set_array("city.offsets", at(1, 1000)),
    "offsets that start late": set_array("city.offsets", at(0, 1)),
    "offsets beyond the bytes": set_array("city.offsets", at(-1, 10_000)),
    "knots that do not rise": set_array("rank.knots", at(1, -1.0)),
    "a knot that is not finite": set_array("rank.knots", at(0, float("-inf"))),
    "scores that fall": set_array("rank.scores", at(0, 2.9)),
    "a score out of range": set_array("rank.scores", at(-1, 4.0)),
    "a score that is NaN": set_array("rank.scores", at(0, float("nan"))),
    "a score too few": set_array("rank.scores", lambda scores: scores[1:]),
    "no knot at all": lambda meta, arrays: arrays.update(
        {"rank.knots": np.empty(0), "rank.scores": np.empty(0)}
    ),
    "more bins than declared": set_array("age.knots", lambda knots: np.arange(4.0)),
    "knots where there are none": set_array("raw.knots", lambda knots: np.arange(2.0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_state_that_is_not_one_is_refused(change: Callable[[Meta, Arrays], None]) -> None:
    meta, arrays = Encoders.fit(SCHEMA, [table_of(ROWS)]).state()
    meta = json.loads(json.dumps(meta))
    Encoders.from_state(SCHEMA, meta, arrays)
    arrays = dict(arrays)
    change(meta, arrays)
    with pytest.raises(ArtefactError, match="encoders, ") as caught:
        Encoders.from_state(SCHEMA, meta, arrays)
    assert caught.value.hint


def test_encoders_of_another_schema_are_refused() -> None:
    meta, arrays = Encoders.fit(SCHEMA, [table_of(ROWS)]).state()
    other = Schema(
        features=(Categorical(name="item"), Numeric(name="age")), tasks=(Binary(name="click"),)
    )
    with pytest.raises(ArtefactError):
        Encoders.from_state(other, meta, arrays)
