"""The schema: what a log means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import Field, model_validator

from polyrank.schema.features import (
    Bag,
    Categorical,
    Deduplicate,
    Embedding,
    Feature,
    Keys,
    Numeric,
    Sequence,
    SideTable,
)
from polyrank.schema.model import Declared
from polyrank.schema.parse import suggest
from polyrank.schema.tasks import Binary, Duration, Regression, Task


class Schema(Declared):
    """Features, tasks, keys and side tables of one log.

    Raises:
        ValueError: A name used twice, a reference to nothing, a cycle of sample spaces, or a label
            used as a feature (a leak).
    """

    features: tuple[Feature, ...] = Field(min_length=1)
    tasks: tuple[Task, ...] = Field(min_length=1)
    keys: Keys = Keys()
    tables: tuple[SideTable, ...] = ()
    deduplicate: Deduplicate | None = None
    """How repeated impressions are dropped; null keeps every row."""

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        faults = [
            *_repeated("feature", (feature.name for feature in self.features)),
            *_repeated("task", (task.name for task in self.tasks)),
            *_repeated("table", (table.name for table in self.tables)),
            *self._reference_faults(),
            *self._leaks(),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def feature(self, name: str) -> Categorical | Numeric | Bag | Sequence | Embedding:
        """The feature called ``name``."""
        return next(feature for feature in self.features if feature.name == name)

    def task(self, name: str) -> Binary | Regression | Duration:
        """The task called ``name``."""
        return next(task for task in self.tasks if task.name == name)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in their declared order."""
        return tuple(task.name for task in self.tasks)

    def label_columns(self) -> tuple[str, ...]:
        """Columns that hold labels or their masks."""
        masks = (task.mask for task in self.tasks if task.mask is not None)
        return tuple(dict.fromkeys([*(task.label for task in self.tasks), *masks]))

    def feature_columns(self) -> tuple[str, ...]:
        """Columns that hold features, joined ones included."""
        return tuple(dict.fromkeys(feature.column for feature in self.features))

    def space(self, task: str) -> tuple[str, ...]:
        """The tasks that must be 1 for ``task`` to mean something, nearest first."""
        chain: list[str] = []
        parent = self.task(task).within
        while parent is not None:
            chain.append(parent)
            parent = self.task(parent).within
        return tuple(chain)

    def _leaks(self) -> list[str]:
        labels = set(self.label_columns())
        return [
            f"feature {feature.name!r} reads column {feature.column!r}, which is a label: a leak"
            for feature in self.features
            if feature.column in labels
        ]

    def _reference_faults(self) -> list[str]:
        categorical = {f.name for f in self.features if isinstance(f, Categorical)}
        faults: list[str] = []
        for feature in self.features:
            for field in ("shares", "target"):
                wanted = getattr(feature, field, None)
                if wanted is not None and wanted not in categorical:
                    faults.append(
                        f"feature {feature.name!r}: `{field}` names {wanted!r}, which is no "
                        f"categorical feature. {suggest(wanted, categorical)}"
                    )
        return [*faults, *self._space_faults()]

    def _space_faults(self) -> list[str]:
        parents = {task.name: task.within for task in self.tasks}
        binary = {task.name for task in self.tasks if isinstance(task, Binary)}
        for name, within in parents.items():
            if within is not None and within not in binary:
                return [
                    f"task {name!r}: `within` names {within!r}, which is no binary task. "
                    f"{suggest(within, binary)}"
                ]
        for name in parents:
            seen: list[str] = []
            step: str | None = name
            while step is not None and step not in seen:
                seen.append(step)
                step = parents[step]
            if step is not None:
                return [f"the sample spaces form a cycle: {' -> '.join([*seen, step])}"]
        return []


def _repeated(what: str, names: Iterable[str]) -> list[str]:
    counts = Counter(names)
    return [f"{what} {name!r} is declared {n} times" for name, n in counts.items() if n > 1]
