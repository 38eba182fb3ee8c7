"""``polyrank init``: guess the schema of a log and write a configuration that trains."""

from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import LogPath


def init(
    log: LogPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path(
        "ranker.yaml"
    ),
    labels: Annotated[
        list[str],
        typer.Option(
            "--label",
            metavar="NAME=COLUMN[=VALUE]",
            help="A task, where no column looks like a label; VALUE is the one that means 1.",
        ),
    ] = [],  # noqa: B006
    tables: Annotated[
        list[str],
        typer.Option("--table", metavar="NAME=PATH", help="A side table to join."),
    ] = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Replace a YAML file there.")] = False,
) -> None:
    """Guess the schema of a log; write a YAML that trains."""
    from polyrank.cli.bundles import named, named_paths
    from polyrank.errors import counted
    from polyrank.starter import write_starter
    from polyrank.storage.targets import check_file

    check_file(out, kind="YAML", replace=force)
    tasks = named("--label", "NAME=COLUMN or NAME=COLUMN=VALUE", labels)
    guess = write_starter(log, out, labels=tasks, tables=named_paths(tables))
    names = ", ".join(guess.schema.task_names)
    typer.echo(f"{out}: {counted(len(guess.schema.features), 'feature')}; tasks: {names}")
    typer.echo(f"Read it, mend what was guessed wrong, then: polyrank validate {out}")
