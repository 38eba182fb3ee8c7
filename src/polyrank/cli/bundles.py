"""Opening a bundle with side tables from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from polyrank.errors import ConfigError

if TYPE_CHECKING:
    from polyrank.scoring import Scorer
    from polyrank.scoring.engines import EngineName, Precision


def open_scorer(
    bundle: Path,
    tables: Sequence[str] = (),
    engine: EngineName = "eager",
    precision: Precision = "fp32",
) -> Scorer:
    """A scorer of the bundle, with side tables given as ``NAME=PATH`` instead of its own."""
    from polyrank.bundle import load_bundle
    from polyrank.scoring import Scorer
    from polyrank.scoring.engines import choose
    from polyrank.scoring.engines.choosing import check_precision

    check_precision(engine, precision)
    loaded = load_bundle(bundle)
    return Scorer(loaded, choose(loaded, engine, precision=precision), tables=named_paths(tables))


def warn_of_training_rows(
    scorers: Mapping[Path, Scorer], log: str, part: str, *, whole: bool = False
) -> None:
    """Tell on stderr which bundles were trained on rows that they are judged by; and, unless the
    ``whole`` log is read, how many of its rows nobody saw."""
    from polyrank.data import open_log
    from polyrank.errors import counted
    from polyrank.scoring import seen_in_training
    from polyrank.scoring.shown import not_shown

    source = open_log(log)
    left_out = 0 if whole else not_shown(source)
    if left_out:
        typer.echo(f"{log}: {counted(left_out, 'row')} not shown, left out", err=True)
    for path, scorer in scorers.items():
        for text in seen_in_training(scorer.bundle, source, part):
            typer.echo(f"warning: {path}: {text}", err=True)


def named_paths(texts: Sequence[str]) -> dict[str, Path]:
    """``NAME=PATH`` words as a mapping.

    Raises:
        ConfigError: A word of another form, or a name given twice.
    """
    return {name: Path(path) for name, path in named("--table", "NAME=PATH", texts).items()}


def named(option: str, form: str, texts: Sequence[str]) -> dict[str, str]:
    """Words of the form ``NAME=...`` as a mapping.

    Raises:
        ConfigError: A word of another form, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ConfigError(f"{option} got {text!r}", hint=f"Write {option} {form}.")
        if name in found:
            raise ConfigError(f"{option} names {name!r} twice", hint="Leave one out.")
        found[name] = value
    return found
