"""``polyrank init``: guess the schema of a log and write a configuration that trains."""

from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import LogPath, Tables


def init(
    log: LogPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path(
        "ranker.yaml"
    ),
    labels: Annotated[
        list[str],
        typer.Option("--label", metavar="NAME=COLUMN", help="A task that the guess would miss."),
    ] = [],  # noqa: B006
    tables: Tables = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Guess what each column means and write a commented YAML that trains as it stands."""
    from polyrank.cli.bundles import named_paths
    from polyrank.errors import ConfigError
    from polyrank.starter import write_starter

    if out.exists() and not force:
        raise ConfigError(
            "exists already", where=str(out), hint="Give --force to replace it, or another --out."
        )
    named = {name: str(column) for name, column in named_paths(labels).items()}
    guess = write_starter(log, out, labels=named, tables=named_paths(tables))
    tasks = ", ".join(guess.schema.task_names)
    typer.echo(f"{out}: {len(guess.schema.features)} features; tasks {tasks}")
    typer.echo(f"Read it, mend what was guessed wrong, then: polyrank train {out}")
