"""``polyrank validate``: everything that is wrong with a configuration and its log, at once."""

import typer

from polyrank.cli.options import ConfigPath, DataRoot, Settings


def validate(config: ConfigPath, settings: Settings = [], data_root: DataRoot = None) -> None:  # noqa: B006
    """Check the configuration and read the whole log once; print every problem."""
    from polyrank.config import load_config
    from polyrank.errors import DataError
    from polyrank.run import find_root, open_sources, validate_sources

    run = load_config(config, settings)
    sources = open_sources(run, find_root(run, config, data_root))
    problems, warnings, rows = validate_sources(run, sources)
    for warning in warnings:
        typer.echo(f"warning: {warning}")
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError(f"{len(problems)} problems", where=config.name, problems=tuple(problems))
    tasks = len(run.schema_.tasks)
    typer.echo(f"{rows:,} rows, {len(run.schema_.features)} features, {tasks} tasks: no problem")
