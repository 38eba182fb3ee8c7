"""Whether a change is called one: arithmetic by hand, chance, and planted drift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.bundle import Distribution, Rate
from polyrank.monitoring import Drift, Thresholds
from polyrank.monitoring.drift import bin_names, chi_square, compare, level, psi, rise, shares

LIMITS = Thresholds()


def column(
    counts: list[int], *, missing: int = 0, effective: float | None = None, kind: str = "number"
) -> Distribution:
    total = sum(counts)
    bounds = len(counts) - 1
    return Distribution(
        name="x",
        part="input",
        kind="number" if kind == "number" else "category",
        edges=tuple(float(k) for k in range(bounds)) if kind == "number" else (),
        values=tuple(f"v{k}" for k in range(bounds)) if kind != "number" else (),
        counts=tuple(counts),
        effective=total if effective is None else effective,
        missing=Rate(count=missing, of=total + missing, effective=total + missing),
    )


def test_psi_by_hand() -> None:
    # (0.1 - 0.2) ln(0.1 / 0.2) + (0.6 - 0.5) ln(0.6 / 0.5) + 0 = 0.069315 + 0.018232
    found = psi(np.array([0.2, 0.5, 0.3]), np.array([0.1, 0.6, 0.3]))
    assert found == pytest.approx(0.0875469, abs=1e-6)


def test_a_change_by_hand() -> None:
    """Half a row goes to each bin, so that an empty one has a logarithm."""
    found = compare(column([200, 500, 300]), column([100, 600, 300]), LIMITS, tests=1)
    p = np.array([200.5, 500.5, 300.5]) / 1001.5
    q = np.array([100.5, 600.5, 300.5]) / 1001.5
    assert found.psi == pytest.approx(float(np.sum((q - p) * np.log(q / p))))
    assert found.noise == pytest.approx(2 * (1 / 1000 + 1 / 1000))
    assert found.bound == pytest.approx(-2 * math.log(0.05) * (1 / 1000 + 1 / 1000))
    assert found.largest == pytest.approx(0.1)
    assert found.where == "up to 0"
    assert found.level == "quiet", "0.087 is below 0.1"
    assert compare(column([200, 500, 300]), column([60, 640, 300]), LIMITS, 1).level == "note"
    assert compare(column([200, 500, 300]), column([20, 680, 300]), LIMITS, 1).level == "alarm"


def test_rows_that_are_alike_tell_less() -> None:
    before = column([200, 500, 300])
    for effective, expected in ((1000.0, "alarm"), (12.0, "quiet")):
        now = column([20, 680, 300], effective=effective)
        assert compare(before, now, LIMITS, 1).level == expected


def test_values_that_are_new_or_gone_are_a_change() -> None:
    before = column([500, 500, 0], kind="category")
    now = column([400, 400, 200], kind="category")
    found = compare(before, now, LIMITS, 20)
    assert (found.level, found.where) == ("alarm", "other")
    found = compare(column([500, 500]), column([0, 0], missing=1000), LIMITS, 20)
    assert (found.level, found.where) == ("alarm", "missing")


def test_bins_of_few_rows_go_together() -> None:
    """20 rows cannot fill 10 bins: neighbours are merged until 5 are expected."""
    before = column([100] * 10)
    found = compare(before, column([2] * 10), LIMITS, 1)
    bins = found.noise / (1 / 1000 + 1 / 20) + 1
    assert round(bins) == 3
    assert found.psi == pytest.approx(0.0, abs=0.05)


def test_a_bin_that_chance_may_have_filled_is_not_chosen_for_it() -> None:
    """Of a rare category 3 of 100 rows were expected and 6 came: it stays among the others."""
    before = column([6_600, 3_000, 300, 100], kind="category")
    rare = compare(before, column([62, 31, 6, 1], kind="category"), LIMITS, 1)
    assert round(rare.noise / (1 / 10_000 + 1 / 100)) == 1, "two bins"
    burst = compare(before, column([48, 31, 20, 1], kind="category"), LIMITS, 1)
    assert round(burst.noise / (1 / 10_000 + 1 / 100)) == 2, "three"
    assert burst.level == "alarm"
    constant = compare(column([900, 0]), column([100, 0]), LIMITS, 1)
    assert constant.reason == "all rows are in one bin, or too few to tell bins apart"


def test_without_values_nothing_is_said() -> None:
    found = compare(column([10, 10]), column([0, 0]), LIMITS, 1)
    assert math.isnan(found.psi)
    assert found.reason == "no value to compare with"


@given(st.lists(st.integers(0, 400), min_size=2, max_size=8), st.sampled_from(["number", "c"]))
def test_the_same_rows_are_no_change(counts: list[int], kind: str) -> None:
    if sum(counts) < 2:
        return
    same = column(counts, kind=kind)
    found = compare(same, same, LIMITS, 1)
    assert found.level == "quiet"
    if found.reason is None:
        assert found.psi == pytest.approx(0.0)
        assert found.largest == 0.0


@given(
    st.lists(st.integers(0, 300), min_size=3, max_size=6),
    st.lists(st.integers(0, 300), min_size=6, max_size=6),
)
def test_a_change_is_as_large_from_either_side(one: list[int], two: list[int]) -> None:
    two = two[: len(one)]
    if min(sum(one), sum(two)) < 2:
        return
    there, back = (compare(column(a), column(b), LIMITS, 1) for a, b in ((one, two), (two, one)))
    assert there.psi == pytest.approx(back.psi, nan_ok=True)
    assert there.reason == back.reason
    assert not there.psi < -1e-12


@pytest.mark.parametrize("num_bins", [2, 5, 10])
def test_the_bound_is_exceeded_by_chance_as_often_as_it_says(num_bins: int) -> None:
    """3,000 pairs of small samples of one distribution: 5 %, and so large on average as told."""
    random = np.random.default_rng(num_bins)
    share_B = random.dirichlet(np.full(num_bins, 20.0))
    found = [_drawn(random, share_B) for _ in range(1500)]
    exceeded = np.mean([drift.psi > drift.bound for drift in found])
    assert 0.03 < exceeded < 0.07
    ratio = np.mean([drift.psi for drift in found]) / found[0].noise
    assert 0.93 < ratio < 1.07


def _drawn(
    random: np.random.Generator, share_B: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Drift:
    before, now = random.multinomial(700, share_B), random.multinomial(300, share_B)
    return compare(column(before.tolist()), column(now.tolist()), LIMITS, 1)


TABLES = {
    0.05: {1: 3.841, 2: 5.991, 3: 7.815, 5: 11.070, 9: 16.919, 20: 31.410},
    0.001: {1: 10.828, 2: 13.816, 3: 16.266, 5: 20.515, 9: 27.877, 20: 45.315},
}


def test_chi_square_as_in_tables() -> None:
    for tail, row in TABLES.items():
        for degrees, value in row.items():
            assert chi_square(degrees, tail) == pytest.approx(value, rel=0.02)


def test_a_rise_is_larger_than_chance_and_than_one_cares_about() -> None:
    one = column([100, 100])
    share = {
        now: rise(one, "missing", rate(10, 1000), rate(now, 1000), LIMITS, 20)
        for now in (0, 12, 45, 200)
    }
    assert [found.level for found in share.values()] == ["quiet", "quiet", "note", "alarm"]
    # As large, and told by four rows only.
    assert rise(one, "missing", rate(10, 1000), rate(1, 4), LIMITS, 20).level == "quiet"
    found = share[45]
    pooled, per = 55 / 2000, 2 / 1000
    by_hand = 2.807034 * math.sqrt(pooled * (1 - pooled) * per) + per / 2
    assert found.bound == pytest.approx(by_hand, rel=1e-4), "z of 0.05 / 20"


def rate(count: int, of: int) -> Rate:
    return Rate(count=count, of=of, effective=of)


def test_names_and_shares_of_bins() -> None:
    one = column([1, 2, 1], missing=4)
    assert bin_names(one) == ["up to 0", "0 to 1", "above 1", "missing"]
    assert shares(one).tolist() == [0.125, 0.25, 0.125, 0.5]
    assert bin_names(column([3])) == ["any", "missing"]
    assert bin_names(column([1, 1], kind="c")) == ["v0", "other", "missing"]


def test_levels() -> None:
    assert [level(v, 0.1, 0.2) for v in (-1, 0, 0.05, 0.1, 0.2)] == [
        "quiet",
        "quiet",
        "quiet",
        "note",
        "alarm",
    ]
    assert level(0.0, 0.0, 0.0) == "quiet", "nothing is no change even where any is an alarm"
