"""The application: verbs, and what becomes of an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from polyrank._version import __version__
from polyrank.cli.card import card
from polyrank.cli.compare import compare
from polyrank.cli.demo import demo
from polyrank.cli.evaluate import evaluate
from polyrank.cli.init import init
from polyrank.cli.score import score
from polyrank.cli.train import train
from polyrank.cli.validate import validate
from polyrank.errors import PolyrankError

app = typer.Typer(
    name="polyrank",
    help="Multi-task ranking: one model for every objective, one ranked list.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for verb in (demo, init, validate, train, evaluate, score, compare, card):
    app.command()(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Multi-task ranking: one model for every objective, one ranked list."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command; null: those of the process.

    Returns:
        The exit code: 0, or that of the error (see ``polyrank.errors``). An error is told as a
        sentence on stderr, and as one line of JSON where stderr is no terminal.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except PolyrankError as error:
        return _tell(error)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _tell(error: PolyrankError) -> int:
    typer.echo(f"polyrank: {error}", err=True)
    if not sys.stderr.isatty():
        typer.echo(error.to_json(), err=True)
    return error.exit_code
