"""Who helps whom, worked out by hand; and how an audit tells how far it is."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from rich.console import Console

from polyrank.audit.cost import RunCost, told_bytes, told_seconds
from polyrank.audit.pool import ended
from polyrank.audit.progress import Bars
from polyrank.audit.results import Result, differences, slug
from polyrank.audit.transfer import transfers_of
from polyrank.audit.variants import Kind
from tests.audit.bench import JOINT, job, run_config

METRICS = {"click": "auc", "like": "auc", "watch": "mae"}


def result(
    kind: Kind, tasks: tuple[str, ...], seed: int, values: tuple[float | None, ...], name: str = ""
) -> Result:
    own = name or ("" if kind == "joint" else " ".join(tasks))
    return Result(
        role=f"{kind} {own}".rstrip(),
        kind=kind,
        tasks=tasks,
        seed=seed,
        status="done",
        identity={},
        metrics={
            f"{task}.{METRICS[task]}": value for task, value in zip(tasks, values, strict=True)
        },
    )


def test_pairs_are_held_against_twins_and_lower_errors_are_gains() -> None:
    found = transfers_of(
        [
            result("twin", ("click",), 0, (0.70,)),
            result("twin", ("watch",), 0, (20.0,)),
            result("twin", ("watch",), 1, (22.0,)),
            result("pair", ("click", "watch"), 0, (0.72, 19.0)),
            result("pair", ("click", "watch"), 1, (0.71, 23.0)),
        ],
        METRICS,
    )
    by = {(own.source, own.target): own for own in found}
    assert by["watch", "click"].gains == {0: pytest.approx(0.02)}
    assert by["click", "watch"].gains == {0: 1.0, 1: -1.0}
    assert by["click", "watch"].mean == 0.0
    assert {own.by for own in found} == {"pairs"}
    assert by["click", "watch"].to_json()["gains"] == {"0": 1.0, "1": -1.0}


def test_of_two_tasks_the_joint_run_is_the_pair() -> None:
    runs = [
        result("joint", ("click", "like"), 0, (0.7, None)),
        result("twin", ("click",), 0, (0.6,)),
        result("twin", ("like",), 0, (0.5,)),
    ]
    by = {(own.source, own.target): own for own in transfers_of(runs, METRICS)}
    assert by["like", "click"].gains == {0: pytest.approx(0.1)}
    assert by["click", "like"].gains == {}
    assert math.isnan(by["click", "like"].mean)
    assert by["click", "like"].to_json()["mean"] is None


def test_what_is_lost_without_a_task_is_what_it_gave() -> None:
    runs = [
        result("joint", ("click", "like", "watch"), 0, (0.7, 0.8, 20.0)),
        result("without", ("like", "watch"), 0, (0.75, 21.0), name="click"),
    ]
    by = {(own.source, own.target): own for own in transfers_of(runs, METRICS)}
    assert by["click", "like"].gains == {0: pytest.approx(0.05)}
    assert by["click", "watch"].gains == {0: 1.0}
    assert {own.by for own in by.values()} == {"leave_one_out"}


def test_bars_move_with_the_runs() -> None:
    out = StringIO()
    bars = Bars(Console(file=out, force_terminal=True, width=100), total=3, done=1)
    run = job(run_config(), JOINT, 4)
    for step, status in ((1, "done"), (2, "failed")):
        bars.begin(0, run)
        bars.step(0, step, 6)
        bars.end(0, run, status)
    bars.close()
    assert "joint, seed 4: failed" in out.getvalue()
    assert "3 of 3 runs" in out.getvalue()


def test_plain_output_has_a_line_a_run() -> None:
    out = StringIO()
    bars = Bars(Console(file=out, width=100), total=2, done=0)
    run = job(run_config(), JOINT, 4)
    bars.begin(0, run)
    bars.step(0, 1, 6)
    bars.end(0, run, "done")
    bars.close()
    assert out.getvalue().startswith("1 of 2 runs, ")
    assert out.getvalue().endswith(" left; joint, seed 4: done\n")


def test_numbers_are_told_as_people_say_them() -> None:
    assert [told_seconds(seconds) for seconds in (3.2, 75, 7300)] == [
        *("3 s", "1 min 15 s", "2 h 1 min")
    ]
    assert told_bytes(3 << 29) == "1.5 GiB"
    assert "SIGKILL, as the system does where memory runs out" in ended(-9)
    assert "SIGTERM" in ended(-15)
    assert "exit code 1" in ended(1)
    found = RunCost(step_seconds=0.1, row_seconds=0.01, peak_bytes=7)
    assert RunCost.from_json({"kind": "measured", **found.to_json()}) == found


def test_folders_of_runs_tell_roles_apart_that_look_alike() -> None:
    roles = ["pair a b", "pair a-b", "pair ä b", "pair " + "x" * 80, "pair " + "x" * 81]
    found = {slug(role, seed) for role in roles for seed in (0, 1)}
    assert len(found) == 10
    assert all(len(name) < 64 for name in found)


def test_differences_are_named_by_their_keys() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": None}
    after = {"a": {"b": 2, "c": [1]}, "d": {"e": 1}}
    assert [*differences(before, after)] == [("a.b", 1, 2), ("d", None, {"e": 1})]
    assert not [*differences(before, before)]
