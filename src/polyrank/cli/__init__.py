"""The command line: one file a verb, heavy imports inside the command."""

from polyrank.cli.app import main

__all__ = ["main"]
