"""``polyrank compare``: two bundles on the same rows."""

from typing import Annotated

import typer

from polyrank.cli.options import (
    AsJson,
    BundlePath,
    LogPath,
    MaxQuarantineShare,
    Metrics,
    Part,
    Tables,
)


def compare(
    a: BundlePath,
    b: BundlePath,
    log: LogPath,
    metrics: Metrics = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws over users.")] = 500,
    part: Part = "all",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    as_json: AsJson = False,
) -> None:
    """Paired differences B - A on the same rows, with intervals.

    The intervals carry the choice of users, not that of seeds: two bundles are two draws.
    """
    from polyrank.cli.bundles import open_scorer, warn_of_training_rows
    from polyrank.cli.tables import console, show_comparison
    from polyrank.scoring import compare_scorers

    first, second = (open_scorer(bundle, tables) for bundle in (a, b))
    result = compare_scorers(
        first,
        second,
        log,
        metrics=metrics,
        resamples=resamples,
        part=part,
        max_quarantine_share=max_quarantine_share,
    )
    warn_of_training_rows({a: first, b: second}, log, part)
    if as_json:
        typer.echo(result.to_json())
    else:
        show_comparison(console(), result, f"A {a}, B {b} on {log}", metrics)
