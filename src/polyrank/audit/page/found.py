"""An audit's JSON, read back: all that its page is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from polyrank.audit.compared import Compared
from polyrank.audit.courses import Course
from polyrank.audit.evidence import Evidence
from polyrank.audit.report import FORMAT, REPORT, Comparison
from polyrank.audit.transfer import Transfer
from polyrank.audit.verdict import Verdict, Verdicts, Warned, Warnings
from polyrank.errors import ArtefactError
from polyrank.pages import TaskColors

Tree = Mapping[str, Any]


class Looked(NamedTuple):
    """The evidence of one run."""

    seed: int
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an audit's JSON says."""

    tree: Tree
    comparisons: tuple[Comparison, ...]
    verdicts: Verdicts | Warnings | None
    transfers: tuple[Transfer, ...]
    courses: tuple[Course, ...]
    looked: tuple[Looked, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in the order of the schema."""
        return tuple(own.task for own in self.comparisons)

    @property
    def colors(self) -> TaskColors:
        """One a task."""
        return TaskColors(self.tasks)

    @property
    def part(self) -> str:
        """What verdicts are read on."""
        return str(self.tree["part"])

    @property
    def unit(self) -> str:
        """What is drawn for intervals: users, requests or rows."""
        return str(self.tree["unit"])

    @property
    def missing(self) -> int:
        """Runs that are."""
        return int(self.tree["runs"]["of"]) - int(self.tree["runs"]["done"])

    @property
    def judged(self) -> Sequence[Verdict | Warned]:
        """What is said of each task on all rows."""
        return () if self.verdicts is None else self.verdicts.tasks

    @property
    def sliced(self) -> Sequence[Verdict | Warned]:
        """The same by slice, a task's in the order of the numbers in their names."""
        if self.verdicts is None:
            return ()
        places = {task: place for place, task in enumerate(self.tasks)}
        return sorted(
            self.verdicts.slices, key=lambda own: (places[own.task], *_natural(own.slice or ""))
        )

    @property
    def climb(self) -> Tree | None:
        """What came of the remedies; None where none was tried."""
        found: Tree | None = self.tree.get("remedies")
        return found

    @property
    def confidence(self) -> str:
        """Of its intervals."""
        share = 0.95 if self.verdicts is None else 1 - self.verdicts.alpha
        return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"

    def of(self, task: str) -> Compared | None:
        """What is said of a task, if anything is."""
        return next((own for own in self.judged if own.task == task), None)

    def comparison(self, task: str) -> Comparison:
        """Its joint runs and twins."""
        return next(own for own in self.comparisons if own.task == task)

    def runs(self, role: str) -> list[Tree]:
        """Finished runs of a role."""
        done = (one for one in self.tree["results"] if one["status"] == "done")
        return [one for one in done if one["role"] == role]

    def mean(self, role: str, task: str) -> float | None:
        """Of the runs of a role, the metric that the task is judged by."""
        name = f"{task}.{self.comparison(task).metric}"
        found = [one["metrics"].get(name) for one in self.runs(role)]
        there = [value for value in found if value is not None]
        return fmean(there) if there else None

    def roles(self) -> Iterator[str]:
        """All of them, in the order in which they were trained first."""
        yield from dict.fromkeys(one["role"] for one in self.tree["results"])


def read(tree: Tree) -> Found:
    """An audit's JSON.

    Raises:
        ArtefactError: It is of another version.
    """
    if tree.get("format") != FORMAT:
        raise ArtefactError(
            f"the audit has format {tree.get('format', 1)}, and {FORMAT} is read",
            where=REPORT,
            hint="Run the same audit again: it writes this file anew and repeats no finished run.",
        )
    verdicts = tree["verdicts"]
    kind = Warnings if verdicts and "caution" in verdicts else Verdicts
    return Found(
        tree=tree,
        comparisons=tuple(_comparison(own) for own in tree["tasks"]),
        verdicts=None if verdicts is None else kind.from_json(verdicts),
        transfers=tuple(_transfer(own) for own in tree["transfers"]),
        courses=tuple(Course.from_json(own) for own in tree["courses"]),
        looked=tuple(
            Looked(own["seed"], Evidence.from_json(own["found"])) for own in tree["evidence"]
        ),
    )


def _natural(text: str) -> list[str | int]:
    """Texts and whole numbers by turns."""
    parts = re.split(r"(\d+)", text.replace(",", ""))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _comparison(own: Tree) -> Comparison:
    return Comparison(
        task=own["task"],
        metric=own["metric"],
        higher_is_better=own["higher_is_better"],
        joint=_by_seed(own["joint"]),
        twin=_by_seed(own["twin"]),
        checkpoint=_by_seed(own["lost by one checkpoint"]),
    )


def _transfer(own: Tree) -> Transfer:
    return Transfer(
        source=own["source"], target=own["target"], by=own["by"], gains=_by_seed(own["gains"])
    )


def _by_seed(values: Mapping[str, float]) -> dict[int, float]:
    return {int(seed): value for seed, value in values.items()}
