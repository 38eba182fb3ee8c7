"""Which columns of a side table are encoded beforehand, and which tables are left alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from polyrank.data import AskedRows
from polyrank.data.encoding.ready import ReadyRows
from polyrank.errors import DataError
from polyrank.schema import Duration, Numeric, Schema, Side
from polyrank.scoring import RequestScorer, Scorer
from polyrank.scoring.requests import ROWS, USER, _apart
from tests.serving.features import world


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


@pytest.mark.parametrize("sides", [USER, ROWS])
def test_a_table_is_ready_for_the_features_that_read_it(sides: tuple[Side, ...]) -> None:
    requests, tables = RequestScorer(Scorer(world.bundle())), world.tables()
    own, other = ("users", "items") if sides == USER else ("items", "users")
    found = requests.ready(tables[own], sides)
    assert found is not None
    assert found.columns == {*tables[own].column_names} - {"id", "item_similar"}
    assert requests.ready(tables[other], sides) is None


def test_a_row_that_would_be_refused_leaves_its_table_alone() -> None:
    requests, users = RequestScorer(Scorer(world.bundle())), world.tables()["users"]
    infinite = pa.array([float("inf")] * users.num_rows)
    assert requests.ready(with_column(users, "age", infinite), USER) is None
    numbers = pa.array(range(users.num_rows))
    assert requests.ready(with_column(users, "country", numbers), USER) is None


def test_lengths_and_numbers_that_may_not_be_missing_stand_for_themselves() -> None:
    schema = Schema(
        features=(
            Numeric(name="height", side="item"),
            Numeric(name="length", side="item"),
            Numeric(name="age", side="item", on_missing="refuse"),
            Numeric(name="other", column="age", side="item"),
            Numeric(name="of_user", side="user"),
        ),
        tasks=(Duration(name="watch", unit="s", length="length"),),
    )
    assert _apart(schema, ROWS) == ["height"]


def test_rows_of_another_type_than_requests_read_are_not_taken() -> None:
    bundle = world.bundle()
    batch = bundle.encoders.encode(
        pa.table({"age": [1.0, None]}), labels=False, lengths=(), sides=USER, columns=["age"]
    )
    rest = {
        name: pa.nulls(1) for name in bundle.schema.feature_columns(bias=False) if name != "age"
    }
    reader = AskedRows(bundle.schema)
    for dtype, refused in ((pa.float64(), False), (pa.int8(), True)):
        fields = pa.schema([("age", dtype)])
        ready = ReadyRows(bundle.schema, bundle.encoders.layout, fields, [batch])
        asked = pa.table({"": pa.nulls(1)}), pa.table(rest)
        if refused:
            with pytest.raises(DataError, match="another type"):
                reader.read(*asked, beside=[(ready, ready.columns)])
        else:
            user, _ = reader.read(*asked, beside=[(ready, ready.columns)])
            assert (user.num_rows, user.num_columns) == (1, 0)
