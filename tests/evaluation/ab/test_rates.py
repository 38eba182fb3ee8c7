"""How often an experiment errs. The full thousand runs are nightly; ``rates`` prints them."""

from __future__ import annotations

import pytest

from tests.evaluation.ab.rates import METRICS, arriving, one_look, returning

KINDS = ("difference", "relative")


def test_false_alarms_and_coverage_of_one_look() -> None:
    none, some = one_look(200, 200), one_look(200, 200, lift=0.2)
    for metric in METRICS:
        for kind in KINDS:
            assert 0.01 <= none.found[metric, kind] <= 0.09
            assert 0.90 <= some.covered[metric, kind] <= 0.99
    assert none.reduction["watch_cuped"] > 0.4
    assert none.detectable["watch_cuped"] < 0.8 * none.detectable["watch"]


def test_looking_at_every_day() -> None:
    for peeking in (arriving(30, 400), returning(30, 200)):
        assert peeking.always <= 0.05 < peeking.fixed


@pytest.mark.nightly
@pytest.mark.parametrize("users", [200, 500])
def test_false_alarms_and_coverage_of_a_thousand_experiments(users: int) -> None:
    none, some = one_look(1_000, users), one_look(1_000, users, lift=0.2)
    for metric in METRICS:
        for kind in KINDS:
            assert 0.03 <= none.found[metric, kind] <= 0.07
            assert 0.92 <= some.covered[metric, kind] <= 0.98


@pytest.mark.nightly
def test_a_thousand_experiments_looked_at_every_day() -> None:
    for peeking in (arriving(1_000, 1_000), returning(1_000, 1_000)):
        assert 0 < peeking.always <= 0.05
        assert peeking.fixed > 0.1
    assert arriving(200, 1_000, lift=0.5).always > 0.8
