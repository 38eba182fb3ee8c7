"""A schema is the same as a Python object, as JSON and as YAML."""

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from polyrank.schema import Schema, parse, to_yaml
from polyrank.schema.guess import Guess
from tests.schema.trees import HOSTILE, few, schemas


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.StringIO(text))


@few
@given(schemas)
def test_dump_and_json_parse_back(schema: Schema) -> None:
    assert parse(Schema, schema.model_dump()) == schema
    assert parse(Schema, json.loads(schema.model_dump_json())) == schema


@few
@given(schemas, st.integers(0, 6))
def test_yaml_parses_back(schema: Schema, indent: int) -> None:
    tree = load("schema:\n" + to_yaml(schema, indent=indent + 1))
    assert list(tree) == ["schema"]
    assert parse(Schema, tree["schema"]) == schema


@few
@given(schemas, st.text(), st.data())
def test_notes_are_comments_and_change_nothing(
    schema: Schema, note: str, data: st.DataObject
) -> None:
    places = [f"features.{f.name}" for f in schema.features]
    places += [f"tasks.{t.name}" for t in schema.tasks] + [
        f"tables.{t.name}" for t in schema.tables
    ]
    places += [f"keys.{role}" for role in schema.keys.named()]
    places += ["deduplicate", *(f"ignored.{name}" for name in HOSTILE)]
    noted = data.draw(st.lists(st.sampled_from(places), unique=True))
    text = to_yaml(Guess(schema, dict.fromkeys(noted, note)), indent=2)
    assert parse(Schema, load(text)) == schema
    # A note on what the schema does not hold has no place; all others are there.
    held = [place for place in noted if place != "deduplicate" or schema.deduplicate is not None]
    assert sum("#" in line.lstrip()[:1] for line in text.splitlines()) == len(held) + any(
        place.startswith("ignored.") for place in noted
    )


def test_what_follows_is_left_out() -> None:
    tree = {
        "features": [
            {"kind": "categorical", "name": "item_id", "column": "item_id", "side": "context"},
            {"kind": "sequence", "name": "h", "shares": "item_id", "target": "item_id"},
        ],
        "tasks": [{"kind": "binary", "name": "click", "label": "click"}],
        "keys": {"user": "yes", "item": None},
        "tables": [{"name": "users", "on": "yes", "key": "yes"}],
        "deduplicate": {},
    }
    assert to_yaml(parse(Schema, tree)) == (
        "features:\n"
        "  - {kind: categorical, name: item_id}\n"
        "  - {kind: sequence, name: h, shares: item_id}\n"
        "tasks:\n"
        "  - {kind: binary, name: click}\n"
        "keys:\n"
        '  user: "yes"\n'
        "tables:\n"
        '  - {name: users, on: "yes"}\n'
        "deduplicate: {}\n"
    )


@few
@given(schemas, st.randoms(use_true_random=False))
def test_the_order_of_features_means_nothing(schema: Schema, random: Any) -> None:
    features = list(schema.features)
    random.shuffle(features)
    other = parse(Schema, {**schema.model_dump(), "features": [f.model_dump() for f in features]})
    assert set(other.feature_columns()) == set(schema.feature_columns())
    assert other.label_columns() == schema.label_columns()
    for feature in schema.features:
        assert other.feature(feature.name) == feature
    for task in schema.task_names:
        assert other.space(task) == schema.space(task)
