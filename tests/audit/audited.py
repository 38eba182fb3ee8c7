"""The JSON of a tiny audit, and of others made from it."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from polyrank.audit.config import AuditConfig
from polyrank.audit.jobs import run_job
from polyrank.audit.report import REPORT
from polyrank.audit.session import opened
from tests.audit.bench import TASKS, run_config, sources, training

Tree = dict[str, Any]


@cache
def _text() -> str:
    config = run_config(training=training(epochs=1, batch_size=100))
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        folder = Path(name) / "audit"
        asked = AuditConfig(
            seeds=2, transfer="none", baselines=False, remedies="never", output=str(folder)
        )
        with opened(config, asked, sources()) as found:
            for place, job in enumerate(found.plan().waiting):
                found.store.write(*run_job(job, found.bench, folder / "work" / str(place)))
            found.report()
        return (folder / REPORT).read_text()


def audited() -> Tree:
    """Three tasks, two seeds, one look, and transfer as pairs would show it; a tree of its own."""
    tree: Tree = json.loads(_text())
    tree["transfers"] = [
        {"source": source, "target": target, "by": "pairs", "mean": gain, "gains": {"0": gain}}
        for place, (source, target) in enumerate(permutations(TASKS, 2))
        for gain in [0.001 * (place - 2.25)]
    ]
    return tree


def judged(tree: Tree, task: str, answer: str, gain: float, low: float, high: float) -> Tree:
    """The same with another verdict on a task."""
    changed = copy.deepcopy(tree)
    (own,) = (one for one in changed["verdicts"]["tasks"] if one["task"] == task)
    own |= {"answer": answer, "low": low, "high": high}
    own["reason"] = "too few" if answer == "undecided" else None
    own["gain"]["value"] = gain
    return changed


def warned(tree: Tree, *tasks: str) -> Tree:
    """As of one seed, with warnings of some tasks."""
    changed = copy.deepcopy(tree)
    verdicts = changed["verdicts"]
    verdicts["caution"] = "one seed: this can only warn"
    gone = ("answer", "reason", "all_low", "all_high", "p_value", "adjusted", "unharmed_p")
    for own in [*verdicts["tasks"], *verdicts["slices"]]:
        for key in (*gone, "detectable"):
            del own[key]
        own |= {"warns": own["task"] in tasks and own["slice"] is None, "caution": "one seed"}
    return changed


def renamed(tree: Tree, old: str, new: str) -> Tree:
    """The same with another name of a task, wherever it stands."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {_swap(key, old, new): walk(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return _swap(value, old, new) if isinstance(value, str) else value

    found: Tree = walk(tree)
    return found


def _swap(text: str, old: str, new: str) -> str:
    for between in (".", "/", " "):
        text = between.join(new if part == old else part for part in text.split(between))
    return text
