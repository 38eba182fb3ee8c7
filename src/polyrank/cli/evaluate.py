"""``polyrank evaluate``: metrics of a bundle on a log."""

from typing import Annotated

import typer

from polyrank.cli.options import AsJson, BundlePath, LogPath, Metrics, Tables


def evaluate(
    bundle: BundlePath,
    log: LogPath,
    slices: Annotated[
        list[str], typer.Option("--slice", help="A column by whose values to report as well.")
    ] = [],  # noqa: B006
    metrics: Metrics = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap draws over users.")] = 200,
    tables: Tables = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Metrics by task and slice, with 95 % intervals."""
    from polyrank.cli.bundles import open_scorer
    from polyrank.cli.tables import console, show_evaluation
    from polyrank.config import EvaluationConfig
    from polyrank.schema import parse
    from polyrank.scoring import evaluate_log

    config = parse(EvaluationConfig, {"metrics": metrics, "slices": slices, "resamples": resamples})
    result = evaluate_log(open_scorer(bundle, tables), log, config)
    if as_json:
        typer.echo(result.to_json())
    else:
        show_evaluation(console(), result, f"{bundle} on {log}", metrics)
