"""Write the reference of the schema and the configuration from the code.

Run ``make docs``; a test fails where the committed pages are not what the code says.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from polyrank import (
    balancing,
    calibration,
    config,
    data,
    fusion,
    heads,
    interactions,
    model,
    schema,
    sharing,
)
from polyrank.fusion import tuning
from polyrank.simulation import FeedConfig, experiment
from polyrank.task_training import TaskTraining

PAGES: dict[str, tuple[str, list[type[BaseModel]]]] = {
    "schema.md": (
        "Schema",
        [
            schema.Schema,
            schema.Categorical,
            schema.Numeric,
            schema.Bag,
            schema.Sequence,
            schema.Embedding,
            schema.Binary,
            schema.Regression,
            schema.Duration,
            schema.Ordinal,
            schema.Multiclass,
            schema.WatchThrough,
            schema.LongDwell,
            schema.Maturity,
            schema.Keys,
            schema.SideTable,
            schema.Deduplicate,
        ],
    ),
    "configuration.md": (
        "Configuration",
        [
            config.RunConfig,
            config.DataConfig,
            data.TimeSplit,
            data.UserSplit,
            data.RandomSplit,
            model.ModelConfig,
            model.Towers,
            *interactions.INTERACTIONS.values(),
            *sharing.SHARINGS.values(),
            *heads.HEADS.values(),
            *heads.FUNNELS.values(),
            *heads.DELAYS.values(),
            *heads.LISTS.values(),
            *heads.BIASES.values(),
            *balancing.SCALARIZERS.values(),
            *balancing.GRADIENT_BALANCERS.values(),
            config.TrainingConfig,
            TaskTraining,
            config.Clippy,
            config.Select,
            config.CheckpointConfig,
            config.CalibrationConfig,
            *calibration.CALIBRATORS.values(),
            config.EvaluationConfig,
            config.TrackingConfig,
        ],
    ),
    "value_models.md": (
        "Value models and their tuning",
        [
            *fusion.VALUE_MODELS.values(),
            fusion.Term,
            fusion.Factor,
            fusion.Rank,
            fusion.Demotion,
            tuning.Settings,
            tuning.Hold,
            tuning.Range,
            *tuning.OBJECTIVES.values(),
            *tuning.SEARCHES.values(),
        ],
    ),
    "simulation.md": (
        "The simulated feed and its experiment",
        [
            experiment.SimulationConfig,
            FeedConfig,
            experiment.ExperimentConfig,
            experiment.ReturnConfig,
        ],
    ),
}


def page(title: str, classes: list[type[BaseModel]]) -> str:
    """One page in Markdown."""
    lines = [f"# {title}", "", "Written from the code by `make docs`.", ""]
    for cls in classes:
        lines += [f"## {cls.__name__}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
        lines += ["| key | type | default | what |", "|---|---|---|---|"]
        written = written_fields(cls)
        lines += [_row(name, field, written) for name, field in cls.model_fields.items()]
        lines += [""]
    return "\n".join(lines)


@dataclass(frozen=True)
class Written:
    """A field as it stands in the source: its annotation, and the text below it."""

    annotation: str
    note: str = ""


def written_fields(cls: type[BaseModel]) -> dict[str, Written]:
    """The fields of a class, base classes included."""
    found: dict[str, Written] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = Written(ast.unparse(field.annotation), _text(below))
    return found


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _row(name: str, field: FieldInfo, written: dict[str, Written]) -> str:
    source = written[name]
    cells = [f"`{field.alias or name}`", f"`{source.annotation}`", _default(field), source.note]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return f"`{type(value).__name__}()`"
    return "null" if value is None else f"`{value!r}`"


def main() -> None:
    """Write every page."""
    folder = Path(__file__).parent / "reference"
    for name, (title, classes) in PAGES.items():
        (folder / name).write_text(page(title, classes), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
