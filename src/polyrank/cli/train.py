"""``polyrank train``: from a configuration to an evaluated bundle."""

from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.options import ConfigPath, DataRoot, Settings


def train(
    config: ConfigPath,
    settings: Settings = [],  # noqa: B006
    data_root: DataRoot = None,
    output: Annotated[Path | None, typer.Option(help="The run's folder, over the file's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in its folder, to the same bits.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --resume: refuse a damaged checkpoint.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Train, choose by validation, evaluate, and write a bundle."""
    from polyrank.cli.tables import console, ledger_line, metric_table
    from polyrank.config import load_config
    from polyrank.run import (
        evaluations,
        find_root,
        is_main_process,
        progress,
        run_folder,
        train_bundle,
    )
    from polyrank.training import open_sources

    run = load_config(config, [*settings, *([f"output={output}"] if output else [])])
    sources = open_sources(run.data, find_root(run, config, data_root))
    with progress(quiet=quiet) as watcher:
        bundle = train_bundle(
            run,
            sources,
            run_folder(run),
            resume="never" if not resume else "strict" if strict else "auto",
            watcher=watcher,
            save=True,
        )
    if not is_main_process():
        return
    out = console()
    out.print(ledger_line(bundle.card.ledger), highlight=False)
    for part, evaluation in evaluations(bundle).items():
        out.print(metric_table(evaluation, part))
    out.print(f"bundle {run_folder(run) / 'bundle'}, version {bundle.version[:12]}")
