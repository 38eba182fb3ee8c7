"""``polyrank validate``: everything that is wrong with a configuration and its log, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from polyrank.cli.options import ConfigPath, DataRoot, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyrank.errors import PolyrankError


def validate(config: ConfigPath, settings: Settings = [], data_root: DataRoot = None) -> None:  # noqa: B006
    """Tell every problem of a configuration and its log at once."""
    from polyrank.check import check_run
    from polyrank.errors import counted

    found = check_run(config, settings, data_root)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}")
    if found.problems:
        raise _all(found.problems, config.name)
    assert found.schema is not None, "without problems there is a schema"
    rows = "" if found.rows is None else f"{counted(found.rows, 'row')}, "
    features = counted(len(found.schema.features), "feature")
    tasks = counted(len(found.schema.tasks), "task")
    typer.echo(f"{config.name}: {rows}{features}, {tasks}: no problem")


def _all(problems: Sequence[PolyrankError], where: str) -> PolyrankError:
    """One error that holds all; the configuration's exit code comes first."""
    from polyrank.errors import ConfigError, DataError

    if len(problems) == 1:
        return problems[0]
    kind = ConfigError if any(p.exit_code == ConfigError.exit_code for p in problems) else DataError
    return kind(f"{len(problems)} problems", where=where, problems=tuple(problems))
