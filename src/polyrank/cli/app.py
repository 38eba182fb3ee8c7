"""The application: verbs, and what becomes of an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from polyrank._version import __version__
from polyrank.cli.audit import audit
from polyrank.cli.calibrate import calibrate
from polyrank.cli.card import card
from polyrank.cli.compare import compare
from polyrank.cli.demo import demo
from polyrank.cli.estimate import estimate
from polyrank.cli.evaluate import evaluate
from polyrank.cli.explain import explain
from polyrank.cli.export import export
from polyrank.cli.features import features
from polyrank.cli.fuse import fuse
from polyrank.cli.init import init
from polyrank.cli.monitor import monitor
from polyrank.cli.report import report
from polyrank.cli.score import score
from polyrank.cli.serve import serve
from polyrank.cli.simulate import simulate
from polyrank.cli.train import train
from polyrank.cli.validate import validate
from polyrank.errors import ConfigError, PolyrankError
from polyrank.storage.failures import storage_errors

INTERRUPTED = 130
"""Ctrl-C outside the training loop, which has a checkpoint to offer and ends with 75."""

app = typer.Typer(
    name="polyrank",
    help="Multi-task ranking: one model for every objective, one ranked list.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_VERBS = (
    demo,
    init,
    validate,
    explain,
    train,
    audit,
    calibrate,
    fuse,
    estimate,
    evaluate,
    score,
    serve,
    compare,
    card,
    report,
    monitor,
    export,
    simulate,
)
for verb in _VERBS:
    app.command()(verb)
app.add_typer(features, name="features")

# A wrong word on the command line. typer names only this subclass of it.
_UsageFault: Any = typer.BadParameter.__mro__[2]


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
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with storage_errors("read or write a file", "the command"):
            code = app(args=words, prog_name="polyrank", standalone_mode=False)
    except PolyrankError as error:
        return _tell(error)
    except _UsageFault as fault:
        return _tell(_usage_error(fault))
    except SystemExit as stop:  # the reader of our output is gone
        return stop.code if isinstance(stop.code, int) else 1
    if code == INTERRUPTED:
        typer.echo("polyrank: interrupted", err=True)
    return code if isinstance(code, int) else 0


def _usage_error(fault: Any) -> ConfigError:
    context = getattr(fault, "ctx", None)
    command = "polyrank" if context is None else context.command_path
    return ConfigError(fault.format_message().rstrip("."), hint=f"See {command} --help.")


def _tell(error: PolyrankError) -> int:
    typer.echo(f"polyrank: {error}", err=True)
    if not sys.stderr.isatty():
        typer.echo(error.to_json(), err=True)
    return error.exit_code
