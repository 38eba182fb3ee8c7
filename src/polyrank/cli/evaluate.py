"""``polyrank evaluate``: metrics of a bundle on a log."""

from typing import Annotated

import typer

from polyrank.cli.options import (
    AsJson,
    BundlePath,
    LogPath,
    MaxQuarantineShare,
    Metrics,
    ObservedUntil,
    Part,
    Tables,
    instant,
)


def evaluate(
    bundle: BundlePath,
    log: LogPath,
    slices: Annotated[
        list[str], typer.Option("--slice", help="A column by whose values to report as well.")
    ] = [],  # noqa: B006
    metrics: Metrics = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws over users.")] = 200,
    exact_rows: Annotated[
        int, typer.Option(min=1, help="Rows held in memory; of more, metrics are approximate.")
    ] = 5_000_000,
    part: Part = "all",
    tables: Tables = [],  # noqa: B006
    max_quarantine_share: MaxQuarantineShare = None,
    observed_until: ObservedUntil = None,
    as_json: AsJson = False,
) -> None:
    """Metrics by task and slice, with 95 % intervals."""
    from polyrank.cli.bundles import open_scorer, warn_of_training_rows
    from polyrank.cli.tables import console, show_evaluation
    from polyrank.config import EvaluationConfig
    from polyrank.schema import parse
    from polyrank.scoring import evaluate_log

    asked = {"metrics": metrics, "slices": slices}
    limits = {"resamples": resamples, "exact_rows": exact_rows}
    config = parse(EvaluationConfig, {**asked, **limits})
    scorer = open_scorer(bundle, tables)
    result = evaluate_log(
        scorer,
        log,
        config,
        part=part,
        max_quarantine_share=max_quarantine_share,
        observed_until=instant(observed_until),
    )
    warn_of_training_rows({bundle: scorer}, log, part)
    if as_json:
        typer.echo(result.to_json())
    else:
        show_evaluation(console(), result, f"{bundle} on {log}", metrics)
