"""Networks ready to run, kept on this machine by what they are made of.

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


def find_graph(network: str, kind: str) -> bytes | None:
    """The exported network of a bundle, if it is here and whole.

    Args:
        network: The bundle's ``network``; empty: it was not loaded, and nothing is kept of it.
        kind: Of the network, such as "fp32".
    """
    path = _place(network, kind)
    if not network or not path.is_dir():
        return None
    try:
        with open_committed(path, kind=KIND, supported_versions={FORMAT_VERSION}) as committed:
            return bytes(committed.read(_FILE))
    except ArtefactError:
        return None


def keep_graph(network: str, kind: str, make: Callable[[], bytes]) -> bytes:
    """The network, made and kept if it is not here; a disk that refuses only keeps nothing."""
    found = find_graph(network, kind)
    if found is not None:
        return found
    made = make()
    if network:
        try:
            commit_directory(
                _place(network, kind),
                {_FILE: made},
                kind=KIND,
                format_version=FORMAT_VERSION,
                replace=True,
            )
        except (StorageError, ConfigError):
            return made
    return made


def _place(network: str, kind: str) -> Path:
    made_by = f"{__version__}-torch{torch.__version__.split('+')[0]}"
    return home() / f"{network[:24]}-{kind}-{made_by}"
