"""The runs of an audit, each the user's own configuration with few things changed.

A task that does not learn weighs 0. So all runs of a seed have one architecture, one draw of
initial weights, one encoded log and the same batches in the same order; a twin differs from the
joint run in which losses there are, and in the metric that chooses its checkpoint.

What a twin of task k is, where that is not plain:

- It selects by k's part of ``training.select.metrics``, else by what k is judged by, and stops by
  k's own patience if it has one. The joint run has one checkpoint for all, by the user's choice.
  What that costs a task is part of what sharing costs; ``report.Comparison.checkpoint`` tells how
  much of it there was on validation.
- Only constant weights know a 0, so where losses or gradients are balanced otherwise, runs without
  all tasks are plain sums.
- A task within others learns in its own sample space (funnel ``masked``) where one of those does
  not learn: multiplied by a probability that nobody fits, its own would not be what it says.
- A task that only reads (``writes: false``) writes where no other does.
- A penalty of the sharing block, where one is configured, stays, over all its gates.

>>> Variant(kind="pair", tasks=("click", "like")).role
'pair click like'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from polyrank.audit.config import Transfer, own_part
from polyrank.config import RunConfig
from polyrank.schema import parse

Kind = Literal["joint", "twin", "small_twin", "pair", "without", "baseline", "remedy"]
KINDS: tuple[Kind, ...] = (
    "joint",
    "twin",
    "small_twin",
    "pair",
    "without",
    "baseline",
    "remedy",
)
"""In the order in which a seed trains them."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train, whatever the seed."""

    kind: Kind
    tasks: tuple[str, ...]
    """Those that learn."""
    name: str = ""
    """Of a remedy or baseline; of a run without a task, that task."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of a remedy: values by dotted key of the configuration, put over it."""

    @property
    def role(self) -> str:
        """What it is called in an audit: "joint", "twin click", "pair click like", "without like",
        "baseline trees", "remedy ple"."""
        own = self.name or (" ".join(self.tasks) if self.kind != "joint" else "")
        return f"{self.kind} {own}".rstrip()


def variants_of(
    tasks: Sequence[str],
    *,
    transfer: Transfer,
    small_twins: bool = False,
    remedies: Sequence[Variant] = (),
) -> tuple[Variant, ...]:
    """The runs of a seed, in order: what a verdict needs, who does it, what to do about it."""
    everyone = tuple(tasks)
    joint = Variant(kind="joint", tasks=everyone)
    twins = [Variant(kind="twin", tasks=(task,)) for task in tasks]
    small = [Variant(kind="small_twin", tasks=(task,)) for task in tasks if small_twins]
    return (joint, *twins, *small, *_transfer(everyone, transfer), *remedies)


def _transfer(tasks: tuple[str, ...], transfer: Transfer) -> Iterator[Variant]:
    if transfer == "pairs" and len(tasks) > 2:
        for pair in combinations(tasks, 2):
            yield Variant(kind="pair", tasks=pair)
    if transfer == "leave_one_out" and len(tasks) > 2:
        for left in tasks:
            others = tuple(task for task in tasks if task != left)
            yield Variant(kind="without", tasks=others, name=left)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What runs of an audit are made from.

    Args:
        config: The user's run.
        metrics: By task, what it is judged by.
        usual: What a run selects by where it says nothing, by "task.metric".
        threads: Of each run.
        small_budget: Parameters of a small twin's sharing block.
    """

    config: RunConfig
    metrics: Mapping[str, str]
    usual: Mapping[str, float]
    threads: int = 1
    small_budget: int | None = None
    _made: dict[tuple[str, int], RunConfig] = field(default_factory=dict, repr=False)

    def apply(self, variant: Variant, seed: int) -> RunConfig:
        """The configuration of a run.

        Raises:
            ConfigError: A remedy's changes do not fit the run.
        """
        key = (variant.role, seed)
        if key not in self._made:
            self._made[key] = self._apply(variant, seed)
        return self._made[key]

    def _apply(self, variant: Variant, seed: int) -> RunConfig:
        tree = self.config.tree()
        tree["seed"], tree["training"]["threads"] = seed, self.threads
        tree["tracking"] = {}
        for key, value in variant.changes.items():
            _put(tree, key, value)
        if set(variant.tasks) != set(self.config.schema_.task_names):
            self._leave_out(tree, variant.tasks)
        if variant.kind == "small_twin":
            tree["model"]["sharing"]["budget"] = self.small_budget
        return parse(RunConfig, tree, where=variant.role)

    def _leave_out(self, tree: dict[str, Any], tasks: Sequence[str]) -> None:
        """Let ``tasks`` alone learn."""
        training = tree["training"]
        tree["balance"] = self._balance(tree["balance"], tasks)
        training["select"]["metrics"] = self._selected(training["select"]["metrics"], tasks)
        own = {task: choice for task, choice in training["tasks"].items() if task in tasks}
        if not any(own.get(task, {}).get("writes", True) for task in tasks):
            own = {task: {**choice, "writes": True} for task, choice in own.items()}
        if len(tasks) == 1:
            patience = [choice.pop("patience", None) for choice in own.values()]
            training["select"]["patience"] = (*filter(None, patience), _patience(training))[0]
        training["tasks"] = own
        if self._breaks_a_chain(tasks):
            tree["model"]["funnel"] = {"kind": "masked"}

    def _balance(self, balance: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
        """Only constant weights know a 0: other ways to balance become plain sums."""
        static = balance["kind"] in ("static", "schedule")
        given: Mapping[str, float] = balance["weights"] if static else {}
        names = self.config.schema_.task_names
        weights = {name: given.get(name, 1.0) if name in tasks else 0.0 for name in names}
        if not any(weights.values()):
            weights |= dict.fromkeys(tasks, 1.0)
        return {**(balance if static else {"kind": "static"}), "weights": weights}

    def _selected(self, given: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
        """What the run chooses by, as far as it is of ``tasks``."""
        if len(tasks) == 1:
            judged = {f"{tasks[0]}.{self.metrics[tasks[0]]}": 1.0}
            return own_part(dict(given), tasks[0]) or judged
        for metrics in (given, self.usual):
            kept = {name: w for name, w in metrics.items() if name.rpartition(".")[0] in tasks}
            if kept:
                return kept
        return {f"{task}.{self.metrics[task]}": 1.0 for task in tasks}

    def _breaks_a_chain(self, tasks: Sequence[str]) -> bool:
        """Whether a task learns without one that its probability would be multiplied by."""
        schema = self.config.schema_
        return any(parent not in tasks for task in tasks for parent in schema.space(task))


def _patience(training: Mapping[str, Any]) -> int:
    found: int = training["select"]["patience"]
    return found


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node[parent]
    node[last] = value
