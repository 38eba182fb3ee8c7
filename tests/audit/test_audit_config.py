"""What can be audited, and what is said of what cannot."""

from __future__ import annotations

from typing import Any

import pytest

from polyrank.audit.config import AuditConfig, check_audit
from polyrank.errors import ConfigError
from polyrank.schema import parse
from tests.audit.bench import run_config, training

EIGHT = ("click", "long_view", "like", "purchase", "report", "watch_time")


def test_a_task_is_judged_by_what_the_user_says_selects_by_or_else_by_the_usual() -> None:
    select = {"metrics": {"click.gauc": 1.0, "click.auc": 0.1}}
    config = run_config(training=training(select=select))
    metrics = check_audit(config, AuditConfig(metrics={"like": "pr_auc"}))
    assert metrics == {"click": "gauc", "like": "pr_auc", "watch_time": "mae"}


def test_all_faults_are_named_at_once() -> None:
    config = run_config(("click",), training=training(freeze="trunk"))
    settings = AuditConfig(metrics={"click": "auk", "lick": "auc"}, margins={"x": 0.1})
    with pytest.raises(ConfigError) as caught:
        check_audit(config, settings)
    told = str(caught.value)
    assert len(caught.value.problems) == 5
    for part in ("one task, 'click'", "`freeze`", "unknown metric 'auk'", "'lick'", "margins"):
        assert part in told


def test_a_metric_must_suit_its_task() -> None:
    with pytest.raises(ConfigError, match=r"metrics.watch_time: .*not defined .*'duration'"):
        check_audit(run_config(), AuditConfig(metrics={"watch_time": "auc"}))
    with pytest.raises(ConfigError, match="no better end"):
        check_audit(run_config(), AuditConfig(metrics={"click": "ratio"}))


@pytest.mark.parametrize(
    "wrong", [{"seeds": 0}, {"margin": -0.1}, {"sample": 0.0}, {"jobs": 0}, {"part": "train"}]
)
def test_numbers_out_of_range_are_refused_with_their_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        parse(AuditConfig, wrong)


def test_transfer_goes_by_how_many_tasks_there_are() -> None:
    three, two, six = run_config(), run_config(EIGHT[:2]), run_config(EIGHT)
    auto = AuditConfig()
    assert [auto.transfer_of(config) for config in (two, three, six)] == [
        *("none", "pairs", "leave_one_out")
    ]
    learned = run_config(EIGHT, balance={"kind": "uncertainty"})
    assert auto.transfer_of(learned) == "affinity"
    assert AuditConfig(transfer="pairs").transfer_of(six) == "pairs"
    with pytest.raises(ConfigError, match="no weight to set to 0"):
        check_audit(learned, AuditConfig(transfer="leave_one_out"))


def test_quick_is_one_seed_in_a_folder_of_its_own() -> None:
    assert AuditConfig(seeds=3).run_seeds(5) == (5, 6, 7)
    assert AuditConfig(seeds=3, quick=True).run_seeds(5) == (5,)
    folders = [AuditConfig(quick=quick).folder("runs/x") for quick in (False, True)]
    assert folders == ["runs/x-audit", "runs/x-audit-quick"]
    assert AuditConfig(output="here").folder("runs/x") == "here"
