"""Rankings that are drawn: what is logged of them is what ``polyrank estimate`` needs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.bundle import save_bundle
from polyrank.cli import main
from polyrank.errors import ConfigError
from polyrank.fusion.off_policy import WeightJitter
from polyrank.monitoring import join_labels
from polyrank.scoring import PREFIX, Order
from polyrank.serving.exploring import drawn_list
from polyrank.serving.host import hosted
from polyrank.serving.settings import ServeSettings
from polyrank.simulation import Feed, observed
from tests import feeds
from tests.serving.server import TOKEN, Server, running

SCALE, NARROW, TEMPERATURE, SIZE, REQUESTS = 0.2, 0.193, 1.5, 10, 190
LABELS = ("click", "long_view", "purchase", "like", "report", "watch_time_s")
EXPLORE = {
    "feed": {
        "default": {"kind": "weights", "scale": SCALE, "seed": 3},
        "listed": {"kind": "list", "temperature": TEMPERATURE},
    }
}
VALUE = {"kind": "weighted_sum", "terms": {"click": {"weight": 2.0}, "report": {"weight": -9.0}}}


@dataclass(frozen=True)
class World:
    """What a server logged, and how it answered some."""

    bundle: Path
    log: pa.Table
    """With labels."""
    twice: tuple[Any, Any]
    plain: Any


def rows() -> pa.Table:
    """Requests of others than those that the bundle knows."""
    feed = Feed(feeds.CONFIG.model_copy(update={"num_users": 400, "seed": 3}))
    return observed(pa.concat_tables(list(feed.tables(REQUESTS * SIZE))))


def body(table: pa.Table, request: int, **more: Any) -> dict[str, Any]:
    of_user = ("user_country", "user_age_bucket", "user_activity", "user_history")
    shown = table.slice(request * SIZE, SIZE).drop_columns([*LABELS, "position", "propensity"])
    entries = shown.to_pylist()
    user = {name: entries[0][name] for name in of_user}
    keys = ("user_id", "request_id", "time_ms", "item_id")
    return {
        "user": {"id": request, "features": user},
        "candidates": [
            {
                "id": entry["item_id"],
                "features": {k: v for k, v in entry.items() if k not in (*of_user, *keys)},
            }
            for entry in entries
        ],
        **more,
    }


def asked(server: Server, tree: dict[str, Any], name: str) -> Any:
    return server.ask("POST", "/v1/rank", tree, headers={"x-request-id": name})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("explored")
    bundle = folder / "feed"
    save_bundle(feeds.bundle(), bundle)
    predictions = {"folder": folder / "log", "features": "all", "candidates": "all"}
    table = rows()
    with running({"feed": bundle}, predictions=predictions, explore=EXPLORE) as server:
        for profile in ("listed", "plain"):
            told = {"profile": profile, "value_model": VALUE}
            server.change("PUT", "/v1/models/feed/value-model", told)
        for request in range(REQUESTS):
            asked(server, body(table, request), f"w-{request}")
            asked(server, body(table, request, profile="listed", top_k=3), f"l-{request}")
        plain = asked(server, body(table, 1, profile="plain"), "p-1")
        twice = [asked(server, body(table, 0), "w-0") for _ in range(2)]
        tried = asked(server, body(table, 1, value_model=VALUE), "t-1")
    assert plain["candidates"] == tried["candidates"], "neither is drawn"
    log = pq.read_table(folder / "log" / "feed")
    log = log.slice(0, (2 * REQUESTS + 1) * SIZE)  # without what was asked twice
    return World(bundle, log, (twice[0], twice[1]), plain)


def of(world: World, start: str) -> pa.Table:
    """The rows of the requests whose id starts so, w-0 once."""
    names = world.log["served_request"].to_pylist()
    kept = [name.startswith(start) for name in names]
    return world.log.filter(pa.array(kept))


def estimated(world: World, capsys: Any, *words: str) -> Any:
    """What ``polyrank estimate --json`` says of clicks, once labels are joined."""
    table = rows()
    numbers = np.repeat(np.arange(REQUESTS), SIZE)
    labels = pa.concat_tables(
        table.select(["item_id", *LABELS]).append_column(
            "served_request", pa.array([f"{kind}-{number}" for number in numbers])
        )
        for kind in ("w", "l", "p")
    )
    joined = pa.concat_tables(join_labels(world.log, labels, feeds.schema()))
    path = world.bundle.parent / "joined.parquet"
    pq.write_table(joined, path)
    estimate = ["estimate", str(world.bundle), str(path), "--reward", "click", *words, "--json"]
    assert main(estimate) == 0
    return json.loads(capsys.readouterr().out), joined


def test_each_answer_is_drawn_anew_and_told_its_weights(world: World) -> None:
    """By a name that the server makes: all clients may send one and the same id."""
    centre = Order.of(feeds.bundle()).weights
    told = [answer["value_model"]["drawn"]["weights"] for answer in world.twice]
    assert told[0] != told[1]
    for drawn in told:
        assert drawn.keys() == centre.keys()
        for name, weight in drawn.items():
            assert abs(weight / centre[name] - 1) <= SCALE
            assert weight != centre[name]
    assert "drawn" not in world.plain["value_model"]


def test_the_logged_draw_is_what_the_weights_are_a_function_of(world: World) -> None:
    drawn, centre = of(world, "w-"), Order.of(feeds.bundle()).weights
    jitter = WeightJitter(scale=SCALE, seed=3)
    names = drawn["served_draw"].to_pylist()
    assert len(set(names)) == REQUESTS
    for place in range(0, drawn.num_rows, 7 * SIZE):
        found = jitter.draw(centre, names[place])
        assert {name: drawn[f"weight_{name}"][place].as_py() for name in centre} == found
    assert of(world, "p-")["served_draw"].null_count == SIZE


def test_the_logged_weights_are_those_that_ranked(world: World) -> None:
    """The score is their sum over what each task is expected to bring."""
    log = of(world, "w-")
    centre = Order.of(feeds.bundle()).weights
    score_N = np.zeros(log.num_rows)
    for task in feeds.schema().task_names:
        value_N = log[PREFIX + task].to_numpy()
        for parent in feeds.schema().space(task):
            value_N = value_N * log[PREFIX + parent].to_numpy()
        weight_N = log[f"weight_{task}"].to_numpy()
        score_N += weight_N * value_N
        assert len(np.unique(weight_N)) == REQUESTS
        assert abs((weight_N / centre[task]).mean() - 1) < 6 * SCALE / math.sqrt(3 * REQUESTS)
    np.testing.assert_allclose(log["score"].to_numpy(), score_N, rtol=1e-9)
    assert log["served_propensity"].null_count == log.num_rows, "the chance of a place is unknown"


def test_what_was_logged_under_drawn_weights_is_estimated_from(world: World, capsys: Any) -> None:
    """With requests of other profiles in it, which are left out; by arithmetic of the log alone."""
    words = ("--jitter", str(SCALE), "--narrow", str(NARROW))
    found, log = estimated(world, capsys, *words)
    assert found["left_out"] == {"not drawn around these weights": REQUESTS + 1}
    assert found["requests"] == REQUESTS
    inside_N = np.ones(log.num_rows, dtype=np.bool_)
    for name, centre in Order.of(feeds.bundle()).weights.items():
        weight_N = log[f"weight_{name}"].to_numpy(zero_copy_only=False)
        inside_N &= np.abs(weight_N / centre - 1) <= NARROW
    drawn_N = np.array([name.startswith("w-") for name in log["served_request"].to_pylist()])
    kept_N = drawn_N & inside_N & (log["served_rank"].to_numpy() == 1)
    click_N = log["click"].to_numpy()
    assert 100 < kept_N.sum() < REQUESTS
    assert found["policies"][0]["estimate"]["value"] == pytest.approx(click_N[kept_N].mean())


def test_drawn_lists_are_logged_with_their_chances(world: World, capsys: Any) -> None:
    log = of(world, "l-")
    assert set(log["weight_click"].to_pylist()) == {2.0}
    for start in range(0, 20 * SIZE, SIZE):
        one = log.slice(start, SIZE)
        score_N, place_N = one["score"].to_numpy(), one["served_rank"].to_numpy()
        utility_N = score_N / score_N.std(ddof=1) / TEMPERATURE
        for place in range(1, SIZE + 1):
            left = np.exp(utility_N[place_N >= place])
            chance = math.exp(utility_N[place_N == place][0]) / left.sum()
            assert one["served_propensity"].to_numpy()[place_N == place] == pytest.approx(chance)
    model = world.bundle.parent / "value.json"
    model.write_text(json.dumps(VALUE))
    words = ("--propensity", "served_propensity", "--temperature", "1.5", "--model", str(model))
    found, joined = estimated(world, capsys, *words)
    assert found["left_out"] == {"without propensities": REQUESTS + 1}
    first = joined.filter(pa.array(joined["served_propensity"].is_valid()))
    first = first.filter(pa.array(first["served_rank"].to_numpy() == 1))
    assert found["logged"]["value"] == pytest.approx(np.mean(first["click"].to_numpy()))
    same = found["policies"][1]["estimate"]
    assert same["effective_rows"] > 0.9 * REQUESTS, "it is the ranking that was logged"
    assert same["value"] == pytest.approx(found["logged"]["value"], abs=0.03)


def test_lists_come_as_often_as_their_chances_say() -> None:
    score_N = np.array([3.0, 1.0, 0.5])
    random = np.random.default_rng(0)
    counts: dict[tuple[int, ...], int] = {}
    chance: dict[tuple[int, ...], float] = {}
    for _ in range(2000):
        best_N, chance_N = drawn_list(score_N, 0.8, random)
        drawn = tuple(best_N.tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
        chance[drawn] = float(chance_N.prod())
    assert len(counts) == 6
    assert sum(chance.values()) == pytest.approx(1)
    for drawn, count in counts.items():
        error = math.sqrt(chance[drawn] * (1 - chance[drawn]) / 2000)
        assert abs(count / 2000 - chance[drawn]) < 4 * error
    assert [part.tolist() for part in drawn_list(np.zeros(0), 1.0, random)] == [[], []]
    assert sorted(drawn_list(np.ones(2), 1.0, random)[1].tolist()) == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(
    ("explore", "logged", "told"),
    [
        ({"feed": {"default": {"kind": "list"}}}, False, "nothing is logged"),
        ({"fed": {"default": {"kind": "list"}}}, True, "Did you mean 'feed'"),
    ],
)
def test_drawing_for_nothing_is_refused(
    explore: Any, logged: bool, told: str, tmp_path: Path
) -> None:
    predictions = {"folder": tmp_path} if logged else None
    settings = ServeSettings(
        models={"feed": tmp_path},
        explore=explore,
        predictions=predictions,  # type: ignore[arg-type]
    )
    with pytest.raises(ConfigError, match=told), hosted(settings, token=TOKEN):
        pass
