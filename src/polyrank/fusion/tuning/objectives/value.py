"""What was earned within the first places."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from polyrank.fusion.tuning.credits import Credits, Places
from polyrank.fusion.tuning.objectives.base import (
    Objective,
    credited,
    mean_weights,
    spread,
    whole_requests,
)
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.schema import Faults, Schema
from polyrank.schema.model import Name


class Value(Objective):
    """The mean over requests of what the rows in the first k places brought: the sum over tasks of
    worth x label.

    A request holds all its rows and weighs their mean weight. Outside its sample space a label is
    0; one that was not observed adds nothing.
    """

    kind: Literal["value"] = "value"
    worth: dict[Name, float] = Field(min_length=1)
    """By task, of one unit of its label; negative where less is better."""
    k: PositiveInt = 10

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those that are worth something."""
        return tuple(self.worth)

    @property
    def name(self) -> str:
        """``value@10 of click + 20 purchase``."""
        told = [_term(worth, task) for task, worth in self.worth.items()]
        return f"value@{self.k} of {' + '.join(told)}".replace("+ -", "- ")

    @property
    def unit(self) -> str:
        """A sum a request."""
        return f"worth of the first {self.k} places, a request"

    @property
    def kinds(self) -> frozenset[str]:
        """Any: labels are added as they are."""
        return frozenset({"binary", "duration", "regression", "ordinal", "multiclass"})

    @field_validator("worth")
    @classmethod
    def _some_worth(cls, worth: dict[str, float]) -> dict[str, float]:
        if not any(worth.values()):
            raise Faults([("", "every task is worth 0. Give one another worth")])
        return worth

    def _higher_is_better(self, schema: Schema) -> bool:
        """Worths say it, but for one bad task that is counted."""
        if len(self.worth) > 1:
            return True
        (task,) = self.worth
        return self.worth[task] < 0 or schema.task(task).sign != "bad"

    def credits(self, log: Replayed) -> Credits:
        """A row earns what it brought."""
        list_N, num_lists = whole_requests(log)
        if not num_lists:
            self.undefined("no row has a request")
        brought_N = np.zeros(len(log))
        for task, worth in self.worth.items():
            brought_N += worth * np.nan_to_num(log.outcome(task))
        weights = log.rows.weights
        weight_N = np.ones(len(log)) if weights is None else np.asarray(weights, np.float64)
        weight_G = mean_weights(list_N, num_lists, weight_N)
        credit_N = brought_N * spread(list_N, weight_G / weight_G.sum())
        return credited(list_N, credit_N, Places("top", self.k), weight_G)


def _term(worth: float, task: str) -> str:
    size = "" if abs(worth) == 1 else f"{abs(worth):g} "
    return f"{'-' if worth < 0 else ''}{size}{task}"
