"""What was found in a log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polyrank.bundle import Distribution
from polyrank.monitoring.drift import Drift, Rise
from polyrank.monitoring.thresholds import LEVELS, Level, Thresholds
from polyrank.monitoring.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Predicted over observed, of one task."""

    task: str
    rows: int
    """With a label."""
    positives: int | None
    expected: float
    """The sum of what is predicted of these rows, times their weights."""
    ratio: float
    """NaN: ``reason`` says why."""
    lower: float
    upper: float
    """NaN with a lower one: none, since no event came."""
    ece: float
    """NaN but of binary tasks."""
    ece_lower: float
    ece_upper: float
    level: Level = "quiet"
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to be told."""

    level: Level
    what: str
    """``drift``, ``missing``, ``unseen``, ``calibration`` or ``degraded``."""
    name: str
    """The feature or task, or "requests"."""
    told: str


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A log beside its reference."""

    log: str
    reference: str
    unit: str
    """What was taken to be independent: ``user``, ``request`` or ``row``."""
    volume: Volume
    drifts: tuple[Drift, ...]
    rises: tuple[Rise, ...]
    calibration: tuple[Calibrated, ...]
    findings: tuple[Finding, ...]
    """The loudest first."""
    notes: tuple[str, ...]
    """What was not looked at, and why."""
    thresholds: Thresholds
    pairs: Mapping[str, tuple[Distribution, Distribution]]
    """By part and name, "input hour": the distributions that were compared."""

    @property
    def level(self) -> Level:
        """Of the loudest finding."""
        return max((each.level for each in self.findings), key=LEVELS.index, default=LEVELS[0])

    def reaches(self, level: Level) -> bool:
        """Whether there is a finding of that level or above."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def to_json(self) -> str:
        """All of it but the distributions; what is not known is null."""
        tree = {name: value for name, value in vars(self).items() if name != "pairs"}
        tree["thresholds"] = self.thresholds.model_dump(mode="json")
        plain = {name: _plain(value) for name, value in tree.items()}
        return json.dumps({"level": self.level, **plain}, indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
