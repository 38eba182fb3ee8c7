"""What may remove harm, in order of cost: each a change of the user's own configuration.

First what changes losses alone, then what divides the same parameters otherwise, then what takes
more of them, last what gives a task up. A remedy that cannot apply says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polyrank.audit.grouping import Pairs, groups_of
from polyrank.audit.variants import Variant
from polyrank.config import RunConfig

MORE = 1.3
"""Times the parameters of the sharing block, where a remedy may have more."""
_OWN_EXPERTS = ("cgc", "ple", "stem", "single_task")
"""Architectures in which each task has experts of its own."""
_OWN_TABLES = ("stem", "single_task")

Made = Variant | str
"""The remedy for a run, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a remedy goes by.

    Args:
        config: The run.
        harmed: Its tasks that are.
        gains: By source and target, what transfer was measured, in margins of the target; or
            affinity; empty where neither was.
        trunk: Parameters of its sharing block.
    """

    config: RunConfig
    harmed: tuple[str, ...]
    gains: Pairs
    trunk: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """All of them."""
        return self.config.schema_.task_names

    @property
    def culprits(self) -> tuple[str, ...]:
        """Tasks that cost a harmed one something and are not harmed themselves; the worst first."""
        losses = {
            source: sum(min(0.0, self.gains.get((source, own), 0.0)) for own in self.harmed)
            for source in self.tasks
            if source not in self.harmed
        }
        found = (source for source, loss in losses.items() if loss < 0)
        return tuple(sorted(found, key=lambda source: losses[source]))

    @property
    def sharing(self) -> dict[str, Any]:
        """As configured."""
        found: dict[str, Any] = self.config.tree()["model"]["sharing"]
        return found


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One way to remove harm."""

    name: str
    told: str
    """In words."""
    make: Callable[[Case], Made]


def _put(name: str, case: Case, changes: Mapping[str, Any]) -> Variant:
    return Variant(kind="remedy", tasks=case.tasks, name=name, changes=changes)


def _weights(name: str, harmed: float, others: float) -> Callable[[Case], Made]:
    def make(case: Case) -> Made:
        balance = case.config.tree()["balance"]
        if not case.harmed:
            return "no task is harmed, so none needs more weight"
        if len(case.harmed) == len(case.tasks):
            return "every task is harmed, so none can give weight to another"
        if balance["kind"] not in ("static", "schedule"):
            return f"balance {balance['kind']!r} sets the weights of tasks itself"
        weights = {
            task: balance["weights"].get(task, 1.0) * (harmed if task in case.harmed else others)
            for task in case.tasks
        }
        return _put(name, case, {"balance.weights": weights})

    return make


def _groups(case: Case) -> Made:
    sharing = case.sharing
    if sharing["kind"] in ("groups", *_OWN_TABLES):
        return f"in sharing {sharing['kind']!r} tasks are apart already"
    found = groups_of(case.tasks, case.gains)
    if not case.gains:  # all that is known is who is harmed
        rest = tuple(task for task in case.tasks if task not in case.harmed)
        found = (*((task,) for task in case.harmed), *((rest,) if rest else ()))
    if len(found) < 2:
        return "by what was measured all tasks help one another"
    groups = {f"group_{place}": list(own) for place, own in enumerate(found, 1)}
    inside = {**sharing, "budget": None}
    new = {"kind": "groups", "groups": groups, "sharing": inside, "budget": case.trunk}
    return _put("groups", case, {"model.sharing": new})


def _experts(name: str, kind: str, times: float) -> Callable[[Case], Made]:
    def make(case: Case) -> Made:
        own = case.sharing["kind"]
        if own in _OWN_EXPERTS and not (own == "cgc" and kind == "ple"):
            return f"the run has experts of each task already: sharing {own!r}"
        return _put(name, case, {"model.sharing": _sharing(case, kind, times)})

    return make


def _sharing(case: Case, kind: str, times: float) -> dict[str, Any]:
    widths = {"widths": own} if (own := case.sharing.get("widths")) else {}
    experts = {"num_task_experts": 1, "num_shared_experts": 1}  # few, so that each is wide
    return {"kind": kind, **widths, **experts, "budget": int(case.trunk * times)}


def _own_tables(case: Case) -> Made:
    own = case.sharing["kind"]
    if own in _OWN_TABLES:
        return f"the run has embeddings of each task already: sharing {own!r}"
    return _put("own embeddings", case, {"model.sharing": _sharing(case, "stem", 1.0)})


def _no_culprit(case: Case) -> str | None:
    if not case.harmed:
        return "no task is harmed"
    if not case.gains:
        return "who harms was not measured; give --transfer"
    if not case.culprits:
        return "no task that is not harmed costs a harmed one anything, by what was measured"
    return None


def _stop_gradient(case: Case) -> Made:
    if (reason := _no_culprit(case)) is not None:
        return reason
    own = case.config.tree()["training"]["tasks"]
    stopped = {task: {**own.get(task, {}), "writes": False} for task in case.culprits}
    return _put("stop gradient", case, {"training.tasks": {**own, **stopped}})


def _drop(case: Case) -> Made:
    if (reason := _no_culprit(case)) is not None:
        return reason
    left = tuple(task for task in case.tasks if task != case.culprits[0])
    return Variant(kind="remedy", tasks=left, name="drop")


REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        name="weight 2",
        told="harmed tasks weigh twice as much beside the others",
        make=_weights("weight 2", 2.0, 1.0),
    ),
    Remedy(
        name="weight 4",
        told="harmed tasks weigh twice and the others half as much",
        make=_weights("weight 4", 2.0, 0.5),
    ),
    Remedy(
        name="groups",
        told="tasks that help one another share a block, of the same parameters together",
        make=_groups,
    ),
    Remedy(
        name="cgc",
        told="experts of each task beside shared ones (CGC), of the same parameters",
        make=_experts("cgc", "cgc", 1.0),
    ),
    Remedy(
        name="ple",
        told="two levels of them (PLE), of the same parameters",
        make=_experts("ple", "ple", 1.0),
    ),
    Remedy(
        name="wider cgc",
        told=f"CGC with {MORE} times the parameters of what tasks share",
        make=_experts("wider cgc", "cgc", MORE),
    ),
    Remedy(
        name="wider ple",
        told=f"PLE with {MORE} times the parameters of what tasks share",
        make=_experts("wider ple", "ple", MORE),
    ),
    Remedy(
        name="own embeddings",
        told="an embedding table and experts of each task beside shared ones (STEM)",
        make=_own_tables,
    ),
    Remedy(
        name="stop gradient",
        told="tasks that harm read what is shared and do not write to it",
        make=_stop_gradient,
    ),
    Remedy(
        name="drop",
        told="the task that harms most is not learned here; it needs a model of its own",
        make=_drop,
    ),
)
"""In the order in which they are tried."""
