"""The rules of a reader: what its plan asks of every row, pass after pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyrank.data.age_checks import AgeCheck, checks_of_ages
from polyrank.data.checks import Check, checks_of, present_check
from polyrank.data.maturing import check_clocks
from polyrank.data.plan import Plan, Request
from polyrank.data.times import PlausibleTimes

Rows = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What does not change from pass to pass."""

    plan: Plan
    request: Request
    checks: tuple[Check | AgeCheck, ...]

    @property
    def decided_by(self) -> str | None:
        """The column that decides the split."""
        split = self.request.split
        return None if split is None else split.decided_by(self.request.schema)


def rules_of(plan: Plan, request: Request) -> Rules:
    """The rules that the rows of a plan have to keep."""
    names = [*plan.columns, *plan.joined]
    must = {}
    if request.labels:
        keys = request.schema.keys
        must = {c: f"key `{k}`" for k, c in (("user", keys.user), ("time", keys.time)) if c}
    split = request.split
    decides = None if split is None else split.decided_by(request.schema)
    if split is not None and decides is not None:
        must.setdefault(decides, "the column that decides the split")
        if decides in plan.columns:
            # Bounds of another kind than the column are refused here, before a row is read.
            split.assign(plan.schema.empty_table(), 0, column=decides)
    present = [
        present_check(column, owner, on_raw=bool(plan.columns[column].wanted.missing))
        for column, owner in must.items()
        if column in plan.columns
    ]
    ages: tuple[AgeCheck, ...] = ()
    if request.labels:
        check_clocks(request.schema, plan.schema)
        ages = tuple(checks_of_ages(request.schema, names))
    own = checks_of(request.schema, names, labels=request.labels)
    checks: tuple[Check | AgeCheck, ...] = (*present, *own, *ages)
    return Rules(plan=plan, request=request, checks=checks)


def plausible_times(plan: Plan) -> list[PlausibleTimes]:
    """The rule on each column of times, as at the start of a pass."""
    columns = plan.columns.items()
    return [PlausibleTimes(name) for name, column in columns if "time" in column.wanted.roles]


def compared_columns(rules: Rules) -> list[str]:
    """The columns by which rows repeat."""
    deduplicate = rules.request.schema.deduplicate
    chosen = () if deduplicate is None else deduplicate.columns
    return list(chosen or rules.plan.columns)
