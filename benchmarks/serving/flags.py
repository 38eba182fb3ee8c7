"""Flags of both benchmarks of the server, and what they mean."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from serving.process import Cores

RESULTS = Path(__file__).resolve().parents[1] / "results"


def add_flags(parser: argparse.ArgumentParser, result: str) -> None:
    """What is served, where, and the name of the result's file."""
    parser.add_argument("--data-root", type=Path, default=os.environ.get("POLYRANK_DATA"))
    parser.add_argument("--bundle", type=Path, help="a trained bundle, instead")
    parser.add_argument("--free", action="store_true", help="pin nothing to cores")
    parser.add_argument("--out", type=Path, default=RESULTS / result)
    parser.add_argument("serve", nargs="*", help="further flags of `polyrank serve`, after --")


def cores_of(options: argparse.Namespace) -> Cores | None:
    """Null: nothing is pinned."""
    return None if options.free else Cores.split()
