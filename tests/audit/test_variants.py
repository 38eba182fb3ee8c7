"""What a run of an audit has other than the user's own, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from polyrank.audit.config import AuditConfig, check_audit
from polyrank.audit.results import differences
from polyrank.audit.variants import Changes, Variant, variants_of
from polyrank.config import RunConfig
from tests.audit.bench import JOINT, TASKS, job, run_config, training, twin

FUNNEL = ("click", "purchase", "like", "watch_time")


def changed(config: RunConfig, variant: Variant, **given: Any) -> dict[str, Any]:
    """By dotted key, what the run of a variant has instead."""
    found = job(config, variant, **given).config
    return {key: new for key, _, new in differences(config.tree(), found.tree())}


def test_the_joint_run_is_the_users_own() -> None:
    config = run_config(training=training(select={"metrics": {"like.auc": 2.0}}), seed=7)
    assert changed(config, JOINT, seed=7) == {}
    assert changed(config, JOINT, seed=9) == {"seed": 9}
    assert changed(config, JOINT, seed=7, threads=2) == {"training.threads": 2}


def test_a_twin_differs_in_weights_and_in_what_it_selects_by() -> None:
    config = run_config(balance={"kind": "static", "weights": {"like": 5.0}})
    assert changed(config, twin("like")) == {
        "balance.weights.click": 0.0,
        "balance.weights.watch_time": 0.0,
        "training.select.metrics.like.auc": 1.0,
    }
    assert changed(config, twin("watch_time"))["training.select.metrics.watch_time.mae"] == 1.0


def test_a_twin_selects_by_its_own_part_of_what_the_user_selects_by() -> None:
    select = {"metrics": {"click.auc": 1.0, "like.auc": 3.0, "like.log_loss": 0.1}}
    config = run_config(training=training(select=select))
    own = job(config, twin("like")).config.training.select.metrics
    assert own == {"like.auc": 3.0, "like.log_loss": 0.1}
    assert job(config, twin("watch_time")).config.training.select.metrics == {"watch_time.mae": 1.0}
    pair = Variant(kind="pair", tasks=("click", "watch_time"))
    assert job(config, pair).config.training.select.metrics == {"click.auc": 1.0}


def test_pairs_select_by_the_usual_sum_where_the_user_says_nothing() -> None:
    config = run_config()
    usual = {"click.auc": 1.0, "like.auc": 1.0, "watch_time.mae": 0.02}
    changes = Changes(config=config, metrics=check_audit(config, AuditConfig()), usual=usual)
    pair = Variant(kind="pair", tasks=("click", "watch_time"))
    found = changes.apply(pair, 0).training.select.metrics
    assert found == {"click.auc": 1.0, "watch_time.mae": 0.02}


@pytest.mark.parametrize("kind", ["uncertainty", "pcgrad", "dwa"])
def test_what_has_no_weights_becomes_a_plain_sum(kind: str) -> None:
    config = run_config(balance={"kind": kind})
    found: Any = job(config, twin("like")).config.balance
    assert (found.kind, found.weights) == ("static", {"click": 0, "like": 1, "watch_time": 0})


def test_a_schedule_keeps_its_ratios() -> None:
    schedule = {"kind": "schedule", "weights": {"like": 2.0}, "ratios": {"like": 0.5}}
    found: Any = job(run_config(balance=schedule), twin("like")).config.balance
    assert (found.kind, found.ratios) == ("schedule", {"like": 0.5})
    assert found.weights == {"click": 0, "like": 2, "watch_time": 0}


def test_a_task_that_weighs_0_has_a_twin_that_learns() -> None:
    config = run_config(balance={"kind": "static", "weights": {"like": 0.0}})
    found: Any = job(config, twin("like")).config.balance
    assert found.weights == {"click": 0, "like": 1, "watch_time": 0}


def test_a_task_that_only_reads_writes_in_its_twin() -> None:
    tasks = {"like": {"writes": False, "learning_rate": 0.5}, "click": {"ramp_steps": 9}}
    config = run_config(training=training(tasks=tasks))
    own = job(config, twin("like")).config.training.tasks
    assert {*own} == {"like"}
    assert (own["like"].writes, own["like"].learning_rate) == (True, 0.5)
    pair = Variant(kind="pair", tasks=("click", "like"))
    both = job(config, pair).config.training.tasks
    assert (both["like"].writes, both["click"].ramp_steps) == (False, 9)


def test_a_tasks_patience_is_that_of_its_twin() -> None:
    config = run_config(training=training(tasks={"like": {"patience": 2}}, select={"patience": 5}))
    found = job(config, twin("like")).config.training
    assert (found.select.patience, found.tasks["like"].patience) == (2, None)
    assert job(config, twin("click")).config.training.select.patience == 5


def test_a_chain_that_is_cut_learns_in_its_own_sample_space() -> None:
    config = run_config(FUNNEL, model={"funnel": {"kind": "esmm"}})
    chain = Variant(kind="pair", tasks=("click", "purchase"))
    cut = Variant(kind="pair", tasks=("purchase", "like"))
    kinds = [
        job(config, variant).config.model.funnel.kind
        for variant in (twin("click"), chain, twin("purchase"), cut)
    ]
    assert kinds == ["esmm", "esmm", "masked", "masked"]


def test_a_remedy_puts_its_changes_over_the_run() -> None:
    changes = {"model.sharing": {"kind": "ple"}, "training.learning_rate": 0.1}
    remedy = Variant(kind="remedy", tasks=TASKS, name="ple", changes=changes)
    found = job(run_config(), remedy).config
    assert (found.model.sharing.kind, found.training.learning_rate) == ("ple", 0.1)


def test_runs_come_in_the_order_in_which_they_are_of_use() -> None:
    remedy = Variant(kind="remedy", tasks=TASKS, name="ple")
    found = variants_of(TASKS, transfer="pairs", small_twins=True, remedies=[remedy])
    assert [one.role for one in found] == [
        *("joint", "twin click", "twin like", "twin watch_time"),
        *("small_twin click", "small_twin like", "small_twin watch_time"),
        *("pair click like", "pair click watch_time", "pair like watch_time", "remedy ple"),
    ]
    left = variants_of(TASKS, transfer="leave_one_out")[4:]
    assert (left[0].role, left[0].tasks) == ("without click", ("like", "watch_time"))
    assert len(variants_of(TASKS[:2], transfer="pairs")) == 3
