"""The loop closes: what was served, with labels, is a log like the one that was learned from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.config import EvaluationConfig
from polyrank.data import open_log
from polyrank.errors import ConfigError, DataError
from polyrank.fusion.off_policy import SNIPS
from polyrank.monitoring import join_labels
from polyrank.schema import Maturity
from polyrank.scoring import (
    PREFIX,
    Order,
    Question,
    Scorer,
    calibrate_on,
    calibration_config,
    estimate_log,
    evaluate_log,
    replay,
)
from polyrank.scoring.shown import not_shown
from polyrank.serving.predictions import PredictionLog, PredictionLogSettings
from tests import feeds
from tests.serving.predictions import served

CONFIG = EvaluationConfig(resamples=0)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All requests, with features, in several files."""
    settings = PredictionLogSettings(features="all", file_bytes=120_000)
    log = PredictionLog(tmp_path_factory.mktemp("log"), settings)
    assert [log.append(each) for each in served.answers()].count(False) == 0
    assert log.close()
    assert log.counts().written == len(served.answers())
    assert log.counts().files > 1
    return log.folder_of("feed")


@pytest.fixture(scope="module")
def joined(logged: Path) -> pa.Table:
    return pa.concat_tables(join_labels(logged, served.labels(), feeds.schema()))


def metrics(log: Any) -> dict[str, float]:
    found = evaluate_log(served.scorer(), log, CONFIG)
    return {f"{row.task}.{row.metric}": row.value for row in found.rows}


def test_evaluating_the_joined_log_gives_the_metrics_of_the_original_rows(
    joined: pa.Table,
) -> None:
    original = metrics(feeds.log())
    assert metrics(joined) == pytest.approx(original, rel=1e-9, nan_ok=True)
    assert len(original) > 20


def test_the_logged_predictions_are_those_the_bundle_makes_of_the_logged_rows(
    joined: pa.Table,
) -> None:
    again = served.scorer().score(joined)
    for task in feeds.schema().task_names:
        np.testing.assert_array_equal(again[PREFIX + task], joined[PREFIX + task])


def test_what_nobody_saw_changes_nothing(joined: pa.Table) -> None:
    """Rows that were not shown, whatever stands in their labels, beside those that were."""
    few = joined.slice(0, 300)
    unseen = few.slice(100, 100)
    for name, value in (("served_shown", False), ("click", 1.0)):
        column = pa.array([value] * 100, unseen.schema.field(name).type)
        unseen = unseen.set_column(unseen.schema.get_field_index(name), name, column)
    both = [few, unseen]
    assert metrics(both) == pytest.approx(metrics(few), nan_ok=True)
    config = calibration_config(feeds.bundle(), "platt", None)
    one, two = (calibrate_on(served.scorer(), log, config).card.calibration for log in (few, both))
    assert one["tasks"] == two["tasks"]
    assert replay(served.scorer(), both, [Order.of(feeds.bundle())]).rows.num_rows == 300
    assert not_shown(open_log(both)) == 100


def test_calibration_and_value_models_read_the_joined_log(joined: pa.Table) -> None:
    config = calibration_config(feeds.bundle(), "platt", None)
    found, expected = (
        calibrate_on(served.scorer(), log, config).card.calibration["tasks"]
        for log in (joined, feeds.log())
    )
    assert found == expected
    order = Order.of(feeds.bundle())
    assert replay(served.scorer(), joined, [order]).rows.num_rows == feeds.ROWS


def test_drawn_weights_can_be_estimated_from(tmp_path: Path) -> None:
    """Weights that were drawn a request stand where ``estimate --jitter`` looks for them."""
    log = PredictionLog(tmp_path, PredictionLogSettings(features="all"))
    for place, answer in enumerate(served.answers()[:6]):
        drawn = {"click": 1.0 + place % 3 / 10, "like": 2.0}
        log.append(served.replaced(answer, weights=drawn))
    log.close()
    table = pq.read_table(log.folder_of("feed"))
    by_request = dict(
        zip(table["served_request"].to_pylist(), table["weight_click"].to_pylist(), strict=True)
    )
    assert by_request[served.answers()[4].request] == pytest.approx(1.1)
    assert set(table["weight_like"].to_pylist()) == {2.0}


def test_a_row_without_a_label_was_not_observed(logged: Path) -> None:
    few = served.labels().slice(0, 40)
    joined = pa.concat_tables(join_labels(logged, few, feeds.schema()))
    assert joined.num_rows == feeds.ROWS
    assert joined["click"].null_count == feeds.ROWS - 40
    evaluated = evaluate_log(served.scorer(), joined, CONFIG)
    assert evaluated.row("click", "log_loss").rows == 40


@pytest.mark.parametrize(("unit", "a_second"), [("s", 1), ("ms", 1000), ("us", 10**6)])
def test_late_labels_count_from_the_servers_clock_in_the_unit_of_the_schema(
    unit: str, a_second: int, tmp_path: Path, joined: pa.Table
) -> None:
    """Half of the purchases came within the day that they have, the others after it."""
    noon, day = int(served.NOON.timestamp()) * a_second, 86_400 * a_second
    late = Maturity(window=day, event_time="paid", observed_until=noon + 3 * day)
    tasks = [
        task.model_copy(update={"maturity": late}) if task.name == "purchase" else task
        for task in feeds.schema().tasks
    ]
    schema = feeds.schema().model_copy(update={"tasks": tuple(tasks)})
    scorer = Scorer(dataclasses.replace(feeds.bundle(), schema=schema))
    log = PredictionLog(tmp_path, PredictionLogSettings(features="all"))
    for each in served.answers():
        assert log.append(
            served.replaced(each, schema=schema, rows=each.rows.drop_columns("time_ms"))
        )
    assert log.close()
    bought_N = served.labels()["purchase"].to_numpy() == 1
    soon_N = bought_N & (np.cumsum(bought_N) % 2 == 0)
    paid = pa.array(np.where(soon_N, noon + day, noon + 2 * day), mask=~bought_N)
    labels = served.labels().append_column("paid", paid)
    table = pa.concat_tables(join_labels(log.folder_of("feed"), labels, schema))
    assert set(table["time_ms"].to_pylist()) == {noon}
    found = evaluate_log(scorer, table, CONFIG).row("purchase", "log_loss")
    place = joined.column_names.index("purchase")
    own = joined.set_column(place, "purchase", pa.array(soon_N.astype(np.int64)))
    by_hand = evaluate_log(served.scorer(), own, CONFIG).row("purchase", "log_loss")
    assert found.rows == by_hand.rows > 100
    assert found.value == pytest.approx(by_hand.value)
    early = evaluate_log(scorer, table, CONFIG, observed_until=noon + day - 1)
    assert early.row("purchase", "log_loss").rows == 0


def test_labels_of_no_impression_leave_all_unobserved(logged: Path) -> None:
    none = served.labels().slice(0, 0)
    joined = pa.concat_tables(join_labels(logged, none, feeds.schema()))
    assert joined["click"].null_count == feeds.ROWS


def test_labels_by_the_servers_own_request_id(logged: Path, joined: pa.Table) -> None:
    ids = [f"r-{number}" for number in served.labels()["request_id"].to_pylist()]
    own = served.labels().drop_columns("request_id").append_column("served_request", pa.array(ids))
    again = pa.concat_tables(join_labels(logged, own, feeds.schema()))
    assert again.equals(joined)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda t: pa.concat_tables([t, t.slice(3, 2)]), "4 rows of 'request_id' and 'item_id'"),
        (lambda t: t.drop_columns("item_id"), "labels has no column 'item_id'"),
        (lambda t: t.drop_columns("request_id"), "do not both have 'request_id' or 'served_req"),
        (lambda t: t.select(["request_id", "item_id"]), "none of the labels"),
    ],
)
def test_labels_that_cannot_be_matched_are_refused(logged: Path, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(join_labels(logged, labels(served.labels()), feeds.schema()))


def test_parts_of_a_log_may_differ_in_columns_and_types() -> None:
    first = served.shown().slice(0, 10).append_column("weight_a", pa.array([1] * 10))
    second = served.shown().slice(10, 10)
    joined = pa.concat_tables(join_labels([first, second], served.labels(), feeds.schema()))
    assert joined["weight_a"].to_pylist() == [1] * 10 + [None] * 10
    assert joined["click"].to_pylist() == feeds.log()["click"].to_pylist()[:20]


def test_a_schema_without_items_has_nothing_to_match_by() -> None:
    keys = feeds.schema().keys.model_copy(update={"item": None})
    lone = feeds.schema().model_copy(update={"keys": keys})
    with pytest.raises(ConfigError, match="no `keys.item`"):
        list(join_labels(served.shown(), served.labels(), lone))


def test_other_rankings_can_be_judged_by_requests_in_random_order(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, PredictionLogSettings(features="all"))
    random = np.random.default_rng(0)
    for answer in served.answers()[:120]:
        log.append(served.replaced(answer, position_N=random.permutation(answer.rows.num_rows) + 1))
    log.close()
    joined = list(join_labels(log.folder_of("feed"), served.labels(), feeds.schema()))
    question = Question(worth={"click": 1.0}, randomised="served_shown")
    orders = {"now": Order.of(feeds.bundle())}
    few = SNIPS(min_effective=2)
    judged = estimate_log(served.scorer(), joined, orders, question, estimator=few)
    assert (judged.requests, judged.left_out) == (120, {})
