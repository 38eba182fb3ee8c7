"""Flags that several benchmarks take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """The folder of the logs; without the variable POLYRANK_DATA it has to be given."""
    default = os.environ.get("POLYRANK_DATA")
    parser.add_argument("--data-root", type=Path, default=default, required=default is None)
