"""Each correction against loops over its equations, one row at a time, and against the laws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import pytest
import torch
from torch import Tensor

from polyrank.heads.delay import DELAYS, Correction, Stream, Times
from tests.heads.delay.late_rows import (
    AGES,
    CASES,
    CONFIGS,
    correction,
    every_row,
    random_logits,
    sigmoid,
)


def test_every_correction_is_tested() -> None:
    assert set(CONFIGS) == set(DELAYS)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chosen(case: str) -> Correction:
    return correction(case)


# The stream, row by row. Clock: the cut is 0, a row was shown at -elapsed.


def first_sample(elapsed: float, delay: float, wait: float) -> tuple[float, int] | None:
    """When, and its label; none without a label or before the row is in the log."""
    if math.isnan(delay) or elapsed < 0:
        return None
    return wait - elapsed, int(delay < wait)


def second_sample(elapsed: float, delay: float, wait: float) -> float | None:
    if math.isnan(delay) or elapsed < 0 or not wait <= delay <= 1:
        return None
    return delay - elapsed


def in_span(moment: float | None, wait: float, ages: tuple[float, float] = AGES) -> bool:
    """From a window after the first row to the first sample of the last one, or the cut."""
    newest, oldest = ages
    return moment is not None and 1 - oldest - 1e-6 <= moment <= min(0.0, wait - newest) + 1e-6


@pytest.mark.parametrize("wait", [0.0, 0.1, 0.25, 0.5])
def test_a_stream_is_what_arrives_in_its_span(wait: float) -> None:
    times = every_row()
    stream = Stream(wait=wait, newest=AGES[0], oldest=AGES[1])
    found = zip(
        times.elapsed_B.double().tolist(),
        times.delay_B.double().tolist(),
        stream.first_B(times).tolist(),
        (stream.first_B(times) & stream.early_B(times)).tolist(),
        stream.second_B(times).tolist(),
        strict=True,
    )
    seen = set()
    for elapsed, delay, first, early, second in found:
        sample = first_sample(round(elapsed, 6), round(delay, 6), round(wait, 6))
        inside = sample is not None and in_span(sample[0], wait)
        assert first == inside, (elapsed, delay)
        assert early == (inside and sample is not None and sample[1] == 1), (elapsed, delay)
        again = second_sample(round(elapsed, 6), round(delay, 6), wait)
        assert second == in_span(again, wait), (elapsed, delay)
        seen.add((first, early, second))
    assert len(seen) >= (4 if wait == 0 else 5)


def rows_of(times: Times, logits: Mapping[str, Tensor]) -> list[dict[str, float]]:
    names = {"elapsed": times.elapsed_B, "delay": times.delay_B}
    columns = {name: x.double().tolist() for name, x in names.items()}
    columns |= {name: x[:, 0].detach().double().tolist() for name, x in logits.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def cross_entropy(z: float, label: int) -> float:
    return -math.log(sigmoid(z if label else -z))


def assert_matches(found: Mapping[str, Tensor], wanted: dict[str, list[float]]) -> None:
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert found[name].tolist() == pytest.approx(values, rel=1e-5, abs=1e-7), name


def kept(chosen: Correction, times: Times, logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses, 0 where their mask does not hold."""
    masks = chosen.masks(times)
    assert set(masks) == {part.name for part in chosen.parts}
    losses = chosen.losses(logits, times)
    return {name: torch.where(masks[name], loss, 0.0) for name, loss in losses.items()}


def test_the_naive_negative_by_hand() -> None:
    times, chosen = every_row(), correction("naive")
    logits = random_logits(chosen, len(times.delay_B), torch.float32)
    wanted = [
        0.0
        if math.isnan(row["delay"]) or row["elapsed"] < 0
        else cross_entropy(row["buy"], int(row["delay"] <= 1))
        for row in rows_of(times, logits)
    ]
    assert_matches(kept(chosen, times, logits), {"buy": wanted})


def test_fake_negatives_weighted_by_hand() -> None:
    times, chosen = every_row(), correction("fnw")
    logits = random_logits(chosen, len(times.delay_B), torch.float32)
    wanted = []
    for row in rows_of(times, logits):
        p, loss = sigmoid(row["buy"]), 0.0
        sample = first_sample(row["elapsed"], row["delay"], 0.0)
        if sample is not None and in_span(sample[0], 0.0):
            loss += (1 - p) * (1 + p) * cross_entropy(row["buy"], 0)
        if in_span(second_sample(row["elapsed"], round(row["delay"], 6), 0.0), 0.0):
            loss += (1 + p) * cross_entropy(row["buy"], 1)
        wanted.append(loss)
    assert_matches(kept(chosen, times, logits), {"buy": wanted})


@pytest.mark.parametrize(("case", "wait"), [("es_dfm 0.25", 0.25), ("es_dfm 0.5 0.3", 0.5)])
def test_elapsed_time_sampling_by_hand(case: str, wait: float) -> None:
    times, chosen = every_row(), correction(case)
    logits = random_logits(chosen, len(times.delay_B), torch.float32)
    wanted: dict[str, list[float]] = {"buy": [], "buy.delayed": [], "buy.real": []}
    for row in rows_of(times, logits):
        p_dp, p_rn, z, delay = (
            sigmoid(row["buy.delayed"]),
            sigmoid(row["buy.real"]),
            row["buy"],
            round(row["delay"], 6),
        )
        loss = 0.0
        sample = first_sample(row["elapsed"], delay, wait)
        if sample is not None and in_span(sample[0], wait):
            weight = 1 + p_dp if sample[1] else (1 + p_dp) * p_rn
            loss += weight * cross_entropy(z, sample[1])
        if in_span(second_sample(row["elapsed"], delay, wait), wait):
            loss += (1 + p_dp) * cross_entropy(z, 1)
        wanted["buy"].append(loss)
        final = not math.isnan(delay) and row["elapsed"] >= 1
        late = int(wait <= delay <= 1)
        wanted["buy.delayed"].append(cross_entropy(row["buy.delayed"], late) if final else 0.0)
        zero_first = final and not delay < wait
        real = cross_entropy(row["buy.real"], int(not delay <= 1)) if zero_first else 0.0
        wanted["buy.real"].append(real)
    assert_matches(kept(chosen, times, logits), wanted)
    weights = [part.weight for part in chosen.parts]
    assert weights == [1.0, *[CASES[case].get("auxiliary_weight", 1.0)] * 2]


def test_further_towers_start_at_the_training_rate() -> None:
    for output, rate in zip(correction("es_dfm 0.25").outputs, (0.3, 0.7), strict=True):
        assert output.task == "buy"
        assert torch.sigmoid(output.initial_logits).tolist() == pytest.approx([rate])


# Laws of all.


@pytest.mark.parametrize("case", sorted(set(CASES) - {"fnw"}))
def test_the_gradient_is_the_finite_difference(case: str) -> None:
    """And of its own tower alone: none flows through a weight."""
    times, chosen = every_row(), correction(case)
    logits = random_logits(chosen, len(times.delay_B), torch.float64)

    def loss(name: str, z_B1: Tensor) -> Tensor:
        return kept(chosen, times, {**logits, name: z_B1})[name]

    for name in logits:
        assert torch.autograd.gradcheck(partial(loss, name), [logits[name]])
        found = torch.autograd.grad(
            loss(name, logits[name]).sum(), list(logits.values()), allow_unused=True
        )
        moved = {key for key, gradient in zip(logits, found, strict=True) if gradient is not None}
        assert moved == {name}


def test_the_gradient_of_fake_negatives_is_that_of_logistic_regression_times_a_weight() -> None:
    """Of a negative (1 - p²) p, of a positive -(1 - p²): in sum (1 - p²) (n p - m), 0 where p is
    the share of m positives to n rows."""
    times, chosen = every_row(), correction("fnw")
    logits = random_logits(chosen, len(times.delay_B), torch.float64)
    kept(chosen, times, logits)["buy"].sum().backward()
    found = logits["buy"].grad
    assert found is not None
    for row, gradient in zip(rows_of(times, logits), found[:, 0].tolist(), strict=True):
        p, wanted = sigmoid(row["buy"]), 0.0
        sample = first_sample(row["elapsed"], row["delay"], 0.0)
        if sample is not None and in_span(sample[0], 0.0):
            wanted += (1 - p * p) * p
        if in_span(second_sample(row["elapsed"], round(row["delay"], 6), 0.0), 0.0):
            wanted -= 1 - p * p
        assert gradient == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("z", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_extreme_logits_are_finite(chosen: Correction, z: float) -> None:
    times = every_row()
    for other in (-1e4, 0.0, 1e4):
        logits = {
            name: torch.full_like(x, z if name == "buy" else other).detach().requires_grad_()
            for name, x in random_logits(chosen, len(times.delay_B), torch.float32).items()
        }
        losses = chosen.losses(logits, times)
        assert all(loss.isfinite().all() for loss in losses.values())
        torch.stack([loss.sum() for loss in losses.values()]).sum().backward()
        for logit in logits.values():
            assert logit.grad is not None
            assert logit.grad.isfinite().all()


def test_half_precision_gives_float32_losses(chosen: Correction) -> None:
    times = every_row()
    logits = random_logits(chosen, len(times.delay_B), torch.float32)
    exact = chosen.losses(logits, times)
    halved = chosen.losses({name: x.bfloat16() for name, x in logits.items()}, times)
    for name, loss in halved.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=0.05)


def test_rows_without_a_label_or_after_the_cut_are_in_no_part(chosen: Correction) -> None:
    times = every_row()
    none_B = times.delay_B.isnan() | (times.elapsed_B < 0)
    assert none_B.any()
    for mask_B in chosen.masks(times).values():
        assert mask_B.dtype == torch.bool
        assert not mask_B[none_B].any()
        assert mask_B.any()
