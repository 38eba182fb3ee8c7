"""What an experiment found, as data: for a screen, a file or a table of many experiments."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polyrank.evaluation.ab import Effect, Experiment
from polyrank.simulation.experiment.claims import Claim, story, way
from polyrank.simulation.experiment.comparison import METRICS, compare
from polyrank.simulation.experiment.course import Course


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All arms against one."""

    reference: str
    effects: Mapping[str, Mapping[str, Effect]]
    """By arm and metric; of the reference itself there are none."""
    values: Mapping[str, Mapping[str, float]]
    """By arm and metric, as measured."""
    tests: Mapping[str, Experiment]
    """By arm but the reference."""
    story: tuple[Claim, ...]
    way: Mapping[str, float]
    """By arm, how far its returns are from those of ``random`` (0) to ``satisfaction_oracle`` (1);
    empty without these arms."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is undefined is null."""
        return {
            "reference": self.reference,
            "arms": {
                arm: {metric: _plain(value) for metric, value in values.items()}
                for arm, values in self.values.items()
            },
            "differences": {
                arm: {metric: _effect(effect) for metric, effect in effects.items()}
                for arm, effects in self.effects.items()
            },
            "verdicts": {arm: _verdict(test) for arm, test in self.tests.items()},
            "story": [dataclasses.asdict(claim) for claim in self.story],
            "way": {arm: _plain(value) for arm, value in self.way.items()},
        }


def find(course: Course, reference: str = "logging") -> Findings:
    """Compare every arm with ``reference``.

    Raises:
        ConfigError: There is no such arm, or no other.
    """
    others = [name for name in course.arms if name != reference]
    tests = {name: compare(course, reference, name) for name in others}
    some = next(iter(tests.values())) if tests else compare(course, reference, reference)
    values = {
        name: {
            metric: tests[name].effects[metric].treatment
            if name in tests
            else some.effects[metric].reference
            for metric in METRICS
        }
        for name in course.arms
    }
    ends = {"random", "satisfaction_oracle"} <= set(course.arms)
    return Findings(
        reference=reference,
        effects={name: test.effects for name, test in tests.items()},
        values=values,
        tests=tests,
        story=story(course),
        way={name: way(course, name) for name in course.arms} if ends else {},
    )


def _effect(effect: Effect) -> dict[str, float | None]:
    interval, relative = effect.difference.fixed, effect.relative.fixed
    return {
        "difference": _plain(effect.difference.value),
        "lower": _plain(interval.lower),
        "upper": _plain(interval.upper),
        "relative": _plain(effect.relative.value),
        "relative_lower": _plain(relative.lower),
        "relative_upper": _plain(relative.upper),
    }


def _verdict(test: Experiment) -> dict[str, Any]:
    return {
        "launch": test.launch,
        "returns": test.primary.answer,
        "guardrails": {verdict.guardrail.metric: verdict.answer for verdict in test.guardrails},
        "refused": test.refused,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
