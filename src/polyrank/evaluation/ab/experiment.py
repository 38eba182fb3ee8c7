"""Two arms in, effects and verdicts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation.ab.arm import Arm
from polyrank.evaluation.ab.effect import Effect, Looking, paired_effect, unpaired_effect
from polyrank.evaluation.ab.linear import Linear, linearise
from polyrank.evaluation.ab.sample_ratio import LEVEL, SampleRatio, sample_ratio
from polyrank.evaluation.ab.verdicts import (
    Guardrail,
    GuardrailVerdict,
    Primary,
    PrimaryVerdict,
    judge_guardrails,
    judge_primary,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What ``analyse`` found.

    Args:
        effects: Of every metric that both arms have.
        primary: The verdict on the primary metric.
        guardrails: Those on the guardrails, in the order given.
        sample_ratio: The check of the arms' sizes; ``None`` if paired.
        refused: Why nothing was concluded, if so; all verdicts are undecided then.
        confidence: Of the intervals, each by itself.
        always: The verdicts hold at all looks together, else at one look chosen before.
    """

    effects: Mapping[str, Effect]
    primary: PrimaryVerdict
    guardrails: tuple[GuardrailVerdict, ...]
    sample_ratio: SampleRatio | None
    refused: str | None
    confidence: float
    always: bool

    @property
    def launch(self) -> bool:
        """The primary metric is better and every guardrail passes."""
        passed = all(verdict.answer == "pass" for verdict in self.guardrails)
        return self.primary.answer == "better" and passed


def analyse(
    reference: Arm,
    treatment: Arm,
    *,
    primary: Primary,
    guardrails: Sequence[Guardrail] = (),
    shares: tuple[float, float] = (1.0, 1.0),
    planned_users: int | None = None,
    paired: bool = False,
    confidence: float = 0.95,
) -> Experiment:
    """Effects of a treatment over users, and the verdicts.

    A verdict is two-sided. All guardrails together are falsely decided (a pass or a fail that is
    not true) with a chance of at most alpha: Holm's correction over their two-sided p-values at the
    margin. The primary metric stands by itself. The intervals shown are each at ``confidence``,
    uncorrected, so a guardrail may be undecided though its own interval clears the margin.

    Args:
        reference: The arm compared with.
        treatment: The other; of metrics that only one arm has nothing is said.
        primary: The metric to improve.
        guardrails: Metrics not to harm.
        shares: Of users meant for reference and treatment.
        planned_users: Users in both arms (of a paired experiment: in each) that the experiment is
            to end with. Given, verdicts hold at every look, however often one looks and whenever
            one stops; the sequence is narrowest at the planned end. Not given, they hold for one
            look at a time chosen before.
        paired: The same users in the same order in both arms, as a simulated world allows.
        confidence: 1 - alpha, between 0 and 1.

    Raises:
        ConfigError: An unknown metric, a guardrail twice, a setting out of range, covariates of
            paired arms.
        DataError: A user in both arms; paired arms of other users or weights.
    """
    looking = _looking(confidence, planned_users)
    effects = _effects(reference, treatment, looking, paired=paired)
    _require_metrics(primary, guardrails, effects)
    sizes = [int(arm.counted.sum()) for arm in (reference, treatment)]
    ratio = None if paired else sample_ratio(sizes, shares)
    refused = _refusal(ratio)
    always = planned_users is not None
    return Experiment(
        effects=effects,
        primary=judge_primary(primary, effects[primary.metric], refused, always=always),
        guardrails=judge_guardrails(guardrails, effects, refused, always=always),
        sample_ratio=ratio,
        refused=refused,
        confidence=confidence,
        always=always,
    )


def _looking(confidence: float, planned_users: int | None) -> Looking:
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be between 0 and 1, got {confidence}")
    if planned_users is not None and planned_users < 1:
        raise ConfigError(f"`planned_users` must be at least 1, got {planned_users}")
    return Looking(1 - confidence, planned_users)


def _effects(
    reference: Arm, treatment: Arm, looking: Looking, *, paired: bool
) -> dict[str, Effect]:
    compare = _same_users(reference, treatment) if paired else _other_users(reference, treatment)
    effects = {}
    for metric in reference.numerators:
        if metric in treatment.numerators:
            _require_alike(metric, reference, treatment)
            arms = linearise(reference, metric), linearise(treatment, metric)
            effects[metric] = compare(metric, *arms, looking)
    return effects


_Compare = Callable[[str, Linear, Linear, Looking], Effect]


def _same_users(reference: Arm, treatment: Arm) -> _Compare:
    for name in ("users", "weights"):
        ours, theirs = getattr(reference, name), getattr(treatment, name)
        if (ours is None) != (theirs is None) or not np.array_equal(ours, theirs):
            message = f"`{name}` of the paired arms are not the same"
            raise DataError(message, hint="give both arms the same users in the same order")
    if reference.size != treatment.size:
        raise DataError(f"paired arms of {reference.size} and {treatment.size} users")
    if reference.covariates or treatment.covariates:
        message = "`covariates` of paired arms say nothing: they are the same in both"
        raise ConfigError(message, hint="leave them out")
    return paired_effect


def _other_users(reference: Arm, treatment: Arm) -> _Compare:
    if reference.users is not None and treatment.users is not None:
        both = np.intersect1d(reference.users, treatment.users)
        if len(both):
            message = f"{len(both)} users are in both arms, {both[0]} among them"
            raise DataError(message, hint="leave them out, or give `paired=True`")
    return unpaired_effect


def _require_alike(metric: str, reference: Arm, treatment: Arm) -> None:
    if (metric in reference.denominators) != (metric in treatment.denominators):
        raise DataError(f"only one arm has a denominator of '{metric}'")
    columns = [
        np.shape(np.reshape(arm.covariates[metric], (arm.size, -1)))[1]
        if metric in arm.covariates
        else 0
        for arm in (reference, treatment)
    ]
    if columns[0] != columns[1]:
        message = f"'{metric}' has {columns[0]} covariates in the reference, {columns[1]} in the"
        raise DataError(f"{message} treatment", hint="give both arms the same")


def _require_metrics(
    primary: Primary, guardrails: Sequence[Guardrail], effects: Mapping[str, Effect]
) -> None:
    asked = [guardrail.metric for guardrail in guardrails]
    for metric in (primary.metric, *asked):
        if metric not in effects:
            raise ConfigError(f"no metric '{metric}' in both arms", hint=suggest(metric, effects))
    for metric in asked:
        if asked.count(metric) > 1:
            raise ConfigError(f"'{metric}' is a guardrail twice", hint="give each one margin")


def _refusal(ratio: SampleRatio | None) -> str | None:
    if ratio is None or not ratio.mismatch:
        return None
    expected = " and ".join(f"{count:,.0f}" for count in ratio.expected)
    got = " and ".join(f"{count:,}" for count in ratio.counts)
    return (
        f"sample ratio mismatch: {got} users where {expected} were expected "
        f"(p-value {ratio.p_value:.2g}, below {LEVEL})"
    )
