"""Types of logged columns that the bundle decides, and not the client who comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from polyrank.bundle import Bundle
from polyrank.data.encoding.columns import owner_of
from polyrank.schema import Bag, Categorical, Embedding, Feature, Numeric, Sequence

_TEXT, _NUMBER = pa.large_string(), pa.float64()


def types_of(bundle: Bundle) -> dict[str, Any]:
    """By column its Arrow type: of ids as in training, text where training did not read them.

    Keys of time, weight and the like are the server's, and columns that only value models and
    calibration read are compared as text.
    """
    schema, keys = bundle.schema, bundle.schema.keys
    found = {name: _TEXT for name in (keys.user, keys.item, keys.request) if name is not None}
    found |= {
        side.on: bundle.tables[side.name].schema.field(side.key).type for side in schema.tables
    }
    return {**found, **dict(_of_features(bundle))}


def _of_features(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    meta: Any = bundle.encoders.state()[0]
    for feature in bundle.schema.features:
        yield feature.column, _type_of(feature, meta["vocabularies"])


def _type_of(feature: Feature, vocabularies: Mapping[str, Any]) -> Any:
    match feature:
        case Numeric():
            return _NUMBER
        case Embedding():
            return pa.large_list(_NUMBER)
    ids = pa.int64() if vocabularies[owner_of(feature)]["kind"] == "int" else _TEXT
    match feature:
        case Categorical():
            return ids
        case Bag() | Sequence():
            return pa.large_list(ids) if feature.separator is None else _TEXT
