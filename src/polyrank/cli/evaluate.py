"""``polyrank evaluate``: metrics of a bundle on a log."""

from typing import Annotated

import typer

from polyrank.cli.options import AsJson, BundlePath, LogPath, Tables


def evaluate(
    bundle: BundlePath,
    log: LogPath,
    slices: Annotated[
        list[str], typer.Option("--slice", help="A column by whose values to report as well.")
    ] = [],  # noqa: B006
    metrics: Annotated[list[str], typer.Option("--metric", help="Only these metrics.")] = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(help="Bootstrap draws over users.")] = 200,
    tables: Tables = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Metrics by task and slice, each in its sample space, with 95 % intervals."""
    from polyrank.cli.bundles import open_scorer
    from polyrank.cli.tables import console, metric_table, reasons
    from polyrank.config import EvaluationConfig
    from polyrank.schema import parse
    from polyrank.scoring import evaluate_log

    config = parse(EvaluationConfig, {"metrics": metrics, "slices": slices, "resamples": resamples})
    result = evaluate_log(open_scorer(bundle, tables), log, config)
    if as_json:
        typer.echo(result.to_json())
        return
    out = console()
    out.print(metric_table(result, f"{log} ({result.mode})"))
    for slice_ in dict.fromkeys(row.slice for row in result.rows if row.slice is not None):
        out.print(metric_table(result, slice_, slice_))
    for reason in reasons(result):
        out.print(f"undefined: {reason}", highlight=False)
