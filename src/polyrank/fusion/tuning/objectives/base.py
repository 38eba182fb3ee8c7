"""The seam of objectives: rows with labels in, what each row earns by its place out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from polyrank.errors import ConfigError, DataError, suggest
from polyrank.evaluation import NO_GROUP
from polyrank.fusion.tuning.credits import Credits, Places, numbered
from polyrank.fusion.tuning.replayed import Replayed
from polyrank.fusion.tuning.result import Goal
from polyrank.schema import Declared, Schema

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Objective(Declared, ABC):
    """A quantity of a ranking of a log, to be raised, lowered or held."""

    kind: str

    @property
    @abstractmethod
    def tasks(self) -> tuple[str, ...]:
        """Whose labels it reads."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called: ``ndcg@10 of click``."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """In words."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of task that it is defined for."""
        return frozenset({"binary", "duration"})

    def goal(self, schema: Schema) -> Goal:
        """Itself, as the result tells it.

        Raises:
            ConfigError: It reads what is no task, or a task of another kind.
        """
        for task in self.tasks:
            if task not in schema.task_names:
                raise ConfigError(
                    f"{task!r} is no task", where=self.name, hint=suggest(task, schema.task_names)
                )
            if schema.task(task).kind not in self.kinds:
                raise ConfigError(
                    f"task {task!r} is {schema.task(task).kind}, and {self.kind} is for "
                    f"{' and '.join(sorted(self.kinds))} tasks",
                    where=self.name,
                    hint="Choose another objective for it.",
                )
        return Goal(
            name=self.name,
            kind=self.kind,
            tasks=self.tasks,
            unit=self.unit,
            higher_is_better=self._higher_is_better(schema),
        )

    def _higher_is_better(self, schema: Schema) -> bool:
        """A list is better where what is bad stands lower."""
        return all(schema.task(task).sign != "bad" for task in self.tasks)

    @abstractmethod
    def credits(self, log: Replayed) -> Credits | None:
        """What each row earns; null: it is no such sum on these rows, ``measure`` has it.

        Raises:
            DataError: It is undefined on these rows, whatever ranks them.
        """

    def measure(self, log: Replayed, score_N: Floats) -> float:
        """Its value where ``credits`` gives none."""
        raise NotImplementedError

    def undefined(self, why: str) -> NoReturn:
        """Refuse rows on which it says nothing.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"is undefined on this log: {why}",
            where=self.name,
            hint="Leave it out, or give a log with more rows.",
        )


def lists_of(code_N: Ints, inside_N: Bools) -> tuple[Ints, int]:
    """The rows inside, by list; one without a key is in none."""
    return numbered(code_N, inside_N & (code_N != NO_GROUP))


def by_list(list_N: Ints, num_lists: int, value_N: Floats) -> Floats:
    """(G,) the sum over the rows of each list."""
    inside_N = list_N >= 0
    return summed(list_N[inside_N], value_N[inside_N], num_lists)


def summed(list_M: Ints, value_M: Floats, num_lists: int) -> Floats:
    """(G,) the sum of the values of each list."""
    return np.bincount(list_M, weights=value_M, minlength=num_lists).astype(np.float64)


def mean_weights(list_N: Ints, num_lists: int, weight_N: Floats) -> Floats:
    """(G,) the mean row weight of each list."""
    sizes_G = by_list(list_N, num_lists, np.ones(len(list_N)))
    return by_list(list_N, num_lists, weight_N) / np.maximum(sizes_G, 1)


def whole_requests(log: Replayed) -> tuple[Ints, int]:
    """All rows of a weight above 0, by request."""
    return lists_of(log.groups("request"), log.counted_N)


def spread(list_N: Ints, value_G: Floats) -> Floats:
    """(N,) the value of each row's list; 0 outside."""
    return np.where(list_N >= 0, value_G[np.maximum(list_N, 0)], 0.0)


def credited(
    list_N: Ints,
    credit_N: Floats,
    places: Places,
    share_G: Floats,
    constant_G: Floats | None = None,
) -> Credits:
    """Credits with lists that weigh ``share_G`` over their sum."""
    constant_G = np.zeros(len(share_G)) if constant_G is None else constant_G
    return Credits(list_N, credit_N, places, constant_G, share_G / share_G.sum())
