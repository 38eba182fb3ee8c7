"""What makes a table of the tensors of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polyrank.scoring import RequestScorer, Scorer
from polyrank.serving.errors import RequestError
from polyrank.serving.infer import spec_of, table_of
from polyrank.serving.protocol import parse_request
from tests import feeds


@pytest.mark.parametrize("column", ["item_tags", "user_history"])
@pytest.mark.parametrize("others", [0, 2, 3])
def test_a_list_needs_its_lengths(column: str, others: int) -> None:
    """However many other rows there are."""
    spec = spec_of("feed", RequestScorer(Scorer(feeds.bundle())))
    datatype = spec.input_by_name[column].datatype
    data: list[Any] = ["a", "b", "c"] if datatype == "BYTES" else [1, 2, 3]
    inputs: list[dict[str, Any]] = [
        {"name": column, "datatype": datatype, "shape": [3], "data": data}
    ]
    if others:
        hours: dict[str, Any] = {
            "name": "hour",
            "datatype": "FP64",
            "shape": [others],
            "data": [1.0] * others,
        }
        inputs.append(hours)
    asked = parse_request(json.dumps({"inputs": inputs}).encode(), None, spec)
    with pytest.raises(
        RequestError, match=rf"'{column}' comes without '{column}\.lengths'"
    ) as told:
        table_of(asked)
    assert told.value.status == 400
