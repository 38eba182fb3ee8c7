"""``polyrank score``: batch scoring, Parquet to Parquet."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from polyrank.cli.options import BundlePath, LessPrecision, LogPath, MaxQuarantineShare, Tables


def score(
    bundle: BundlePath,
    log: LogPath,
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    keep: Annotated[
        list[str], typer.Option("--keep", help="A column of the log to copy beside the keys.")
    ] = [],  # noqa: B006
    further: Annotated[
        bool,
        typer.Option("--further", help="Also what heads predict beside: predicted_<task>.p90 ..."),
    ] = False,
    engine: Annotated[
        Literal["auto", "eager", "onnx", "compiled"],
        typer.Option("--engine", help="What computes; auto: the faster one that is ready."),
    ] = "eager",
    precision: LessPrecision = "fp32",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a Parquet file there.")] = False,
) -> None:
    """Predict every task for every row, in the rows' order."""
    from polyrank.cli.bundles import open_scorer
    from polyrank.data import Ledger
    from polyrank.errors import ConfigError, counted

    scorer = open_scorer(bundle, tables, engine, precision)
    if bundle.resolve() in out.resolve().parents:
        raise ConfigError(
            "lies in the bundle, which would not load again",
            where=str(out),
            hint="Write elsewhere.",
        )
    for notice in scorer.notices(log):
        typer.echo(notice, err=True)
    ledger = Ledger()
    rows = scorer.score_file(
        log,
        out,
        keep=keep,
        further=further,
        replace=force,
        max_quarantine_share=max_quarantine_share,
        ledger=ledger,
    )
    refused = f", {ledger.quarantined:,} of them refused (NaN)" if ledger.quarantined else ""
    typer.echo(f"{counted(rows, 'row')} scored into {out}{refused}")
