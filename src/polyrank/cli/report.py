"""``polyrank report``: the page of one trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import BundlePath, Part, Tables


def report(
    bundle: BundlePath,
    log: Annotated[
        str | None, typer.Argument(help="A log with labels, for calibration, slices and more.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path(
        "report.html"
    ),
    part: Part = "all",
    slices: Annotated[
        list[str], typer.Option("--slice", help="A column by whose values to report as well.")
    ] = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws over users.")] = 200,
    tables: Tables = [],  # noqa: B006
) -> None:
    """Write one HTML page on a trained model, and on a log with it."""
    from polyrank import pages
    from polyrank.audit.page.look import look
    from polyrank.audit.page.trained import write_trained
    from polyrank.audit.probe import read_log
    from polyrank.cli.bundles import open_scorer, warn_of_training_rows
    from polyrank.errors import ConfigError
    from polyrank.training.journal import LOG

    pages.require_report()
    given = {"--part": part != "all", "--slice": bool(slices)}
    if log is None and any(given.values()):
        named = " and ".join(name for name, is_given in given.items() if is_given)
        raise ConfigError(f"{named} needs a log", hint="Write polyrank report BUNDLE LOG.")
    scorer = open_scorer(bundle, tables)
    found = None
    if log is not None:
        found = look(scorer, log, part=part, slices=slices, resamples=resamples)
        warn_of_training_rows({bundle: scorer}, log, part)
    beside = bundle.absolute().parent
    records = read_log(beside) if (beside / LOG).is_file() else []
    own = scorer.bundle
    tasks = own.schema.task_names
    write_trained(own.card, out, tasks=tasks, version=own.version, records=records, seen=found)
    typer.echo(f"wrote {out}")
