"""The ladder over runs whose predictions are made up, so that what is harmed is known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from polyrank.audit.config import AuditConfig
from polyrank.audit.grouping import groups_of
from polyrank.audit.jobs import Bench, Job, measure, result_of
from polyrank.audit.remedies import REMEDIES, Case, Remedy
from polyrank.audit.results import Result, Timing
from polyrank.audit.session import Audit, opened
from polyrank.audit.variants import Variant
from polyrank.audit.verdict import Verdict
from polyrank.config import RunConfig, load_config
from polyrank.schema import parse
from polyrank.training import Sources
from tests.audit.bench import TASKS, logs, run_config, schema_tree, sources, training

TREE = schema_tree()
TREE["keys"] = {"user": TREE["keys"]["user"]}  # slices of items take long, and say nothing here
CONFIG = run_config(schema=TREE, training=training(epochs=1, threads=2))
FRESH = (3, 4, 5)
Skill = Callable[[str, str, int], float]
"""By role, task and seed, how much of the label a prediction knows."""


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def predicted(job: Job, bench: Bench, skill: Skill) -> dict[str, Any]:
    """Noise that all runs of a seed have in common, and as much of the label."""
    found = {}
    for task in job.variant.tasks:
        place = TASKS.index(task)
        labels_N = np.nan_to_num(bench.truth.labels_NT[:, place])
        noise_N = np.random.default_rng([job.seed, place]).random(len(labels_N))
        know = skill(job.variant.role, task, job.seed)
        found[task] = (know * labels_N + (1 - know) * noise_N).astype(np.float32)
    return found


def answered(job: Job, bench: Bench, skill: Skill) -> tuple[Result, dict[str, Any]]:
    predictions = predicted(job, bench, skill)
    metrics, reasons = measure(bench, job.config.schema_, predictions)
    wide = 3 if job.variant.role == "remedy ple" else 1
    timing = Timing(
        seconds=1.0,
        cpu_seconds=2.0 * wide,
        train_seconds=1.0,
        predict_seconds=0.1,
        rows_per_second=10.0,
        peak_bytes=1,
    )
    result = result_of(
        job,
        bench,
        metrics=metrics,
        reasons=reasons,
        parameters=100 * wide,
        multiply_adds=50 * wide,
        timing=timing,
    )
    return result, predictions


def settle(found: Audit, skill: Skill, most: int | None = None) -> list[tuple[str, int]]:
    """Do what comes next until nothing does, or ``most`` rounds; the runs, in order."""
    order: list[tuple[str, int]] = []
    rounds = 0
    while (waiting := found.plan().waiting) and rounds != most:
        for job in waiting:
            found.store.write(*answered(job, found.bench, skill))
            order.append(job.key)
        rounds += 1
    return order


def harmed(role: str, task: str, seed: int) -> float:
    """Joint runs harm likes. CGC mends that on the seeds that choose, PLE on all, nothing else."""
    if role == "remedy cgc":
        return 0.2 if task == "like" and seed in FRESH else 0.6
    return 0.6 if task != "like" or role.startswith(("twin", "remedy ple")) else 0.2


def opening(folder: Path, config: RunConfig = CONFIG, **given: Any) -> Any:
    asked = AuditConfig(
        seeds=3, transfer="none", evidence=False, baselines=False, output=str(folder), **given
    )
    return opened(config, asked, sources())


def test_the_cheapest_that_keeps_its_promise_on_fresh_seeds_is_recommended(tmp_path: Path) -> None:
    names = ("weight 2", "cgc", "ple", "wider cgc", "stop gradient", "drop")
    few = [remedy for remedy in REMEDIES if remedy.name in names]
    with opening(tmp_path) as whole:
        found = replace(whole, remedies=few)
        assert len(settle(found, harmed, most=1)) == 3 * 4
        order = settle(found, harmed)
        report = found.report()
        climb = report.remedies
        assert climb is not None
        assert (climb.harmed, climb.recommended, climb.whole) == (("like",), "ple", True)
        assert [one.name for one in climb.tried] == ["weight 2", "cgc", "ple"]
        assert [*climb.untried] == ["wider cgc"]
        assert {one.name: "not measured" in one.reason for one in climb.unfit} == {
            "stop gradient": True,
            "drop": True,
        }
        assert [one.removes for one in climb.tried] == [False, True, True]
        cgc, ple = climb.tried[1:]
        assert cgc.confirmed is not None
        assert ple.confirmed is not None
        assert (cgc.confirmed.keeps, ple.confirmed.keeps) == (False, True)
        assert ple.confirmed.seeds == FRESH
        # Fresh twins are trained once, when the first promise is put to the test.
        assert order[-6:] == [("remedy ple", seed) for seed in (0, 1, 2, *FRESH)]
        assert order.count(("twin like", 3)) == 1
        assert ple.cost is not None
        assert ple.cost.parameters.times == ple.cost.run_seconds.times == 3.0
        assert ple.cost.row_seconds.times > 0
        like = logs()["test"]["like"].to_numpy()
        gains = []
        for seed in (0, 1, 2):
            own, joint = (
                found.store.predictions(role, seed)["like"] for role in ("remedy ple", "joint")
            )
            gains.append(roc_auc_score(like, own) - roc_auc_score(like, joint))
        (over,) = (own for own in ple.over_joint if own.task == "like")
        assert over.gain.value == pytest.approx(np.mean(gains))
        assert report.tasks[1].seeds == (0, 1, 2)
        assert sorted(report.tasks[1].twin) == [0, 1, 2]
        written = json.loads((tmp_path / "audit.json").read_text())["remedies"]
        assert written["recommended"] == "ple"
        assert "3.00 times the parameters" in written["told"]
        ready = load_config(tmp_path / written["file"])
        changed = found.ladder.made("ple")
        assert ready.model == changed.model
        assert (ready.model.sharing.kind, ready.model.sharing.budget) == (
            "ple",
            2 * (64 * 8 + 8) + 3 * 64 * 2,
        )
        kept = ("schema_", "balance", "calibration", "evaluation", "training", "data", "seed")
        for key in kept:
            assert getattr(ready, key) == getattr(CONFIG, key), key


def test_none_of_them_is_an_answer(tmp_path: Path) -> None:
    def hopeless(role: str, task: str, seed: int) -> float:
        return 0.6 if task != "like" or role.startswith("twin") else 0.2

    with opening(tmp_path) as whole:
        found = replace(whole, remedies=REMEDIES[:2])
        settle(found, hopeless)
        climb = found.report().remedies
        assert climb is not None
        assert climb.recommended is None
        assert climb.told == "no remedy that was tried removes the harm (weight 2, weight 4)"
        assert not (tmp_path / "recommended.yaml").exists()


def test_not_being_able_to_tell_is_no_cure(tmp_path: Path) -> None:
    def noisy(role: str, task: str, seed: int) -> float:
        if task != "like" or role.startswith("twin"):
            return 0.6
        return [0.6, 0.2, 0.35][seed % 3] if role == "remedy weight 2" else 0.2

    with opening(tmp_path) as whole:
        found = replace(whole, remedies=REMEDIES[:1])
        settle(found, noisy)
        climb = found.report().remedies
        assert climb is not None
        (one,) = climb.tried
        (like,) = (own for own in one.against_twins if own.task == "like")
        assert isinstance(like, Verdict)
        assert like.answer == "undecided"
        assert (one.removes, climb.recommended) == (False, None)


def test_remedies_wait_for_harm_and_for_all_runs(tmp_path: Path) -> None:
    def fine(role: str, task: str, seed: int) -> float:
        return 0.6

    with opening(tmp_path) as found:
        assert {role.split()[0] for role, _ in settle(found, fine)} == {"joint", "twin"}
        assert found.report().remedies is None
    with opening(tmp_path, remedies="always") as every:
        found = replace(every, remedies=REMEDIES[3:4])
        assert {seed for _, seed in settle(found, fine)} == {0, 1, 2}
        climb = found.report().remedies
        assert climb is not None
        assert climb.recommended is None
        assert "no task is harmed" in climb.told
    with opening(tmp_path, remedies="never") as found:
        assert found.report().remedies is None
        assert found.plan().jobs == found._base().jobs


def case(config: RunConfig = CONFIG, **given: Any) -> Case:
    known: dict[str, Any] = {"harmed": ("like",), "gains": {}, "trunk": 300, **given}
    return Case(config=config, **known)


def made(name: str, own: Case) -> Variant | str:
    (remedy,) = (one for one in REMEDIES if one.name == name)
    return remedy.make(own)


GAINS = {
    ("click", "like"): -3.0,
    ("watch_time", "like"): -5.0,
    ("click", "watch_time"): 2.0,
    ("watch_time", "click"): 1.0,
}


def test_remedies_change_what_they_say() -> None:
    own = case(run_config(balance={"kind": "static", "weights": {"like": 3.0}}), gains=GAINS)
    found = {remedy.name: remedy.make(own) for remedy in REMEDIES}
    changes = {name: one.changes for name, one in found.items() if isinstance(one, Variant)}
    assert changes["weight 2"] == {
        "balance.weights": {"click": 1.0, "like": 6.0, "watch_time": 1.0}
    }
    assert changes["weight 4"] == {
        "balance.weights": {"click": 0.5, "like": 6.0, "watch_time": 0.5}
    }
    sharing = changes["groups"]["model.sharing"]
    assert sharing["groups"] == {"group_1": ["click", "watch_time"], "group_2": ["like"]}
    assert (sharing["budget"], sharing["sharing"]["kind"]) == (300, "mmoe")
    assert changes["wider ple"]["model.sharing"] == {
        "kind": "ple",
        "widths": [8],
        "num_task_experts": 1,
        "num_shared_experts": 1,
        "budget": 390,
    }
    stopped = changes["stop gradient"]["training.tasks"]
    assert [(task, choice["writes"]) for task, choice in stopped.items()] == [
        ("watch_time", False),
        ("click", False),
    ]
    drop = found["drop"]
    assert isinstance(drop, Variant)
    assert drop.tasks == ("click", "like")


@pytest.mark.parametrize(
    ("name", "own", "reason"),
    [
        ("weight 2", case(harmed=TASKS), "every task is harmed"),
        ("weight 2", case(harmed=()), "no task is harmed"),
        ("weight 4", case(run_config(balance={"kind": "dwa"})), "'dwa' sets the weights"),
        ("groups", case(gains={("click", "like"): 1.0, ("like", "watch_time"): 1.0}), "help one"),
        (
            "cgc",
            case(run_config(model={"sharing": {"kind": "cgc"}})),
            "experts of each task already: sharing 'cgc'",
        ),
        (
            "own embeddings",
            case(run_config(model={"sharing": {"kind": "stem"}})),
            "embeddings of each task already",
        ),
        (
            "groups",
            case(run_config(model={"sharing": {"kind": "single_task"}})),
            "tasks are apart already",
        ),
        ("drop", case(harmed=()), "no task is harmed"),
        ("stop gradient", case(gains={("click", "like"): 1.0}), "no task that is not harmed"),
    ],
)
def test_what_cannot_apply_says_why(name: str, own: Case, reason: str) -> None:
    found = made(name, own)
    assert isinstance(found, str)
    assert reason in found


def test_who_is_harmed_stands_alone_where_nothing_else_is_known() -> None:
    found = made("groups", case())
    assert isinstance(found, Variant)
    groups = found.changes["model.sharing"]["groups"]
    assert groups == {"group_1": ["like"], "group_2": ["click", "watch_time"]}


def test_groups_are_joined_as_long_as_both_gain() -> None:
    tasks = ("a", "b", "c", "d")
    gains = {("a", "b"): 5.0, ("c", "d"): 1.0, ("d", "c"): -0.5, ("a", "c"): -9.0}
    assert groups_of(tasks, gains) == (("a", "b"), ("c", "d"))
    assert groups_of(tasks, dict.fromkeys(gains, -1.0)) == (("a",), ("b",), ("c",), ("d",))
    assert groups_of(tasks, {(a, b): 1.0 for a in tasks for b in tasks if a != b}) == (tasks,)


def test_what_does_not_fit_the_run_is_told_before_it_is_tried(tmp_path: Path) -> None:
    tight = Variant(kind="remedy", tasks=TASKS, name="tight", changes={"model.sharing.budget": 1})
    with opening(tmp_path, remedies="always") as found:
        narrow = replace(found, remedies=(Remedy(name="tight", told="", make=lambda case: tight),))
        settle(narrow, harmed)
        climb = narrow.report().remedies
        assert climb is not None
        (unfit,) = climb.unfit
        assert "does not fit this run" in unfit.reason
        assert "`budget` must be at least" in unfit.reason
        assert climb.told == "no remedy can apply"


def conflicting(rows: int, seed: int) -> pa.Table:
    """Two tasks that need different inputs, and room for one of them: ``loud`` takes it."""
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(rows, 8))
    quiet = x_ND[:, 0] + 0.5 * rng.normal(size=rows) > 0
    loud = x_ND[:, 1] ** 2 + x_ND[:, 2]
    columns = {f"x{place}": x_ND[:, place] for place in range(8)}
    return pa.table({**columns, "quiet": quiet.astype(np.int8), "loud": loud})


CONFLICT = {
    "schema": {
        "features": [{"kind": "numeric", "name": f"x{place}"} for place in range(8)],
        "tasks": [{"kind": "binary", "name": "quiet"}, {"kind": "regression", "name": "loud"}],
    },
    "data": {part: f"{part}.parquet" for part in ("train", "validation", "test")},
    "model": {
        "sharing": {"kind": "shared_bottom", "widths": [3]},
        "towers": {"widths": [4]},
    },
    "balance": {"kind": "static", "weights": {"loud": 20.0}},
    "training": training(epochs=8, batch_size=256, learning_rate=0.02),
}


@pytest.mark.nightly
def test_tasks_that_disturb_each_other_are_harmed_and_a_remedy_keeps_its_promise(
    tmp_path: Path,
) -> None:
    """On seeds that neither chose nor confirmed it, too."""
    parts = {
        part: conflicting(rows, seed)
        for seed, (part, rows) in enumerate(
            {"train": 4000, "validation": 2000, "test": 4000}.items()
        )
    }
    config = parse(RunConfig, CONFLICT)
    asked = AuditConfig(
        seeds=6,
        transfer="none",
        evidence=False,
        baselines=False,
        margins={"loud": 0.1},
        output=str(tmp_path),
    )
    with opened(config, asked, Sources.of(**parts)) as found:
        report = found.run()
    assert report.harmed == ("quiet",)
    assert report.remedies is not None
    assert report.remedies.recommended is not None, report.remedies.told
    ready = load_config(tmp_path / "recommended.yaml")
    assert ready.tree() != config.tree()
    (kept,) = (own for own in report.remedies.tried if own.name == report.remedies.recommended)
    variant = Variant(kind="remedy", tasks=kept.tasks, name=kept.name, changes=kept.changes)
    remedy = Remedy(name=kept.name, told=kept.told, make=lambda case: variant)
    later = config.model_copy(update={"seed": 100})
    asked = asked.model_copy(update={"output": str(tmp_path / "later"), "remedies": "always"})
    with opened(later, asked, Sources.of(**parts), remedies=[remedy]) as found:
        again = found.run()
    assert again.remedies is not None
    (own,) = again.remedies.tried
    assert own.removes
    (gained,) = (one for one in own.over_joint if one.task == "quiet")
    assert gained.gain.value is not None
    assert gained.gain.value > 0
