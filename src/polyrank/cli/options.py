"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigPath = Annotated[Path, typer.Argument(help="The run's YAML file.")]
BundlePath = Annotated[Path, typer.Argument(help="A bundle's folder.")]
LogPath = Annotated[str, typer.Argument(help="Parquet, CSV or Arrow: a file, glob or folder.")]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Put over the file, as training.epochs=2."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder that relative data paths start from; else POLYRANK_DATA, else the file's own.",
    ),
]
Tables = Annotated[
    list[str],
    typer.Option("--table", metavar="NAME=PATH", help="A side table instead of the bundle's."),
]
Part = Annotated[
    Literal["all", "train", "validation", "test"],
    typer.Option("--part", help="The part of the log by the bundle's own split."),
]
MaxQuarantineShare = Annotated[
    float | None,
    typer.Option(
        "--max-quarantine-share",
        min=0,
        max=1,
        help="Share of rows that may be refused; else that of the bundle's run.",
    ),
]
ObservedUntil = Annotated[
    str | None,
    typer.Option(
        "--observed-until",
        metavar="WHEN",
        help="When late labels were looked at; else when the training log was cut.",
    ),
]
LessPrecision = Annotated[
    Literal["fp32", "bf16", "int8", "int8_tables"],
    typer.Option("--precision", help="Less than fp32 is faster, and ranks a little otherwise."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Metrics = Annotated[
    list[str], typer.Option("--metric", metavar="NAME", help="Only this metric, as ndcg@5.")
]


def instant(text: str | None) -> int | str | None:
    """Whole numbers where ``keys.time`` holds such, else ISO 8601."""
    return int(text) if text is not None and text.removeprefix("-").isdigit() else text
