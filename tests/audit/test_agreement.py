"""How far one number goes with another over pairs of tasks."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from polyrank.audit.affinity import affinity_of
from polyrank.audit.agreement import NOTE, Agreement, agreement, directed
from polyrank.audit.gradients import gradients_of

Numbers = dict[tuple[str, str], float]


def numbers(tasks: str, seed: int) -> Numbers:
    rng = np.random.default_rng(seed)
    return {(a, b): float(rng.normal()) for a in tasks for b in tasks}


def test_correlation_interval_and_signs() -> None:
    ours, theirs = numbers("abcd", 0), numbers("abcd", 1)
    theirs = {pair: value + ours[pair] for pair, value in theirs.items()}
    theirs["a", "b"] = 0.0
    found = agreement(ours, theirs)
    pairs = [pair for pair in ours if pair[0] != pair[1]]
    x, y = [ours[pair] for pair in pairs], [theirs[pair] for pair in pairs]
    rho = stats.spearmanr(x, y).statistic
    assert found.pairs == 12
    assert found.spearman == pytest.approx(rho)
    half = 1.959963984540054 * math.sqrt((1 + rho**2 / 2) / 9)
    assert found.low == pytest.approx(math.tanh(math.atanh(rho) - half))
    assert found.high == pytest.approx(math.tanh(math.atanh(rho) + half))
    assert found.sign_pairs == 11
    same = sum(a * b > 0 for a, b in zip(x, y, strict=True)) / 11
    assert found.same_sign == pytest.approx(same)
    assert found.sign_low is not None
    assert found.sign_high is not None
    assert found.sign_low < same < found.sign_high
    hits = 0
    for order in permutations("abcd"):
        named = dict(zip("abcd", order, strict=True))
        moved = [ours[named[a], named[b]] for a, b in pairs]
        hits += abs(stats.spearmanr(moved, y).statistic) >= abs(rho) - 1e-9
    assert found.p_value == pytest.approx(hits / 24)
    opposed = agreement({pair: -value for pair, value in ours.items()}, theirs)
    assert opposed.p_value == found.p_value
    assert opposed.spearman == pytest.approx(-rho)
    assert found.note == NOTE
    assert Agreement.from_json(found.to_json()) == found


def test_names_and_monotone_maps_do_not_matter() -> None:
    ours, theirs = numbers("abcd", 0), numbers("abcd", 1)
    found = agreement(ours, theirs)
    named = dict(zip("abcd", "zkmy", strict=True))

    def renamed(given: Numbers) -> Numbers:
        return {(named[a], named[b]): value for (a, b), value in reversed(given.items())}

    assert agreement(renamed(ours), renamed(theirs)) == found
    stretched = agreement({pair: value**3 for pair, value in ours.items()}, theirs)
    assert stretched == found
    itself = agreement(ours, ours)
    assert itself.spearman == pytest.approx(1.0)
    assert itself.same_sign == 1.0


def test_many_tasks_are_tried_at_random_and_nothing_is_found_in_noise() -> None:
    tasks = "abcdefgh"
    found = [agreement(numbers(tasks, seed), numbers(tasks, 100 + seed)) for seed in range(3)]
    assert all(own.p_value is not None and own.p_value >= 1 / 1000 for own in found)
    assert min(own.p_value or 0.0 for own in found) > 0.02
    real = agreement(numbers(tasks, 0), numbers(tasks, 0))
    assert real.p_value == pytest.approx(1 / 1000)


def test_too_little_to_tell() -> None:
    few = {("a", "b"): 1.0, ("b", "a"): -1.0}
    found = agreement(few, few)
    assert (found.pairs, found.spearman, found.p_value, found.same_sign) == (2, None, None, 1.0)
    assert found.reason == "2 pairs have both numbers, and at least 4 are needed"
    flat = dict.fromkeys(numbers("abc", 0), 0.0)
    none = agreement(flat, numbers("abc", 0))
    assert none.reason == "one of them is the same for all pairs"
    assert (none.same_sign, none.sign_pairs, none.sign_low) == (None, 0, None)


def test_evidence_as_directed_numbers() -> None:
    looks = [{"a": {"a": 0.5, "b": 0.25}, "b": {"a": -1.0}}]
    affinity = affinity_of(("a", "b"), looks, "sgd", seconds=None, total=None)
    assert directed(affinity) == {("a", "b"): 0.25, ("b", "a"): -1.0}
    balance = {
        "gradient_norms": {"a": 1.0, "b": 1.0},
        "cosines": {"a/b": 0.5},
        "conflict_rates": {"a/b": 0.0},
    }
    place = gradients_of(("a", "b"), [{"step": 1, "balance": balance}], []).fork
    assert directed(place) == {("a", "b"): 0.5, ("b", "a"): 0.5}
