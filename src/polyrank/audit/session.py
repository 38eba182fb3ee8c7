"""An audit from its configuration to its report: prepare once, run what is missing, compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console

from polyrank.audit.baselines import NOT_INSTALLED
from polyrank.audit.config import AuditConfig, Part, check_audit
from polyrank.audit.cost import RunCost
from polyrank.audit.jobs import Bench, Job, part_of
from polyrank.audit.ladder import Ladder
from polyrank.audit.plan import Estimate, Plan, estimate, has_trees, plan_of, workers_of
from polyrank.audit.pool import Pool, Watch
from polyrank.audit.progress import Bars
from polyrank.audit.recommended import RECOMMENDED, write_recommended
from polyrank.audit.remedies import REMEDIES, Remedy
from polyrank.audit.report import Report, report_of, write_report
from polyrank.audit.results import DIED, Store, digest, slug
from polyrank.audit.rows import PartRows, read_rows, require_labels, write_rows
from polyrank.audit.sampling import sampled, unit_of
from polyrank.audit.slices import slices_of
from polyrank.audit.worker import cost_message, failure, job_message, setup_message
from polyrank.config import RunConfig
from polyrank.run import check_slice_columns, rows_of
from polyrank.storage import RunLock, check_writable
from polyrank.training import Prepared, Sources, prepare
from polyrank.training.validation import Truth

WORK, CACHE = "work", "cache"
"""In the audit's folder: runs that are not finished; the encoded log."""

Told = Callable[[str, int], None]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit whose log is prepared; made by ``opened``.

    Args:
        config: The run.
        settings: Of the audit.
        folder: Its own.
        bench: What all runs have in common.
        asked: The run as it was given.
        root: Where the relative paths of its data start.
        remedies: What may remove harm, in order of cost.
        notices: What a reader should know.
    """

    config: RunConfig
    settings: AuditConfig
    folder: Path
    bench: Bench
    asked: RunConfig
    root: Path | None = None
    remedies: tuple[Remedy, ...] = REMEDIES
    notices: tuple[str, ...] = ()

    @cached_property
    def store(self) -> Store:
        """Its results."""
        return Store(self.folder)

    @cached_property
    def ladder(self) -> Ladder:
        """Its remedies."""
        return Ladder(
            config=self.config,
            settings=self.settings,
            bench=self.bench,
            folder=self.folder,
            remedies=self.remedies,
        )

    def plan(self) -> Plan:
        """Its runs as far as they are known, and those that are there: which remedies are tried
        follows from what came before.

        Raises:
            ConfigError: The configuration or the log changed since; every key is named.
        """
        return self.ladder.climb(self._base())[0]

    def estimate(self, plan: Plan) -> Estimate:
        """What is left will take; where nothing is there to go by, a few steps are timed.

        Raises:
            PolyrankError: They could not be.
        """
        measured: RunCost | None = None
        if plan.waiting and not any(
            one.timing for one in plan.results.values() if one.kind != "baseline"
        ):
            message = cost_message(plan.waiting[0].config)
            measured = self._pool(1, None).measure(message)
        return estimate(plan, self._workers(plan), plan.jobs[0].config, self.bench, measured)

    def run(self, console: Console | None = None) -> Report:
        """Do what is missing; the report, partial if a signal came.

        Args:
            console: Where progress goes; None: nowhere.

        Raises:
            ConfigError: The configuration or the log changed since; another audit is at it.
            PolyrankError: No worker could begin.
        """
        plan = self.plan()
        self._tidy(plan)
        begun: set[tuple[str, int]] = set()  # what died in this round waits for another audit
        while waiting := [job for job in plan.waiting if job.key not in begun]:
            begun |= {job.key for job in waiting}
            if not self._round(plan, waiting, console):
                break
            if console is not None:
                console.print("judge", markup=False, highlight=False)
            plan = self.plan()
        return self.report()

    def _round(self, plan: Plan, waiting: Sequence[Job], console: Console | None) -> bool:
        """Do these; False if a signal came."""
        bars = Bars(console, len(plan.jobs), len(plan.jobs) - len(waiting)) if console else None
        try:
            return self._pool(self._workers(plan), bars).run(waiting, self._died)
        finally:
            if bars is not None:
                bars.close()

    def report(self) -> Report:
        """Of the results that are there; written as JSON, too, and as a run if one is
        recommended."""
        base = self._base()
        plan, climb = self.ladder.climb(base)
        if climb is not None and climb.recommended is not None:
            changed = self.ladder.made(climb.recommended)
            write_recommended(self.asked, changed, climb.told, self.folder, self.root)
            climb = replace(climb, file=RECOMMENDED)
        report = report_of(
            self.settings,
            self.bench.part,
            self.bench.metrics,
            plan,
            self.ladder.verdicts(base),
            self.notices,
            climb,
            unit_of(self.config.schema_),
        )
        write_report(report, self.folder)
        return report

    def _base(self) -> Plan:
        """The runs but for remedies."""
        return plan_of(self.config, self.settings, self.bench, self.store, self.ladder.changes)

    def _workers(self, plan: Plan) -> int:
        return workers_of(self.config, self.settings, self.bench.prepared, len(plan.waiting))

    def _pool(self, workers: int, watch: Watch | None) -> Pool:
        setup = setup_message(self.config, self.bench, self.folder, self.folder / CACHE)
        return Pool(setup, workers, self.settings.threads, self._message, watch)

    def _message(self, job: Job) -> dict[str, object]:
        return job_message(job, self._work(job))

    def _work(self, job: Job) -> Path:
        """The folder of a run in progress: another one where anything that decides it changed."""
        identity = job.identity(self.bench.prepared.fingerprint, self.bench.part)
        return self.folder / WORK / f"{slug(job.variant.role, job.seed)}-{digest(identity)}"

    def _died(self, job: Job, how: str) -> None:
        self.store.write(failure(job, self.bench, DIED, how))

    def _tidy(self, plan: Plan) -> None:
        """Remove what runs of another time left half done, and nothing will go on with."""
        kept = {self._work(job) for job in plan.waiting}
        for path in self.folder.glob(".timing-*"):
            shutil.rmtree(path)
        for path in (self.folder / WORK).glob("*"):
            if path not in kept:
                shutil.rmtree(path)


@contextmanager
def opened(
    config: RunConfig,
    settings: AuditConfig,
    sources: Sources,
    *,
    remedies: Sequence[Remedy] = REMEDIES,
    told: Told | None = None,
) -> Iterator[Audit]:
    """Check what was asked for, then fit and encode the log once; the folder is locked meanwhile.

    Args:
        config: The run.
        settings: Of the audit.
        sources: Its logs.
        remedies: What may remove harm, in order of cost.
        told: Of stages and rows so far.

    Raises:
        ConfigError: What cannot be audited, all at once; another audit is in the folder.
        DataError: The log is refused; a task has no label, or labels of one kind alone.
        StorageError: The disk refused.
    """
    metrics = check_audit(config, settings)
    folder = Path(settings.folder(config.output)).absolute()
    asked, config = config, _of_the_audit(config, settings, folder)
    check_slice_columns(config, sources)
    notices = []
    if settings.quick:
        sources = sampled(sources, config.schema_, settings.sample)
        notices.append(
            f"one seed on {settings.sample:.0%} of the {unit_of(config.schema_)}: this can only "
            "warn, and may of harm that is none, since so few steps can train twins further than "
            "the joint run; only an audit without --quick says what sharing does"
        )
    check_writable(folder)
    with RunLock(folder):
        prepared = prepare(config, sources, _preparing(folder), report=told)
        part = settings.part or ("validation" if prepared.test is None else "test")
        if part == "validation":
            notices.append(
                "verdicts are read on the validation part, which also chose every checkpoint; hold "
                "out a test part to judge by"
            )
        schema = config.schema_
        require_labels(Truth.of(prepared.validation, schema), schema, "the validation part")
        rows = _rows(config, sources, prepared, part, folder)
        require_labels(rows.truth, schema, f"the {part} part")
        if settings.baselines and not has_trees():
            notices.append(f"no boosted trees stand beside the networks: {NOT_INSTALLED}")
        bench = Bench(prepared=prepared, part=part, metrics=metrics, truth=rows.truth)
        yield Audit(
            config=config,
            settings=settings,
            folder=folder,
            bench=bench,
            asked=asked,
            root=sources.root,
            remedies=tuple(remedies),
            notices=(*prepared.notices, *notices),
        )


def _of_the_audit(config: RunConfig, settings: AuditConfig, folder: Path) -> RunConfig:
    """The run with the audit's cache, and all columns that slices are cut by."""
    columns = tuple(dict.fromkeys([*config.evaluation.slices, *settings.slices]))
    evaluation = config.evaluation.model_copy(update={"slices": columns})
    data = config.data.model_copy(update={"cache": str(folder / CACHE)})
    return config.model_copy(update={"evaluation": evaluation, "data": data})


def _preparing(folder: Path) -> Path:
    """A folder of its own for the quarantine, since ``prepare`` locks it."""
    path = folder / "prepared"
    path.mkdir(exist_ok=True)
    return path


def _rows(
    config: RunConfig, sources: Sources, prepared: Prepared, part: Part, folder: Path
) -> PartRows:
    """What was observed in the part; kept from one time to the next."""
    columns = config.evaluation.slices
    key = digest({"data": prepared.fingerprint, "part": part, "slices": list(columns)})
    kept = read_rows(folder, config.schema_, key)
    if kept is not None:
        return kept
    truth = Truth.of(part_of(prepared, part), config.schema_)
    slices = slices_of(
        config.schema_,
        rows_of(config, sources, prepared.tables, "train"),
        rows_of(config, sources, prepared.tables, part),
        columns,
    )
    assert all(len(own.codes_N) == len(truth.weight_N) for own in slices.values())
    rows = PartRows(truth=truth, slices=slices)
    write_rows(folder, rows, key)
    return rows
