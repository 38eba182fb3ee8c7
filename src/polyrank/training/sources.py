"""What ``prepare`` reads: one log to divide, or its parts, and the side tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyrank.config import DataConfig
from polyrank.data import Source, open_log, open_query
from polyrank.errors import ConfigError

WHOLE = "log"
"""The name of a log that a split divides."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Opened logs; no row is read yet.

    Args:
        logs: One under ``log``, or ``train``, ``validation`` and perhaps ``test``.
        tables: The side tables by name: paths, or tables in memory.
        root: Folder that relative paths start from.
    """

    logs: Mapping[str, Source]
    tables: Mapping[str, Any] = field(default_factory=dict)
    root: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        train: Any,
        validation: Any,
        test: Any = None,
        tables: Mapping[str, Any] | None = None,
    ) -> Sources:
        """Paths, globs, folders, or tables of any library that speaks Arrow.

        Raises:
            ConfigError: Nothing is there, or it is no log.
        """
        given = {"train": train, "validation": validation, "test": test}
        for part in ("train", "validation"):
            if given[part] is None:
                raise ConfigError(
                    f"`{part}` must be a log, got None",
                    hint="Give a path, a glob, a folder, or an Arrow-compatible table.",
                )
        logs = {part: open_log(log) for part, log in given.items() if log is not None}
        return cls(logs=logs, tables=tables or {})


def open_sources(config: DataConfig, root: Path) -> Sources:
    """What the configuration names; relative paths start from ``root``.

    Raises:
        ConfigError: Nothing is there, or it is no log.
    """
    if config.query is not None:
        logs = {WHOLE: open_query(config.query, root=root)}
    else:
        named = {
            WHOLE: config.log,
            "train": config.train,
            "validation": config.validation,
            "test": config.test,
        }
        logs = {part: open_log(log, root=root) for part, log in named.items() if log is not None}
    return Sources(logs=logs, tables=config.tables, root=root)
