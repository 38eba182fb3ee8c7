"""What each correction learns where the truth is known: rows of a few kinds, at a steady rate.

Every kind has a rate of events and a law of delays of its own; the logits of each kind are free, so
what is learned is what the loss wants.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from polyrank.data.layout import TargetStats
from polyrank.heads.delay import DelayObjective, Times
from polyrank.heads.funnels import MaskedObjective
from tests.heads.delay.late_rows import TASK, batch_of, config_of, head
from tests.heads.funnel_rows import total

ROWS = 45_000
SPAN = 2.0
"""Windows from the first row to the cut."""
RATES = (0.05, 0.2, 0.5)
"""P(event within the window) of each kind."""
DELAYS = (0.1, 0.4, 1.0)
"""Mean of the exponential law of delays, in windows, cut off at the window."""


@cache
def log(newest: float = 0.0) -> tuple[torch.Tensor, Times]:
    """The kind of each row, and its times at the cut."""
    rng = np.random.default_rng(17)
    kind_B = rng.integers(0, len(RATES), ROWS)
    elapsed_B = rng.uniform(newest, SPAN, ROWS)
    mean_B = np.array(DELAYS)[kind_B]
    within_B = -mean_B * np.log1p(-rng.random(ROWS) * -np.expm1(-1 / mean_B))
    happens_B = rng.random(ROWS) < np.array(RATES)[kind_B]
    delay_B = np.where(happens_B & (within_B <= elapsed_B), within_B, np.inf)
    times = Times(
        elapsed_B=torch.tensor(elapsed_B, dtype=torch.float32),
        delay_B=torch.tensor(delay_B, dtype=torch.float32),
    )
    return torch.tensor(kind_B), times


@cache
def learned(case: str | None, newest: float = 0.0, oldest: float = SPAN) -> list[float]:
    """The predicted rate of each kind, where the loss is least."""
    kind_B, times = log(newest)
    own = head()
    objective = MaskedObjective({"buy": own})
    chosen: MaskedObjective | DelayObjective = objective
    if case is not None:
        stats = TargetStats(mean=0.3, std=0.5, count=9, ages=(newest, oldest))
        correction = config_of(case).build(TASK, own, stats)
        chosen = DelayObjective(objective, {"buy": correction})
    batch = batch_of(times)
    free = {
        output.name: output.initial_logits.repeat(len(RATES), 1).double().requires_grad_()
        for output in chosen.outputs
    }
    optimizer = torch.optim.Adam(free.values(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    for _ in range(150):
        optimizer.zero_grad()
        total(chosen, {name: free_K[kind_B] for name, free_K in free.items()}, batch).backward()
        optimizer.step()
        schedule.step()
    return torch.sigmoid(free["buy"].detach()[:, 0]).tolist()


def errors(found: list[float]) -> list[float]:
    return [rate / true - 1 for rate, true in zip(found, RATES, strict=True)]


def test_the_naive_negative_is_short_by_the_events_still_to_come() -> None:
    """By integration: the share of events that came, over rows of all ages at the cut."""
    for error, mean in zip(errors(learned("naive")), DELAYS, strict=True):
        ages = np.linspace(0, SPAN, 40_001)
        come = np.minimum(np.expm1(-ages / mean) / np.expm1(-1 / mean), 1).mean()
        assert error == pytest.approx(come - 1, abs=0.03)
    assert errors(learned("naive"))[2] < -0.15


def test_samples_of_the_whole_log_learn_what_the_naive_negative_does() -> None:
    """So they are taken by arrival: with the first row a window older, none is left out."""
    whole = learned("fnw", oldest=SPAN + 1)
    assert whole == pytest.approx(learned("naive"), rel=0.01)


@pytest.mark.parametrize("case", [None, "fnw", "es_dfm 0.25"])
def test_masked_and_corrected_learn_the_rate_within_the_window(case: str | None) -> None:
    """Within three standard errors, counting the samples as half of the rows."""
    for kind, error in enumerate(errors(learned(case))):
        rate = RATES[kind]
        spread = np.sqrt((1 - rate) / rate / (ROWS / len(RATES) / 2))
        assert abs(error) < 3 * spread, (kind, error)
    slowest, naive = (abs(errors(learned(one))[2]) for one in (case, "naive"))
    assert slowest < naive / 5


@pytest.mark.parametrize("case", ["fnw", "es_dfm 0.25"])
def test_a_training_part_that_ends_before_the_cut_is_learned_as_well(case: str) -> None:
    """Its last rows are half a window old: samples are of a span that ends with them."""
    for error, rate in zip(errors(learned(case, newest=0.5)), RATES, strict=True):
        assert abs(error) < 3 * np.sqrt((1 - rate) / rate / (ROWS / len(RATES) / 3))
