"""Which runs an audit consists of, in which order, and what they will take.

Seed by seed, and within a seed first what a verdict needs, so that a partial report says the most
as soon as it can.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil

import numpy as np
import torch

from polyrank.audit.config import AuditConfig
from polyrank.audit.cost import RunCost, clock_of
from polyrank.audit.jobs import Bench, Job
from polyrank.audit.memory import cores, free_bytes
from polyrank.audit.probe import EVERY
from polyrank.audit.results import DIED, Result, Store, Timing, require_measured, require_same
from polyrank.audit.variants import KINDS, Changes, Variant, variants_of
from polyrank.config import RunConfig, Select
from polyrank.layers import cost_of
from polyrank.model import RankingModel
from polyrank.training import Prepared
from polyrank.training.distributed import choose_device
from polyrank.training.stopping import choose_criterion
from polyrank.training.validation import Truth

PROCESS_BYTES = 600 << 20
"""Of a worker before it has a network, about: the interpreter, torch, windows of the log."""
COPIES = 8
"""Of a network's parameters that training holds at a time, at most: weights, gradients, two
moments, and what a checkpoint is written from."""
MOST_OF_MEMORY = 0.8
SELDOM = 50
"""Steps between two looks of ``quick``."""
START_SECONDS = 5.0
"""Of a worker, about."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs of an audit, and those of them that are there."""

    jobs: tuple[Job, ...]
    results: Mapping[tuple[str, int], Result]
    """Of ``jobs``, finished or failed."""

    @property
    def waiting(self) -> tuple[Job, ...]:
        """Those to be done, in order; of failures only those whose process died are tried again."""
        return tuple(job for job in self.jobs if not self._settled(job))

    def with_jobs(self, jobs: Sequence[Job], bench: Bench, store: Store) -> Plan:
        """Further runs behind these, with the results of them that are there.

        Raises:
            ConfigError: A result was made from something else, every key that changed is named; or
                did not measure what its tasks are judged by.
        """
        found = [(job, store.read(job.variant.role, job.seed)) for job in jobs]
        data, part = bench.prepared.fingerprint, bench.part
        require_same((old, job.identity(data, part)) for job, old in found if old is not None)
        results = {old.key: old for _, old in found if old is not None}
        require_measured(results.values(), bench.metrics)
        return Plan(jobs=(*self.jobs, *jobs), results={**self.results, **results})

    def with_result(self, result: Result) -> Plan:
        """One more is there."""
        return Plan(jobs=self.jobs, results={**self.results, result.key: result})

    def _settled(self, job: Job) -> bool:
        found = self.results.get((job.variant.role, job.seed))
        return found is not None and found.code != DIED


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left of an audit, if no run stops early."""

    runs: int
    workers: int
    seconds: float
    """On cores that nobody else uses."""
    peak_bytes: int
    """Of all workers together."""
    source: str
    """What it goes by."""


def plan_of(
    config: RunConfig,
    audit: AuditConfig,
    bench: Bench,
    store: Store,
    changes: Changes | None = None,
) -> Plan:
    """The runs of an audit but for remedies, with the results that are there.

    Raises:
        ConfigError: A result was made from something else; every key that changed is named.
    """
    tasks = config.schema_.task_names
    transfer = audit.transfer_of(config)
    variants = variants_of(tasks, transfer=transfer, small_twins=audit.small_twins)
    changes = changes or changes_of(config, audit, bench)
    once = baselines_of(tasks) if audit.baselines else ()
    jobs = tuple(
        Job(
            variant=variant,
            seed=seed,
            config=changes.apply(variant, seed),
            looked_at=audit.evidence
            and variant.kind == "joint"
            and (seed == config.seed or transfer == "affinity"),
            look_every=SELDOM if audit.quick else EVERY,
        )
        for seed in audit.run_seeds(config.seed)
        for variant in sorted(
            (*variants, *(once if seed == config.seed else ())),
            key=lambda variant: KINDS.index(variant.kind),
        )
    )
    return Plan(jobs=(), results={}).with_jobs(jobs, bench, store)


def with_runs(
    plan: Plan,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    changes: Changes,
    bench: Bench,
    store: Store,
) -> Plan:
    """The plan with further runs behind its own, seed by seed, and their results.

    Raises:
        ConfigError: As ``plan_of``.
    """
    known = {(job.variant.role, job.seed) for job in plan.jobs}
    jobs = [
        Job(variant=variant, seed=seed, config=changes.apply(variant, seed))
        for seed in seeds
        for variant in variants
        if (variant.role, seed) not in known
    ]
    return plan.with_jobs(jobs, bench, store)


def changes_of(config: RunConfig, audit: AuditConfig, bench: Bench) -> Changes:
    """What the runs of an audit are made from."""
    return Changes(
        config=config,
        metrics=bench.metrics,
        usual=usual_selection(bench.prepared, config),
        threads=audit.threads,
        small_budget=_small_budget(config, bench.prepared) if audit.small_twins else None,
    )


def baselines_of(tasks: Sequence[str]) -> tuple[Variant, ...]:
    """Constants, and boosted trees where LightGBM is installed; of the first seed alone."""
    names = ("constant", "trees") if has_trees() else ("constant",)
    return tuple(Variant(kind="baseline", tasks=tuple(tasks), name=name) for name in names)


def has_trees() -> bool:
    """Whether LightGBM is installed."""
    return find_spec("lightgbm") is not None


def usual_selection(prepared: Prepared, config: RunConfig) -> dict[str, float]:
    """What a run selects by that says nothing: by "task.metric", as training settles it."""
    schema = config.schema_
    truth = Truth.of(prepared.validation, schema)
    constant = [0.5 if task.kind == "binary" else 0.0 for task in schema.tasks]
    seen = truth.beside(np.tile(np.array(constant), (prepared.validation.num_rows, 1)))
    selection = choose_criterion(Select(), schema.tasks, seen).selection
    return {} if selection is None else dict(selection.metrics)


def workers_of(config: RunConfig, audit: AuditConfig, prepared: Prepared, jobs: int) -> int:
    """How many processes: as many as asked for, else as cores and memory allow; at least 1."""
    if audit.jobs is not None:
        return max(1, min(audit.jobs, jobs))
    by_memory = int(free_bytes() * MOST_OF_MEMORY // _worker_bytes(config, prepared))
    by_cores = cores() // audit.threads
    if choose_device(config.training.device).type == "cuda":
        by_cores = 1
    return max(1, min(by_cores, by_memory, jobs))


def estimate(
    plan: Plan, workers: int, config: RunConfig, bench: Bench, measured: RunCost | None
) -> Estimate:
    """What the runs that wait will take: as those that are there did, else as was measured."""
    networks = [result for result in plan.results.values() if result.kind != "baseline"]
    done = [result.timing for result in networks if result.timing is not None]
    runs = len(plan.waiting)
    if done:
        each = float(np.mean([alone(timing, config) for timing in done]))
        peak = max(timing.peak_bytes for timing in done)
        source = f"{len(done)} finished runs"
    else:
        assert measured is not None, "nothing is there to go by"
        each, peak = measured.seconds(config, bench), measured.peak_bytes
        source = "a few steps on the real log"
    return Estimate(
        runs=runs,
        workers=workers,
        seconds=START_SECONDS + ceil(runs / workers) * each,
        peak_bytes=workers * peak,
        source=source,
    )


def alone(timing: Timing, config: RunConfig) -> float:
    """The seconds of a run on a core that nobody else uses."""
    own = clock_of(config) is time.process_time
    return timing.cpu_seconds if own else timing.seconds


def _small_budget(config: RunConfig, prepared: Prepared) -> int:
    """One T-th of the parameters of the sharing block."""
    return max(
        1, cost_of(shape_of(config, prepared).sharing).parameters // len(config.schema_.tasks)
    )


def _worker_bytes(config: RunConfig, prepared: Prepared) -> int:
    parameters = cost_of(shape_of(config, prepared)).parameters
    return PROCESS_BYTES + 4 * COPIES * parameters


def shape_of(config: RunConfig, prepared: Prepared) -> RankingModel:
    """The network without its weights."""
    with torch.device("meta"):
        layout = prepared.encoders.layout
        return RankingModel(config.schema_, layout, config.model, seed=config.seed)
