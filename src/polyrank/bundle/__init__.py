"""The artefact on disk: a folder with schema, encoders, weights, side tables and a model card.

Every file is listed with its size and SHA-256 in ``MANIFEST.json``; nothing in it can run code.

>>> from pathlib import Path
>>> from polyrank.bundle import load_bundle
>>> load_bundle(Path("no-such-folder"))
Traceback (most recent call last):
polyrank.errors.ArtefactError: ...
"""

from polyrank.bundle.bundle import FORMAT_VERSION, Bundle, load_bundle, open_bundle, save_bundle
from polyrank.bundle.card import Card, DataDates, describe_tasks, environment, render
from polyrank.bundle.profile import Distribution, Profile, Rate
from polyrank.bundle.values import ValueHistory, ValueVersion

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "Card",
    "DataDates",
    "Distribution",
    "Profile",
    "Rate",
    "ValueHistory",
    "ValueVersion",
    "describe_tasks",
    "environment",
    "load_bundle",
    "open_bundle",
    "render",
    "save_bundle",
]
