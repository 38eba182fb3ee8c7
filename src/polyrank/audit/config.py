"""What an audit is asked for: seeds, metrics, margins, which runs, on which part.

>>> from polyrank.audit.config import AuditConfig
>>> AuditConfig(quick=True).run_seeds(0)
(0,)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from polyrank.config import RunConfig
from polyrank.errors import ConfigError, suggest
from polyrank.evaluation import Selection
from polyrank.schema import Declared, Schema
from polyrank.schema.model import Column, Name

Part = Literal["validation", "test"]
Transfer = Literal["auto", "pairs", "leave_one_out", "affinity", "none"]

MOST_BY_PAIRS, MOST_LEFT_OUT = 5, 8
"""Tasks up to which ``transfer: auto`` trains every pair, or every run without one task."""


class AuditConfig(Declared):
    """One audit of a run; every flag of ``polyrank audit`` is a key."""

    seeds: PositiveInt = 5
    """Runs of each kind; the first has the seed of the configuration, each further one 1 more."""
    metrics: dict[Name, str] = {}
    """By task, what it is judged by; others by their largest weight in the run's
    ``training.select.metrics``, else by ``auc``, or ``mae`` where the task is not binary."""
    margin: NonNegativeFloat = 0.0005
    """A difference that matters; of metrics in the label's unit (MAE, RMSE) this share of what the
    twins have."""
    margins: dict[Name, NonNegativeFloat] = {}
    """The same by task, in the unit of its metric."""
    part: Part | None = None
    """What verdicts are read on; null: the test part, or validation where there is no test."""
    slices: tuple[Column, ...] = ()
    """Further columns to look for harm in, beside how active a user is, and how old and how popular
    an item."""
    transfer: Transfer = "auto"
    """How it is found who helps whom: runs of every pair of tasks, runs that leave one task out,
    affinity measured while training; ``auto``: by how many tasks there are."""
    small_twins: bool = False
    """Train each twin a second time, its sharing block with one T-th of the parameters."""
    remedies: Literal["auto", "always", "never"] = "auto"
    """Try what may remove harm: ``auto``, where a task is harmed, from the cheapest on until one
    leaves none harmed, on fresh seeds neither; ``always``: all of them."""
    quick: bool = False
    """One seed on a sample of users. That can only warn."""
    sample: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of users that ``quick`` takes; of requests or rows where the log has no users."""
    evidence: bool = True
    """Look at gradients and affinity in joint runs: those of the first seed, or of all with
    ``transfer: affinity``. A look changes no bit of a run."""
    baselines: bool = True
    """Boosted trees a task, where LightGBM is installed, and constants, once an audit."""
    jobs: PositiveInt | None = None
    """Runs at a time; null: as many as cores and memory allow."""
    threads: PositiveInt = 1
    """Of each run, over ``training.threads``: it decides the last bits."""
    fail_on: Literal["harmed"] | None = None
    """Exit with code 1 where a task is."""
    output: str | None = None
    """The audit's folder; null: beside the run's, with ``-audit`` behind its name."""

    def run_seeds(self, first: int) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(range(first, first + (1 if self.quick else self.seeds)))

    def folder(self, run_output: str) -> str:
        """The audit's folder, given that of the run."""
        return self.output or f"{run_output}-audit{'-quick' if self.quick else ''}"

    def transfer_of(self, config: RunConfig) -> Transfer:
        """How transfer is found for so many tasks; of two, joint run and twins say all.

        Raises:
            ConfigError: Tasks cannot be left out of what balances them.
        """
        tasks, balance = len(config.schema_.tasks), config.balance.kind
        static = balance in ("static", "schedule")
        if self.transfer == "leave_one_out" and not static:
            raise ConfigError(
                f"runs that leave a task out are compared with the joint run, and balance "
                f"{balance!r} has no weight to set to 0",
                where="transfer",
                hint="Choose pairs or affinity, or balance by static weights.",
            )
        if self.transfer != "auto":
            return self.transfer
        if tasks == 2:
            return "none"
        if tasks <= MOST_BY_PAIRS:
            return "pairs"
        return "leave_one_out" if tasks <= MOST_LEFT_OUT and static else "affinity"


def check_audit(config: RunConfig, audit: AuditConfig) -> dict[str, str]:
    """Refuse what cannot be audited, before anything is read; by task, what it is judged by.

    Raises:
        ConfigError: Every fault at once.
    """
    faults = [*_faults(config, audit)]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ConfigError(f"{len(faults)} faults of the audit", problems=tuple(faults))
    audit.transfer_of(config)
    return metrics_of(config, audit)


def metrics_of(config: RunConfig, audit: AuditConfig) -> dict[str, str]:
    """By task, the metric that it is judged by."""
    selected = config.training.select.metrics
    found = {}
    for task in config.schema_.tasks:
        own = own_part(selected, task.name)
        usual = "auc" if task.kind == "binary" else "mae"
        best = max(own, key=lambda name: abs(own[name])).rpartition(".")[2] if own else usual
        found[task.name] = audit.metrics.get(task.name, best)
    return found


def own_part(selected: dict[str, float], task: str) -> dict[str, float]:
    """What of a selection is of ``task``."""
    return {name: w for name, w in selected.items() if name.rpartition(".")[0] == task}


def _faults(config: RunConfig, audit: AuditConfig) -> Iterator[ConfigError]:
    schema = config.schema_
    if len(schema.tasks) < 2:
        yield ConfigError(
            f"the schema has one task, {schema.task_names[0]!r}, so nothing is shared",
            where="schema.tasks",
            hint="Add a second task, or use `polyrank train`.",
        )
    if config.training.freeze is not None:
        yield ConfigError(
            "an audit trains from scratch, and `freeze` goes with a parent",
            where="training.freeze",
            hint="Leave it out.",
        )
    yield from _metric_faults(schema, audit)
    for name in audit.margins:
        if name not in schema.task_names:
            yield _no_task("margins", name, schema)


def _metric_faults(schema: Schema, audit: AuditConfig) -> Iterator[ConfigError]:
    for name, metric in audit.metrics.items():
        if name not in schema.task_names:
            yield _no_task("metrics", name, schema)
            continue
        try:
            Selection(metrics={f"{name}.{metric}": 1.0}).check(schema.tasks)
        except ConfigError as error:
            yield ConfigError(error.message, where=f"metrics.{name}", hint=error.hint)


def _no_task(key: str, name: str, schema: Schema) -> ConfigError:
    hint = suggest(name, schema.task_names)
    return ConfigError(f"{name!r} is no task", where=key, hint=hint)
