"""``polyrank audit``: does sharing help or hurt each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polyrank.cli.options import ConfigPath, DataRoot, Settings

if TYPE_CHECKING:
    from polyrank.audit.compared import Compared
    from polyrank.audit.config import AuditConfig
    from polyrank.audit.plan import Estimate, Plan
    from polyrank.audit.report import Comparison, Report
    from polyrank.audit.session import Audit


_JUDGED = ("gain", "95 % interval", "sharing")


def audit(
    config: ConfigPath,
    settings: Settings = [],  # noqa: B006
    data_root: DataRoot = None,
    file: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", help="The audit's own YAML; flags go over it."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each kind.")] = None,
    metric: Annotated[
        list[str],
        typer.Option("--metric", metavar="TASK=NAME", help="What a task is judged by."),
    ] = [],  # noqa: B006
    margin: Annotated[float | None, typer.Option(help="A difference that matters.")] = None,
    part: Annotated[
        Literal["validation", "test"] | None,
        typer.Option(help="What verdicts are read on; else test, where there is one."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, a sample of users: can only warn.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="What would be run, and what it takes.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time.")] = None,
    out: Annotated[Path | None, typer.Option(help="The audit's folder.")] = None,
    fail_on: Annotated[
        Literal["harmed"] | None, typer.Option(help="Exit with 1 where a task is.")
    ] = None,
    remedies: Annotated[
        Literal["auto", "always", "never"] | None,
        typer.Option(help="Try what may remove harm: where a task is harmed, always or never."),
    ] = None,
    transfer: Annotated[
        Literal["auto", "pairs", "leave_one_out", "affinity", "none"] | None,
        typer.Option(help="How it is found who helps whom."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Say whether sharing helps or hurts each task.

    Trains each task alone beside the joint run, with the same rows, order, weights to start from
    and budget, over several seeds. An audit that was cut off goes on where it was.
    """
    from rich.console import Console

    from polyrank.audit.session import opened
    from polyrank.config import load_config
    from polyrank.run import find_root, progress
    from polyrank.training import open_sources

    given = {
        "seeds": seeds,
        "metrics": _by_task(metric),
        "margin": margin,
        "part": part,
        "quick": quick or None,
        "jobs": jobs,
        "output": None if out is None else str(out),
        "fail_on": fail_on,
        "remedies": remedies,
        "transfer": transfer,
    }
    run = load_config(config, settings)
    asked = _settings(file, given)
    sources = open_sources(run.data, find_root(run, config, data_root))
    with progress(quiet=quiet) as watcher, opened(run, asked, sources, told=watcher.stage) as found:
        watcher.done()
        for notice in found.notices:
            watcher.notice(notice)
        if dry_run:
            plan = found.plan()
            _show_plan(plan, found.estimate(plan) if plan.waiting else None)
            _show_remedies(found)
            return
        report = found.run(None if quiet else Console(stderr=True))
    _show_report(report, found.folder)
    _write_page(report, found.folder)
    require_whole(report)
    if asked.fail_on == "harmed" and report.harmed:
        raise typer.Exit(1)


def _write_page(report: Report, folder: Path) -> None:
    """Where the extra for it is installed."""
    from polyrank.audit.page import write_page
    from polyrank.errors import ConfigError

    try:
        page = write_page(report.to_json(), folder)
    except ConfigError as error:  # without the extra there is no page
        typer.echo(f"no page: {error}")
        return
    typer.echo(f"its page is {page}")


def require_whole(report: Report) -> None:
    """Refuse a report that runs are missing from, or without a verdict; it was shown by then.

    Raises:
        InterruptedRun: A signal stopped the audit.
        DistributedError: Processes died.
        DivergedError: No task has a joint run and a twin.
    """
    from polyrank.audit.results import DIED
    from polyrank.errors import DistributedError, DivergedError, InterruptedRun, counted

    left, of = len(report.plan.waiting), len(report.plan.jobs)
    died = [failed for failed in report.failures if failed.code == DIED]
    if left > len(died):
        raise InterruptedRun(
            f"stopped by a signal; {left} of {of} runs are left, and the report is partial",
            hint="The same command goes on.",
        )
    if died:
        raise DistributedError(
            f"{counted(len(died), 'run')} of {of} died, and the report is partial",
            hint="The same command tries again; with fewer --jobs there is more memory for each.",
        )
    if report.verdicts is None:
        raise DivergedError(
            "nothing could be compared, since no task has a joint run and a twin of one seed",
            hint="See above why runs failed.",
        )


def _by_task(metrics: Sequence[str]) -> dict[str, str] | None:
    from polyrank.cli.bundles import named

    return dict(named("--metric", "TASK=NAME", metrics)) or None


def _settings(file: Path | None, given: dict[str, Any]) -> AuditConfig:
    from polyrank.audit.config import AuditConfig
    from polyrank.config import read_yaml
    from polyrank.schema import parse

    tree = {} if file is None else read_yaml(file)
    tree |= {key: value for key, value in given.items() if value is not None}
    return parse(AuditConfig, tree, where="" if file is None else file.name)


def _show_plan(plan: Plan, left: Estimate | None) -> None:
    from polyrank.audit.cost import told_bytes, told_seconds
    from polyrank.cli.tables import console
    from polyrank.errors import counted

    out = console()
    seeds = sorted({job.seed for job in plan.jobs})
    kinds: dict[str, int] = {}
    for job in plan.jobs:
        kinds[job.variant.role] = kinds.get(job.variant.role, 0) + 1
    told = ", ".join(map(str, seeds))
    out.print(f"{counted(len(plan.jobs), 'run')}, seeds {told}:", soft_wrap=True)
    for role in kinds:
        out.print(f"  {role}", soft_wrap=True)
    if left is None:
        out.print("all of them are there")
        return
    time, memory = told_seconds(left.seconds), told_bytes(left.peak_bytes)
    out.print(
        f"{counted(left.runs, 'run')} to do, {left.workers} at a time: at most about {time} on "
        f"cores that nobody else uses, and {memory} of memory, going by {left.source}",
        soft_wrap=True,
    )


def _show_remedies(found: Audit) -> None:
    from polyrank.cli.tables import console

    settings, tasks = found.settings, len(found.config.schema_.tasks)
    seeds = len(settings.run_seeds(found.config.seed))
    if settings.remedies == "never" or (seeds == 1 and settings.remedies == "auto"):
        return
    when = "where a task is harmed" if settings.remedies == "auto" else "behind them"
    console().print(
        f"{when}, up to {len(found.remedies)} remedies of {seeds} runs each, one after the other; "
        f"{(1 + tasks) * seeds} more runs confirm one on fresh seeds",
        soft_wrap=True,
    )


def _show_report(report: Report, folder: Path) -> None:
    from rich import box
    from rich.table import Table

    from polyrank.audit.report import REPORT
    from polyrank.cli.tables import console

    out = console()
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("task", "metric", "constant", "trees", "joint", "twin", *_JUDGED):
        words = name in ("task", "metric", "sharing")
        table.add_column(name, justify="left" if words else "right")
    for own in report.tasks:
        table.add_row(*_cells(own, _judged(report, own.task)))
    out.print(table)
    for verdict in () if report.verdicts is None else report.verdicts.tasks:
        reason = getattr(verdict, "reason", None)
        if reason is not None:
            out.print(f"{verdict.task}: {reason}", soft_wrap=True)
    if report.remedies is not None:
        out.print(f"remedies: {report.remedies.told}", soft_wrap=True)
        if report.remedies.file is not None:
            out.print(f"ready to train: {folder / report.remedies.file}", soft_wrap=True)
    for failed in report.failures:
        out.print(f"{failed.role}, seed {failed.seed}, failed: {failed.reason}", soft_wrap=True)
    partial = f", {len(report.plan.waiting)} runs missing" if report.partial else ""
    out.print(f"{report.part} part{partial}; {folder / REPORT}", soft_wrap=True)


def _judged(report: Report, task: str) -> Compared | None:
    found = () if report.verdicts is None else report.verdicts.tasks
    return next((verdict for verdict in found if verdict.task == task), None)


def _cells(own: Comparison, judged: Compared | None) -> Iterator[str]:
    """A row of the table: gains are above 0 where sharing is better."""
    from polyrank.cli.numbers import number, signed
    from polyrank.cli.tables import heading

    yield own.task
    yield heading(own.metric)
    for baseline in (own.constant, own.trees):
        yield "-" if baseline is None else number(baseline, own.mean(own.joint))
    yield number(own.mean(own.joint))
    yield number(own.mean(own.twin), own.mean(own.joint))
    if judged is None or judged.gain.value is None:
        yield from ("-", "-", "-")
        return
    yield signed(judged.gain.value)
    bounds = (judged.low, judged.high)
    yield "-" if None in bounds else " to ".join(signed(one) for one in bounds if one is not None)
    warning = "may be harmed" if getattr(judged, "warns", False) else "no warning"
    yield getattr(judged, "answer", warning)
