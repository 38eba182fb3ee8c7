"""Learning rates and random streams are functions of the step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyrank.training.schedule import Schedule
from polyrank.training.seeds import mix, seed_step

words = st.integers(min_value=0, max_value=2**40)


def test_warm_up_rises_from_the_first_step_in_equal_parts() -> None:
    schedule = Schedule(warmup_steps=4, total_steps=10, cosine=False)
    assert [schedule.dense(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [schedule.table(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_to_a_tenth_at_the_last_step_and_leaves_the_table_alone() -> None:
    schedule = Schedule(warmup_steps=2, total_steps=13, cosine=True)
    assert schedule.dense(2) == 1.0
    # Half of the ten steps from 2 to 12: the cosine is 0 there, so (1 + .1) / 2.
    assert schedule.dense(7) == pytest.approx(0.55)
    assert schedule.dense(12) == pytest.approx(0.1)
    assert schedule.dense(4) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 0.2)))
    assert {schedule.table(step) for step in range(2, 13)} == {1.0}


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert Schedule(warmup_steps=0, total_steps=1, cosine=True).dense(0) == 1.0


@given(
    warmup=st.integers(0, 50),
    total=st.integers(1, 100),
    step=st.integers(0, 99),
    cosine=st.booleans(),
)
def test_factors_are_positive_and_at_most_one(
    warmup: int, total: int, step: int, cosine: bool
) -> None:
    schedule = Schedule(warmup_steps=warmup, total_steps=total, cosine=cosine)
    assert 0 < schedule.dense(step) <= schedule.table(step) <= 1


@given(st.lists(words, min_size=1, max_size=3), st.data())
def test_mix_tells_words_and_their_order_apart(numbers: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(numbers) - 1))
    changed = list(numbers)
    changed[place] += 1
    assert mix(*numbers) != mix(*changed)
    assert mix(*numbers) != mix(*numbers, 0)
    assert 0 <= mix(*numbers) < 2**63


def test_mix_spreads_neighbours_over_all_bits() -> None:
    flips = [bin(mix(0, step, 0) ^ mix(0, step + 1, 0)).count("1") for step in range(1000)]
    assert sum(flips) / len(flips) == pytest.approx(31.5, abs=1.0)


def test_a_step_draws_the_same_wherever_it_is_reached_from() -> None:
    seed_step(3, 7, 0)
    first = torch.rand(4)
    torch.rand(100)
    seed_step(3, 7, 0)
    assert torch.equal(torch.rand(4), first)
    seed_step(3, 8, 0)
    assert not torch.equal(torch.rand(4), first)
    seed_step(3, 7, 1)
    assert not torch.equal(torch.rand(4), first)
