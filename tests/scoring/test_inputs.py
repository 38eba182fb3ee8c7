"""What a scorer need not find in its input, where a side table's columns have a prefix."""

from __future__ import annotations

import pyarrow as pa

from polyrank.data import load_side_table
from polyrank.schema import Binary, Categorical, Schema, SideTable
from polyrank.scoring.inputs import without_given, without_missing_bias

SIDE = SideTable(name="items", on="item_id", prefix="item_")
SCHEMA = Schema(
    features=(Categorical(name="item_tag"), Categorical(name="item_place", side="bias")),
    tasks=(Binary(name="click"),),
    tables=(SIDE,),
)


def test_a_table_with_a_prefix_is_joined_unless_its_columns_are_given() -> None:
    table = pa.table({"item_id": [7], "tag": ["news"], "place": [1]})
    tables = {"items": load_side_table(table, SIDE, SCHEMA)}
    assert without_given(SCHEMA, tables, ["item_id"], ()).tables == (SIDE,)
    assert without_given(SCHEMA, tables, ["item_id", "item_tag"], ()).tables == (SIDE,)
    assert without_given(SCHEMA, tables, ["item_tag", "item_place"], ()).tables == ()
    assert without_missing_bias(SCHEMA, tables, ["item_id"]).features == SCHEMA.features
