"""Opening a bundle with side tables from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyrank.errors import ConfigError

if TYPE_CHECKING:
    from polyrank.scoring import Scorer


def open_scorer(bundle: Path, tables: Sequence[str] = ()) -> Scorer:
    """A scorer of the bundle, with side tables given as ``NAME=PATH`` instead of its own."""
    from polyrank.bundle import load_bundle
    from polyrank.scoring import Scorer

    return Scorer(load_bundle(bundle), tables=named_paths(tables))


def named_paths(texts: Sequence[str]) -> Mapping[str, Path]:
    """``NAME=PATH`` words as a mapping.

    Raises:
        ConfigError: A word without an equals sign.
    """
    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise ConfigError(f"{text!r} is no side table", hint="Write NAME=PATH.")
        found[name] = Path(path)
    return found
