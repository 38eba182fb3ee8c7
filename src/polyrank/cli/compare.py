"""``polyrank compare``: two bundles on the same rows."""

from typing import Annotated

import typer

from polyrank.cli.options import AsJson, BundlePath, LogPath


def compare(
    a: BundlePath,
    b: BundlePath,
    log: LogPath,
    metrics: Annotated[list[str], typer.Option("--metric", help="Only these metrics.")] = [],  # noqa: B006
    resamples: Annotated[int, typer.Option(help="Bootstrap draws over users.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Paired differences B - A of every metric that both bundles have, with 95 % intervals.

    The intervals carry the choice of users, not that of seeds: two bundles are two draws.
    """
    from polyrank.cli.bundles import open_scorer
    from polyrank.cli.tables import comparison_table, console
    from polyrank.scoring import compare_scorers

    result = compare_scorers(
        open_scorer(a), open_scorer(b), log, metrics=metrics, resamples=resamples
    )
    if as_json:
        typer.echo(result.to_json())
        return
    out = console()
    out.print(comparison_table(result, f"A {a}, B {b} on {log}"))
    out.print("* the interval leaves out 0. It carries users, not seeds.", highlight=False)
