"""``polyrank explain``: what a network is made of, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyrank.cli.options import AsJson, DataRoot, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyrank.explain import Explanation


def explain(
    path: Annotated[Path, typer.Argument(help="A run's YAML file, or a bundle's folder.")],
    settings: Settings = [],  # noqa: B006
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Print the network: blocks, shapes, parameters, multiply-adds."""
    from polyrank.cli.network import show_network
    from polyrank.cli.tables import console

    bundle = path.is_dir()
    found = _of_bundle(path, settings, data_root) if bundle else _of_run(path, settings, data_root)
    if as_json:
        typer.echo(found.to_json())
    else:
        show_network(console(), found, str(path))


def _of_bundle(path: Path, settings: Sequence[str], data_root: Path | None) -> Explanation:
    from polyrank.bundle import load_bundle
    from polyrank.errors import ConfigError
    from polyrank.explain import explain_bundle

    if settings or data_root is not None:
        raise ConfigError(
            "--set and --data-root go with a YAML file, and this is a folder",
            where=str(path),
            hint="A bundle is what it is: leave them out, or name the run's YAML file.",
        )
    return explain_bundle(load_bundle(path))


def _of_run(path: Path, settings: Sequence[str], data_root: Path | None) -> Explanation:
    from polyrank.config import load_config
    from polyrank.explain import explain_run
    from polyrank.run import find_root, progress, run_folder
    from polyrank.training import open_sources

    run = load_config(path, settings)
    sources = open_sources(run.data, find_root(run, path, data_root))
    with progress(quiet=False) as watcher:
        return explain_run(run, sources, run_folder(run), report=watcher.stage)
