"""``polyrank train``: from a configuration to an evaluated bundle."""

from pathlib import Path
from typing import Annotated, Literal

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
    parent: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="BUNDLE", help="Start from a trained model, which this run extends."
        ),
    ] = None,
    freeze: Annotated[
        Literal["trunk"] | None,
        typer.Option(help="With --from: leave all that the parent has as it is."),
    ] = None,
    test: Annotated[
        bool,
        typer.Option("--test", help="Report the test part, too; with --resume, of a finished run."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")] = False,
) -> None:
    """Train, choose by validation, evaluate, write a bundle."""
    from polyrank.bundle import load_bundle
    from polyrank.config import load_config
    from polyrank.errors import ConfigError
    from polyrank.run import find_root, is_main_process, progress, run_folder, train_bundle
    from polyrank.training import open_sources

    if strict and not resume:
        raise ConfigError("--strict goes with --resume")
    if freeze is not None:
        settings = [*settings, f"training.freeze={freeze}"]
    run = load_config(config, settings)
    if output is not None:
        run = run.model_copy(update={"output": str(output)})
    sources = open_sources(run.data, find_root(run, config, data_root))
    folder = run_folder(run)
    origin = None if parent is None else load_bundle(parent)
    with progress(quiet=quiet) as watcher:
        bundle = train_bundle(
            run,
            sources,
            folder,
            resume="never" if not resume else "strict" if strict else "auto",
            watcher=watcher,
            save=True,
            test=test,
            parent=origin,
        )
    if is_main_process():
        from polyrank.cli.summary import show_run

        show_run(bundle, folder)
