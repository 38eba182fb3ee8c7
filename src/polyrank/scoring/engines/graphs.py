"""Networks ready to run, kept on this machine by the version of their bundle.

To export a network takes seconds, to load one milliseconds: a server that starts finds it here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from polyrank._version import __version__
from polyrank.errors import ArtefactError, ConfigError, StorageError
from polyrank.storage import commit_directory, open_committed

KIND, FORMAT_VERSION = "engine", 2
"""Rises with the form of the graph, so that one made before is made again."""
_FILE = "graph.onnx"


def home() -> Path:
    """Where they are: $POLYRANK_CACHE, else polyrank in the user's cache."""
    given = os.environ.get("POLYRANK_CACHE")
    if given:
        return Path(given) / "engines"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "polyrank" / "engines"


def find_graph(version: str, kind: str) -> bytes | None:
    """The network of a bundle's version, if it is here and whole.

    Args:
        version: Of the bundle; empty: it was never saved, and nothing is kept of it.
        kind: Of the network, such as "fp32".
    """
    path = _place(version, kind)
    if not version or not path.is_dir():
        return None
    try:
        with open_committed(path, kind=KIND, supported_versions={FORMAT_VERSION}) as committed:
            return bytes(committed.read(_FILE))
    except ArtefactError:
        return None


def keep_graph(version: str, kind: str, make: Callable[[], bytes]) -> bytes:
    """The network, made and kept if it is not here; a disk that refuses only keeps nothing."""
    found = find_graph(version, kind)
    if found is not None:
        return found
    made = make()
    if version:
        try:
            commit_directory(
                _place(version, kind),
                {_FILE: made},
                kind=KIND,
                format_version=FORMAT_VERSION,
                replace=True,
            )
        except (StorageError, ConfigError):
            return made
    return made


def _place(version: str, kind: str) -> Path:
    made_by = f"{__version__}-torch{torch.__version__.split('+')[0]}"
    return home() / f"{version[:24]}-{kind}-{made_by}"
