"""``polyrank calibrate``: fit a bundle's calibration anew."""

from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import (
    BundlePath,
    LogPath,
    MaxQuarantineShare,
    ObservedUntil,
    Part,
    Tables,
    instant,
)


def calibrate(
    bundle: BundlePath,
    log: LogPath,
    out: Annotated[Path, typer.Argument(help="The folder of the new bundle.")],
    method: Annotated[
        str | None,
        typer.Option(
            "--method", help="temperature, platt, beta, isotonic; else that of the bundle's run."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="COLUMN", help="Correct each value of this column, too."),
    ] = None,
    part: Part = "all",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    observed_until: ObservedUntil = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Fit a bundle's calibration anew, into another one."""
    from polyrank.bundle import save_bundle
    from polyrank.bundle.bundle import KIND
    from polyrank.cli.bundles import open_scorer, warn_of_training_rows
    from polyrank.cli.tables import console, show_calibration
    from polyrank.errors import ConfigError
    from polyrank.scoring import calibrate_on, calibration_config
    from polyrank.storage.targets import check_target

    if out.resolve() == bundle.resolve():
        raise ConfigError(
            "is the bundle that is read", where=str(out), hint="Write the new one elsewhere."
        )
    check_target(out, kind=KIND, replace=force)
    scorer = open_scorer(bundle, tables)
    config = calibration_config(scorer.bundle, method, by)
    found = calibrate_on(
        scorer,
        log,
        config,
        part=part,
        max_quarantine_share=max_quarantine_share,
        observed_until=instant(observed_until),
    )
    warn_of_training_rows({bundle: scorer}, log, part)
    version = save_bundle(found, out, replace=force)
    show_calibration(console(), found.card.calibration, f"{bundle} on {log}")
    typer.echo(f"written to {out}, version {version[:12]}")
