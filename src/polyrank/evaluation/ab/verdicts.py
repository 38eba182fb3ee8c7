"""What an experiment is asked, metric by metric, and how it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polyrank.errors import ConfigError
from polyrank.evaluation.ab.effect import Effect
from polyrank.evaluation.ab.estimate import Estimate
from polyrank.evaluation.ab.holm import holm

PrimaryAnswer = Literal["better", "worse", "undecided"]
GuardrailAnswer = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """The metric that the treatment is to improve."""

    metric: str
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that the treatment may not harm by more than ``margin``.

    Args:
        metric: Its name.
        margin: The loss that is tolerated, finite and at least 0. At 0, only a treatment that
            improves the metric passes.
        higher_is_better: Which way is a loss.
        relative: ``margin`` is a share of the reference's value (.01: 1 %), else in its unit.

    Raises:
        ConfigError: A margin below 0 or not finite.
    """

    metric: str
    margin: float
    higher_is_better: bool = True
    relative: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            message = f"`margin` must be finite and at least 0, got {self.margin}"
            raise ConfigError(message, where=f"guardrail '{self.metric}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryVerdict:
    """Better or worse where the p-value of no difference is at most alpha.

    Args:
        metric: Its name.
        answer: The verdict.
        p_value: Two-sided; NaN where there is none.
        reason: Why it is undecided; ``None`` where it is decided.
    """

    metric: str
    answer: PrimaryAnswer
    p_value: float
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailVerdict:
    """Where the p-value of a loss of exactly the margin, adjusted, is at most alpha, the side.

    Args:
        guardrail: What was asked.
        answer: ``"pass"``: the loss is smaller than the margin. ``"fail"``: it is larger.
        p_value: Two-sided, of this guardrail alone.
        adjusted: The same after Holm's correction over all guardrails.
        reason: Why it is undecided; ``None`` where it is decided.
    """

    guardrail: Guardrail
    answer: GuardrailAnswer
    p_value: float
    adjusted: float
    reason: str | None


def judge_primary(
    primary: Primary, effect: Effect, refused: str | None, *, always: bool
) -> PrimaryVerdict:
    """The verdict, or undecided for the reason of ``refused``."""
    estimate = effect.difference
    p_value = estimate.p_value(always=always)
    reason = refused or _undecided(estimate, p_value, always=always)
    answer: PrimaryAnswer = "undecided"
    if reason is None:
        answer = "better" if (estimate.value > 0) == primary.higher_is_better else "worse"
    return PrimaryVerdict(metric=primary.metric, answer=answer, p_value=p_value, reason=reason)


def judge_guardrails(
    guardrails: Sequence[Guardrail],
    effects: Mapping[str, Effect],
    refused: str | None,
    *,
    always: bool,
) -> tuple[GuardrailVerdict, ...]:
    """The verdicts in the order given, corrected for their number."""
    estimates = [_of(guardrail, effects[guardrail.metric]) for guardrail in guardrails]
    p_values = [
        estimate.p_value(_worst(guardrail), always=always)
        for guardrail, estimate in zip(guardrails, estimates, strict=True)
    ]
    verdicts = []
    for guardrail, estimate, p_value, adjusted in zip(
        guardrails, estimates, p_values, holm(p_values), strict=True
    ):
        reason = refused or _undecided(estimate, adjusted, always=always)
        answer: GuardrailAnswer = "undecided"
        if reason is None:
            above = estimate.value > _worst(guardrail)
            answer = "pass" if above == guardrail.higher_is_better else "fail"
        verdicts.append(
            GuardrailVerdict(
                guardrail=guardrail,
                answer=answer,
                p_value=p_value,
                adjusted=adjusted,
                reason=reason,
            )
        )
    return tuple(verdicts)


def _of(guardrail: Guardrail, effect: Effect) -> Estimate:
    return effect.relative if guardrail.relative else effect.difference


def _worst(guardrail: Guardrail) -> float:
    """The change at which a loss is exactly the margin."""
    return -guardrail.margin if guardrail.higher_is_better else guardrail.margin


def _undecided(estimate: Estimate, p_value: float, *, always: bool) -> str | None:
    if math.isnan(p_value):
        return estimate.interval(always=always).reason
    if p_value > estimate.alpha:
        return f"p-value {p_value:.3g} is above {estimate.alpha:.3g}"
    return None
