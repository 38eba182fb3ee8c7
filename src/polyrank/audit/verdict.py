"""Does sharing help or harm each task? Verdicts from paired runs, with their margins.

With [low, high] the interval of the gain at 1 - alpha and m the margin, the loss that matters:

- ``harmed``: high < 0 and gain <= -m. There is a loss, and the best guess is that it matters.
- ``helped``: low > 0 and gain >= m. The same the other way.
- ``unharmed``: low >= -m, and not helped: whatever it is, it is no loss that matters.
- ``undecided``: anything else; ``detectable`` says what these runs could have seen.

Why so. That a loss is there (high < 0) is what runs can show; asking them to show that it is larger
than m (high < -m) would call a task harmed only at losses well above m, so it is the estimate that
m is asked of. Without an effect a task is called harmed or helped with a chance of alpha at most,
less where intervals are narrower than m. A loss that is sure and too small to matter is
``unharmed`` once low clears -m, and undecided before. ``unharmed`` is non-inferiority: shown, not
inferred from silence. ``harmed`` and ``unharmed`` exclude each other, and runs that predict the
same are ``unharmed`` at any margin.

Of T tasks, verdicts are corrected, intervals are not. ``harmed`` and ``helped`` go by two-sided
p-values of no gain after Holm's correction over the tasks: any false one with a chance of at most
alpha. ``unharmed`` goes by one-sided p-values of a loss of m, after Holm's over the tasks, at
alpha / 2: any false one with that chance. ``low`` and ``high`` are each task's own;
``all_low`` and ``all_high`` hold for all tasks together (Bonferroni). A task may be undecided
though its own interval leaves out 0. Slices are a family by themselves, over all tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polyrank.audit.compared import Compared, DeltaM, compared_of, delta_m_of
from polyrank.audit.gain import Gain
from polyrank.audit.plain import Plain
from polyrank.audit.resampling import Draws
from polyrank.errors import ConfigError
from polyrank.evaluation.ab import holm

Answer = Literal["helped", "unharmed", "harmed", "undecided"]

CAUTION = "one seed: this can only warn"


@dataclass(frozen=True, kw_only=True)
class Verdict(Compared):
    """What several seeds say.

    Args:
        answer: See the module.
        reason: Why it is undecided; None where it is decided.
        all_low: Lower bound, all of the family holding at once.
        all_high: Upper bound.
        p_value: Of no gain, two-sided, alone.
        adjusted: The same corrected over the family.
        unharmed_p: Of a loss of the margin, one-sided, corrected.
        detectable: The smallest true gain or loss that these runs would find with 80 %, alone.
    """

    answer: Answer
    reason: str | None
    all_low: float | None
    all_high: float | None
    p_value: float | None
    adjusted: float | None
    unharmed_p: float | None
    detectable: float | None


@dataclass(frozen=True, kw_only=True)
class Warned(Compared):
    """What one seed says: it has no answer, and its interval knows of users alone.

    Args:
        warns: high < 0 and gain <= -margin, uncorrected: look again with more seeds.
        caution: That this is no verdict.
    """

    warns: bool
    caution: str = CAUTION


@dataclass(frozen=True, kw_only=True)
class Verdicts(Plain):
    """The verdicts of an audit.

    Args:
        tasks: One a task.
        slices: One a task and slice, a family of its own.
        delta_m: Over all tasks.
        alpha: 1 - confidence.
    """

    tasks: tuple[Verdict, ...]
    slices: tuple[Verdict, ...]
    delta_m: DeltaM
    alpha: float

    @property
    def harmed(self) -> tuple[str, ...]:
        """Names of the tasks that are."""
        return tuple(verdict.task for verdict in self.tasks if verdict.answer == "harmed")


@dataclass(frozen=True, kw_only=True)
class Warnings(Plain):
    """What an audit of one seed has instead; its fields are those of ``Verdicts``."""

    tasks: tuple[Warned, ...]
    slices: tuple[Warned, ...]
    delta_m: DeltaM
    alpha: float
    caution: str = CAUTION


def judge(
    draws: Sequence[Draws], margins: Mapping[str, float], *, confidence: float = 0.95
) -> Verdicts | Warnings:
    """The verdicts on all tasks, or warnings where no task has two seeds.

    Args:
        draws: Of every task, with its slices, as ``draws_of`` gives them.
        margins: By task, the loss that matters; at least 0.
        confidence: Of the intervals, 1 - alpha.

    Raises:
        ConfigError: A task twice or not at all, one without a margin, a margin below 0, a
            confidence that is not between 0 and 1.
    """
    whole = [own for own in draws if own.slice is None]
    _check(whole, draws, margins, confidence)
    alpha = 1 - confidence
    parts = [own for own in draws if own.slice is not None]
    one_seed = all(len(own.seeds) == 1 for own in whole)
    delta_m = delta_m_of(whole, alpha, one_seed=one_seed)
    if one_seed:
        tasks, slices = (
            tuple(_warned(own, margins[own.task], alpha) for own in family)
            for family in (whole, parts)
        )
        return Warnings(tasks=tasks, slices=slices, delta_m=delta_m, alpha=alpha)
    return Verdicts(
        tasks=tuple(_family(whole, margins, alpha)),
        slices=tuple(_family(parts, margins, alpha)),
        delta_m=delta_m,
        alpha=alpha,
    )


def _check(
    whole: Sequence[Draws],
    draws: Sequence[Draws],
    margins: Mapping[str, float],
    confidence: float,
) -> None:
    names = [own.task for own in whole]
    if not names or len(set(names)) < len(names) or {own.task for own in draws} != set(names):
        raise ConfigError(f"`draws` must hold all rows of each task once, got {names}")
    for name in names:
        if not margins.get(name, -1.0) >= 0:
            message = f"the margin must be at least 0, got {margins.get(name)}"
            raise ConfigError(message, where=f"task '{name}'", hint="give one for each task")
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be between 0 and 1, got {confidence}")


def _family(
    draws: Sequence[Draws], margins: Mapping[str, float], alpha: float
) -> Iterator[Verdict]:
    compared = [compared_of(own, margins[own.task], alpha) for own in draws]
    p_values = [own.gain.p_value() for own in compared]
    losses = [_p_of_a_loss(own.gain, own.margin) for own in compared]
    judged = sum(p_value is not None for p_value in p_values)
    for own, p_value, adjusted, loss in zip(
        compared, p_values, _corrected(p_values), _corrected(losses), strict=True
    ):
        answer = _answer(own, adjusted, loss, alpha)
        bounds = own.gain.interval(alpha / max(judged, 1)) or (None, None)
        yield Verdict(
            **vars(own),
            answer=answer,
            reason=_reason(own.gain) if answer == "undecided" else None,
            all_low=bounds[0],
            all_high=bounds[1],
            p_value=p_value,
            adjusted=adjusted,
            unharmed_p=loss,
            detectable=own.gain.detectable(alpha),
        )


def _answer(own: Compared, adjusted: float | None, loss: float | None, alpha: float) -> Answer:
    gain = own.gain.value
    if gain is None or adjusted is None or loss is None:
        return "undecided"
    if adjusted <= alpha and abs(gain) >= own.margin:
        return "helped" if gain > 0 else "harmed"
    return "unharmed" if loss <= alpha / 2 else "undecided"


def _reason(gain: Gain) -> str:
    return gain.reason or "the interval allows both a loss that matters and none"


def _p_of_a_loss(gain: Gain, margin: float) -> float | None:
    """One-sided, of a loss of the margin or more; None where there is none."""
    two_sided = gain.p_value(-margin)
    if two_sided is None or gain.value is None:
        return None
    if gain.error == 0:
        return 0.0 if gain.value >= -margin else 1.0
    return two_sided / 2 if gain.value >= -margin else 1 - two_sided / 2


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's, over those that are there: that a run failed was known before any was looked at."""
    there = iter(holm([p_value for p_value in p_values if p_value is not None]))
    return [None if p_value is None else next(there) for p_value in p_values]


def _warned(own: Draws, margin: float, alpha: float) -> Warned:
    compared = compared_of(own, margin, alpha, one_seed=True)
    gain, high = compared.gain.value, compared.high
    warns = gain is not None and high is not None and high < 0 and gain <= -margin
    return Warned(**vars(compared), warns=warns)
