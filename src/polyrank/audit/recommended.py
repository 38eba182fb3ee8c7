"""The user's configuration with a remedy in it, as a file to train from."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from polyrank.audit.results import differences
from polyrank.config import RunConfig
from polyrank.schema import to_yaml
from polyrank.storage.failures import storage_errors

RECOMMENDED = "recommended.yaml"
"""In the audit's folder."""


def write_recommended(
    asked: RunConfig, changed: RunConfig, told: str, folder: Path, root: Path | None
) -> Path:
    """The file; one that is there is replaced.

    Args:
        asked: The user's run.
        changed: The run that was tried; seed, threads, output, tracking, slices and cache stay the
            user's.
        told: What was changed, in words.
        folder: Where to.
        root: Where the relative paths of data start.

    Raises:
        StorageError: The disk refused.
    """
    before = asked.tree()
    tree = {**changed.tree(), **{key: before[key] for key in ("data", "evaluation", "tracking")}}
    tree |= {"seed": before["seed"], "output": f"{before['output']}-recommended"}
    tree["training"]["threads"] = before["training"]["threads"]
    if root is not None:
        tree["data"] = {**tree["data"], "root": str(root.absolute())}
    lines = [f"# {told}.", "# What is other than in the run that was audited:"]
    lines += [f"#   {key}: {old!r} -> {new!r}" for key, old, new in differences(before, tree)]
    lines += ["schema:", to_yaml(changed.schema_, indent=2).rstrip("\n")]
    rest = _yaml({key: value for key, value in tree.items() if key != "schema"})
    path, draft = folder / RECOMMENDED, folder / f".{RECOMMENDED}"
    with storage_errors("write the recommended configuration", RECOMMENDED):
        draft.write_text("\n".join(lines) + "\n" + rest, encoding="utf-8")
        draft.replace(path)
    return path


def _yaml(tree: Mapping[str, Any]) -> str:
    """In blocks, lists of plain values on one line."""
    out, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(tree), out)
    return out.getvalue()
