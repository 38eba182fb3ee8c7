"""Maturity windows: what is a window, and what is refused, in one sentence with the cure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from polyrank.errors import ConfigError
from polyrank.schema import Binary, Categorical, Keys, Maturity, Schema, parse, to_yaml
from polyrank.schema.instants import instant, span

WHOLE: dict[str, Any] = {"window": "7d", "event_time": "paid_at", "observed_until": "2022-05-01"}


def tree(maturity: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "features": [{"kind": "categorical", "name": "item"}],
        "tasks": [
            {"kind": "binary", "name": "click"},
            {"kind": "binary", "name": "buy", "within": "click", "maturity": maturity},
        ],
        "keys": {"time": "shown_at"},
        **changes,
    }


def refused(maturity: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Schema, tree(maturity, **changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90min", 5400), ("36h", 129_600), ("7d", 604_800), ("1.5w", 907_200)],
)
def test_spans_by_hand(text: str, seconds: int) -> None:
    assert span(text) == timedelta(seconds=seconds)
    assert span(seconds) == seconds


def test_instants_by_hand() -> None:
    assert instant(20220501) == 20220501
    may = datetime.fromisoformat("2022-05-01T00:00:00+00:00")
    assert instant("2022-05-01") == instant("2022-05-01T02:00:00+02:00") == may


def test_a_window_is_text_for_dates_and_a_number_for_numbers() -> None:
    schema = parse(Schema, tree(WHOLE))
    (task,) = schema.maturing
    assert task.maturity is not None
    assert task.maturity.length == timedelta(days=7)
    assert task.maturity.cut == datetime.fromisoformat("2022-05-01T00:00:00+00:00")
    numbers = Maturity(window=10, event_time="paid", observed_until=100)
    assert (numbers.length, numbers.cut) == (10, 100)
    read = Maturity(window="1d", event_time="paid", observed_until=date(2022, 5, 1))  # type: ignore[arg-type]
    assert read.observed_until == "2022-05-01"  # as YAML reads it


def test_the_event_is_a_label_column_so_no_feature_may_read_it() -> None:
    schema = parse(Schema, tree(WHOLE))
    assert schema.label_columns() == ("click", "buy", "paid_at")
    told = refused(WHOLE, features=[{"kind": "categorical", "name": "paid_at"}])
    assert "reads column 'paid_at', which is a label: a leak" in told


def test_it_survives_yaml(tmp_path: Any) -> None:
    from polyrank.config import read_yaml

    for maturity in (WHOLE, {**WHOLE, "window": 2.5, "observed_until": 90}):
        schema = parse(Schema, tree(maturity))
        path = tmp_path / "schema.yaml"
        path.write_text(to_yaml(schema))
        assert parse(Schema, read_yaml(path)) == schema


@pytest.mark.parametrize("missing", ["window", "event_time", "observed_until"])
def test_what_is_missing_is_named_with_its_meaning(missing: str) -> None:
    for gap in ({**WHOLE, missing: None}, {k: v for k, v in WHOLE.items() if k != missing}):
        told = refused(gap)
        assert told.startswith(f"tasks.1.maturity.{missing}: a maturity window needs `{missing}`: ")
        assert told.endswith("Give it, or leave `maturity` out")


def test_all_that_is_missing_is_told_at_once() -> None:
    assert refused({}).count("a maturity window needs") == 3


def test_without_a_time_of_the_impression_it_is_refused() -> None:
    assert refused(WHOLE, keys={}) == (
        "tasks.1.maturity: task 'buy': `maturity` counts from `keys.time`, and there is none. "
        "Name the column with the time of the impression, or leave `maturity` out"
    )
    told = refused({**WHOLE, "event_time": "shown_at"})
    assert told.startswith("tasks.1.maturity.event_time: task 'buy': `event_time` is the column of")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "tasks.1.maturity.window: must be above 0, got 0"),
        ({"window": -1.5}, "must be above 0, got -1.5"),
        ({"window": "0d"}, "must be a span above 0 like 30min, 36h, 7d or 2w"),
        ({"window": "7 days"}, "must be a span above 0 like 30min, 36h, 7d or 2w"),
        ({"window": "seven"}, "got 'seven'"),
        ({"observed_until": "May"}, "a time is a whole number or a date like 2022-04-29"),
        ({"window": 7}, "must be of one kind: two numbers in the unit of `keys.time`, or text"),
        ({"observed_until": 20220501}, "must be of one kind"),
        ({"windw": "7d"}, "windw"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    assert message in refused({**WHOLE, **change})


def test_in_python_as_in_yaml() -> None:
    with pytest.raises(ConfigError, match="a maturity window needs `event_time`"):
        Maturity(window="7d", observed_until="2022-05-01")  # type: ignore[call-arg]
    task = Binary(name="buy", maturity=Maturity(**WHOLE))
    with pytest.raises(ConfigError, match=r"tasks\.0\.maturity: task 'buy'"):
        Schema(features=(Categorical(name="item"),), tasks=(task,))
    schema = Schema(features=(Categorical(name="item"),), tasks=(task,), keys=Keys(time="t"))
    assert schema.maturing == (task,)
