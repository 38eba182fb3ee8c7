"""The page of one trained model: what its card knows, how its run went, how it does on a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyrank import pages
from polyrank.audit.page.runlog import gates_of, run_figures
from polyrank.audit.page.scored import Seen, seen_sections
from polyrank.audit.page.words import IN_UNITS, listed, metric, size, whole
from polyrank.bundle import Card
from polyrank.data.times import readable
from polyrank.evaluation import Evaluation, EvaluationRow
from polyrank.pages import Block, Column, Facts, Page, Prose, Section, Table, TaskColors, code
from polyrank.pages.blocks import Cell
from polyrank.pages.numbers import UNKNOWN, interval

Records = Sequence[Mapping[str, Any]]
_HEADLINES = ("auc", "mae", "log_loss")
_SHORT = 12  # digits of a version


def write_trained(
    card: Card,
    path: Path,
    *,
    tasks: Sequence[str],
    version: str,
    records: Records = (),
    seen: Seen | None = None,
) -> None:
    """Writes the page of a trained model.

    Args:
        card: Of its bundle.
        path: The HTML file.
        tasks: In the order of the schema.
        version: Of the bundle.
        records: The log of its run, where it stands beside the bundle.
        seen: What it predicts of a log, where one was given.

    Raises:
        ConfigError: The extra ``report`` is not installed.
        StorageError: The file cannot be written.
    """
    pages.require_report()
    pages.write_page(trained(card, tasks=tasks, version=version, records=records, seen=seen), path)


def trained(
    card: Card,
    *,
    tasks: Sequence[str],
    version: str,
    records: Records = (),
    seen: Seen | None = None,
) -> Page:
    """The page; see ``write_trained``."""
    colors = TaskColors(tasks)
    held_out = sorted(card.metrics, key="test".__eq__)
    evaluations = {part: Evaluation.from_json(card.metrics[part]) for part in held_out}
    if seen is not None:
        evaluations[seen.on] = seen.evaluation
    return Page(
        title="How good is the ranker?",
        verdict=_verdict(evaluations, tasks),
        kind="polyrank · report",
        sections=list(_sections(card, evaluations, records, seen, colors)),
        note=f"Bundle {code(version[:_SHORT] or 'not saved')}.",
    )


def _verdict(evaluations: Mapping[str, Evaluation], tasks: Sequence[str]) -> str:
    """Of the log if there is one, else of the last part, each task by one metric."""
    if not evaluations:
        return "The card holds no metrics: give a log to see some."
    part, evaluation = [*evaluations.items()][-1]
    rows = [row for task in tasks for row in _headline(evaluation, task)]
    if not rows:
        return f"No metric is defined on {part}."
    told = [
        f"{code(row.task)} has {size(row.value, row.metric)} {metric(row.metric)}{_range(row)}"
        for row in rows
    ]
    return f"On {part}, {listed(told)}."


def _range(row: EvaluationRow) -> str:
    ends = _interval(row)
    return "" if ends == UNKNOWN else f" ({ends})"


def _headline(evaluation: Evaluation, task: str) -> list[EvaluationRow]:
    own = {row.metric: row for row in _whole_rows(evaluation) if row.task == task}
    found = [own[name] for name in _HEADLINES if name in own and own[name].reason is None]
    return found[:1]


def _whole_rows(evaluation: Evaluation) -> Iterator[EvaluationRow]:
    return (row for row in evaluation.rows if row.slice is None)


def _interval(row: EvaluationRow) -> str:
    if row.interval_reason is not None:
        return UNKNOWN
    return interval(row.lower, row.upper, lambda end: size(end, row.metric))


def _sections(
    card: Card,
    evaluations: Mapping[str, Evaluation],
    records: Records,
    seen: Seen | None,
    colors: TaskColors,
) -> Iterator[Section]:
    yield Section("Model and data", _about(card, colors))
    tables = [_metrics(part, found, colors) for part, found in evaluations.items()]
    yield Section("Metrics", tables or [Prose("The card holds no metrics.")])
    yield Section("Training", _training(records, colors))
    yield Section("Gates", gates_of(records, colors))
    if seen is None:
        told = "No log was given, so calibration, scores and slices are not shown."
        yield Section("On a log", [Prose(told, "Write `polyrank report BUNDLE LOG`.")])
    else:
        yield from seen_sections(seen, colors)
    if card.calibration:
        yield Section("Calibration of the bundle", [_calibration(card)])
    yield Section(
        "Provenance", [Facts({key: str(card.provenance[key]) for key in sorted(card.provenance)})]
    )


def _about(card: Card, colors: TaskColors) -> list[Block]:
    tasks = Table(
        "What is predicted.",
        ["Task", "What"],
        [[colors.cell(task), card.tasks[task]] for task in colors.tasks],
    )
    data = Table(
        "What it was trained and judged on.",
        ["Part", Column("Rows", whole), "First", "Last"],
        [
            [part, own.rows, readable(own.first or UNKNOWN), readable(own.last or UNKNOWN)]
            for part, own in sorted(card.data.items(), key=lambda item: item[1].first or "")
        ],
    )
    return [tasks, data]


def _metrics(part: str, evaluation: Evaluation, colors: TaskColors) -> Table:
    table: list[list[Cell]] = [
        [
            colors.cell(row.task),
            metric(row.metric),
            row.reason if row.reason is not None else size(row.value, row.metric),
            _interval(row),
            row.rows,
            row.positives,
        ]
        for row in sorted(_whole_rows(evaluation), key=lambda row: colors.tasks.index(row.task))
    ]
    columns: list[str | Column] = [
        "Task",
        "Metric",
        Column("Value", right=True),
        Column(f"{100 * evaluation.confidence:g}\N{NO-BREAK SPACE}% interval", right=True),
        Column("Rows", whole),
        Column("Positives", whole),
    ]
    units = any(row.metric in IN_UNITS for row in evaluation.rows)
    told = " MAE and RMSE are in the label's unit." if units else ""
    return Table(f"Metrics on {part}.{told}", columns, table)


def _training(records: Records, colors: TaskColors) -> list[Block]:
    figures = run_figures(records, colors)
    if figures:
        return [*figures]
    return [Prose("No curves: the log of the run, `log.jsonl`, does not stand beside the bundle.")]


def _calibration(card: Card) -> Facts:
    return Facts({"Fitted on": str(card.calibration["on"]), **card.calibration["tasks"]})
