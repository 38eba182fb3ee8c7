"""Results as strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from polyrank.errors import ArtefactError
from polyrank.evaluation import Comparison, Evaluation, StreamingEvaluator, compare, evaluate
from tests.evaluation.worlds import CLICK, TASKS, log


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


@cache
def example() -> Evaluation:
    return evaluate(log(size=60), TASKS, slices=["tab"], resamples=40)


def test_an_evaluation_comes_back_to_the_last_bit() -> None:
    evaluation = example()
    assert any(math.isnan(row.lower) for row in evaluation.rows)
    text = evaluation.to_json()
    content = json.loads(text, parse_constant=refuse)
    again = Evaluation.from_json(text)
    assert again.to_json() == text
    assert repr(again) == repr(evaluation)
    assert len(content["rows"]) == len(evaluation.rows)
    for entry, row in zip(content["rows"], evaluation.rows, strict=True):
        assert (entry["value"] is None) == math.isnan(row.value) == (entry["reason"] is not None)


def test_a_streamed_evaluation_and_a_comparison_come_back() -> None:
    streamed = StreamingEvaluator(TASKS)
    streamed.update(log())
    text = streamed.result().to_json()
    assert Evaluation.from_json(text).to_json() == text
    comparison = compare(log(), log(noise=2.0), TASKS, resamples=40)
    text = comparison.to_json()
    assert repr(Comparison.from_json(text)) == repr(comparison)


def edit(change: Callable[[dict[str, Any]], Any]) -> str:
    content = json.loads(example().to_json())
    change(content)
    return json.dumps(content)


def first(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["rows"][0].update(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not the JSON of evaluation"),
        ('{"kind": "comparison", "format": 1}', "not the JSON of evaluation"),
        ('{"kind": "evaluation", "format": 2}', "format 2, this version reads 1"),
        ('{"kind": "evaluation", "format": 1, "rows": {}}', "'rows' must be a list"),
        ('{"kind": "evaluation", "kind": "evaluation"}', "a key stands twice"),
        ('{"kind": "evaluation", "format": NaN}', "NaN is not JSON. Undefined is null"),
        ('{"kind": "evaluation", "format": 1, "rows": []}', "expected the keys"),
        ('{"kind": "evaluation", "format": 1, "rows": [1]}', r"rows\[0\]: .* got int"),
        (edit(first(more=1)), r"rows\[0\]: expected the keys"),
        (edit(lambda content: content["rows"][0].pop("rows")), "expected the keys"),
        (edit(lambda content: content.update(more=1)), "expected the keys"),
        (edit(lambda content: content.update(mode=None)), "mode: expected .*str.*, got None"),
        (edit(first(rows=True)), r"rows\[0\]\.rows: expected .*int.*, got True"),
        (edit(first(value="0.5")), r"rows\[0\]\.value: expected .*float.*, got '0.5'"),
        (edit(first(value=None)), "`value` is a number, or NaN with a reason"),
        (edit(first(value=0.5, reason="why")), "`value` is a number, or NaN with a reason"),
        (edit(first(upper=None)), "`upper` is a number"),
        (edit(first(value=1)).replace('"value": 1,', '"value": 1e999,'), "got inf and None"),
        (edit(first(lower=None)), "`lower` is a number"),
        (
            edit(first(interval_reason="why")),
            "`lower` is a number, .* and 'why'",
        ),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        Evaluation.from_json(text)


def test_whole_numbers_are_numbers() -> None:
    row = Evaluation.from_json(edit(first(value=1, reason=None))).rows[0]
    assert type(row.value) is float


def test_a_comparison_without_an_interval_has_no_verdict() -> None:
    text = compare(log(), log(), [CLICK], metrics=["auc"], resamples=0).to_json()
    assert json.loads(text)["rows"][0]["significant"] is None
    with pytest.raises(ArtefactError, match="known if and only if there is an interval"):
        Comparison.from_json(text.replace('"significant": null', '"significant": true'))
