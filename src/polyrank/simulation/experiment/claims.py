"""What is expected of the ready-made arms, and whether it came so."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from polyrank.evaluation.ab import Effect, Experiment
from polyrank.simulation.experiment.comparison import arm_of, compare
from polyrank.simulation.experiment.course import Course

Answer = Literal["holds", "fails", "not shown"]

NEAR_ORACLE = 0.05
"""The share of the oracle's returns that a good ranking may lack."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of the story."""

    name: str
    """Short, for tables of many experiments."""
    text: str
    answer: Answer
    """``holds`` or ``fails`` where the whole 95 % interval says so."""
    told: str
    """The numbers, in words."""
    value: float | None = None
    """The difference, as a share; null: none can be told, or the claim is no difference."""
    lower: float | None = None
    """Of its 95 % interval."""
    upper: float | None = None


def story(course: Course) -> tuple[Claim, ...]:
    """The claims of docs/simulation.md whose arms the course has."""
    there = set(course.arms)
    found: list[Claim] = []
    if {"click_only", "tuned"} <= there:
        against = compare(course, "tuned", "click_only")
        found += [
            _more("bait_clicks", "click_only has more clicks than tuned", against, "clicks"),
            _more("bait_exits", "click_only has more quick exits", against, "quick_exits"),
            _fewer("bait_returns", "click_only has fewer returns", against, "returns"),
        ]
    if {"watch_only", "tuned"} <= there:
        against = compare(course, "tuned", "watch_only")
        text = "watch_only has more background play than tuned"
        found.append(_more("background", text, against, "background"))
    if {"satisfaction_oracle", "tuned"} <= there:
        found.append(_near(course))
    if {"logging", "tuned"} <= there:
        found.append(_launched(compare(course, "logging", "tuned")))
    return tuple(found)


def way(course: Course, arm: str, start: str = "random", end: str = "satisfaction_oracle") -> float:
    """How far ``arm`` is on the way in returns from ``start`` (0) to ``end`` (1).

    NaN where start and end have the same.
    """
    mean = {name: _returns(course, name) for name in (arm, start, end)}
    length = mean[end] - mean[start]
    return (mean[arm] - mean[start]) / length if length else math.nan


def _returns(course: Course, name: str) -> float:
    return float(arm_of(course, name).numerators["returns"].mean())


def _more(name: str, text: str, found: Experiment, metric: str) -> Claim:
    return _beyond(name, text, found.effects[metric], 0.0)


def _fewer(name: str, text: str, found: Experiment, metric: str) -> Claim:
    return _beyond(name, text, found.effects[metric], 0.0, above=False)


def _near(course: Course) -> Claim:
    found = compare(course, "satisfaction_oracle", "tuned").effects["returns"]
    text = f"tuned has at least {1 - NEAR_ORACLE:.0%} of the returns of satisfaction_oracle"
    claim = _beyond("near_oracle", text, found, -NEAR_ORACLE)
    if "random" not in course.arms:
        return claim
    far = f"; {way(course, 'tuned'):.0%} of the way there from random"
    return dataclasses.replace(claim, told=claim.told + far)


def _beyond(name: str, text: str, effect: Effect, limit: float, *, above: bool = True) -> Claim:
    """Whether the relative difference lies above ``limit``, or below it."""
    interval = effect.relative.fixed
    if interval.reason is not None:
        return Claim(name=name, text=text, answer="not shown", told=interval.reason)
    over, under = interval.lower > limit, interval.upper < limit
    answer: Answer = "not shown"
    if over or under:
        answer = "holds" if over == above else "fails"
    value = effect.relative.value
    told = f"{value:+.1%} ({interval.lower:+.1%} to {interval.upper:+.1%})"
    return Claim(
        name=name,
        text=text,
        answer=answer,
        told=told,
        value=value,
        lower=interval.lower,
        upper=interval.upper,
    )


def _launched(found: Experiment) -> Claim:
    answers = {verdict.guardrail.metric: verdict.answer for verdict in found.guardrails}
    answer: Answer = "not shown"
    if found.launch:
        answer = "holds"
    elif found.primary.answer == "worse" or "fail" in answers.values():
        answer = "fails"
    told = [f"returns {found.primary.answer}"]
    for outcome in ("fail", "undecided"):
        those = [metric for metric, each in answers.items() if each == outcome]
        told += [f"{outcome}: {', '.join(those)}"] if those else []
    if set(answers.values()) == {"pass"}:
        told.append("all guardrails pass")
    return Claim(
        name="verdict",
        text="tuned has more returns than logging and holds the guardrails",
        answer=answer,
        told="; ".join(told),
    )
