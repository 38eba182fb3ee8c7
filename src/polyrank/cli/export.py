"""``polyrank export``: the network for other runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from polyrank.cli.options import AsJson, BundlePath, LessPrecision, Tables

ROWS = 2000
"""That are compared."""


def export(
    bundle: BundlePath,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    format: Annotated[  # noqa: A002
        Literal["onnx", "pt2", "triton"],
        typer.Option("--format", help="An ONNX file, a compiled package, a Triton repository."),
    ] = "onnx",
    name: Annotated[
        str, typer.Option("--name", help="Of the model in a Triton repository.")
    ] = "polyrank",
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="LOG", help="Rows to compare on; else rows are made up."),
    ] = None,
    precision: LessPrecision = "fp32",
    tables: Tables = [],  # noqa: B006
    as_json: AsJson = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an export there.")] = False,
) -> None:
    """Write the network for other runtimes, compared with this one."""
    from polyrank.cli.bundles import open_scorer
    from polyrank.errors import counted
    from polyrank.scoring.engines.choosing import check_precision
    from polyrank.scoring.export.made_up import made_up
    from polyrank.scoring.export.recorded import recorded
    from polyrank.scoring.export.write import ENGINES, export_bundle

    check_precision(ENGINES[format], precision)
    _check(bundle, out, format, force=force)
    _check_name(name)
    scorer = open_scorer(bundle, tables)
    if on is None:
        rows = made_up(scorer.bundle.encoders, ROWS)
        told = f"{counted(ROWS, 'made-up row')}"
    else:
        rows = recorded(scorer, on, ROWS)
        told = f"the first {counted(len(rows), 'row')} of {on}"
    parity = export_bundle(
        scorer.bundle, out, format, rows, on=told, name=name, precision=precision, replace=force
    )
    if as_json:
        typer.echo(parity.to_json(), nl=False)
        return
    typer.echo(f"written to {out}, in {precision}; beside eager fp32, on {told}:")
    for task, own in parity.tasks.items():
        typer.echo(
            f"  {task}: differs by at most {own.largest_difference:.2g}, rank correlation "
            f"{own.rank_correlation:.9f}, NDCG lost {own.ndcg_lost:.9f}, ties {own.new_ties:+d}"
        )


def _check(bundle: Path, out: Path, form: str, *, force: bool) -> None:
    """Refuse before the network is exported what would be refused after it.

    Raises:
        ConfigError: The folder cannot be written, or there is no compiler for a package.
    """
    from polyrank.errors import ConfigError
    from polyrank.scoring.export.compiled import FILES, require_compiler
    from polyrank.scoring.export.write import KIND
    from polyrank.storage.targets import check_folder, check_target

    if bundle.resolve() in (out.resolve(), *out.resolve().parents):
        raise ConfigError(
            "lies in the bundle, which would not load again",
            where=str(out),
            hint="Write elsewhere.",
        )
    if form == "pt2":
        check_folder(out, FILES, what="a compiled package", replace=force)
        require_compiler()
    else:
        check_target(out, kind=KIND, replace=force)


def _check_name(name: str) -> None:
    """Refuse a name that is no folder's everywhere.

    Raises:
        ConfigError: It is none.
    """
    import re

    from polyrank.errors import ConfigError

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ConfigError(
            f"must be up to 64 letters, digits, _ . and -, a letter or digit first, got {name!r}",
            where="--name",
        )
