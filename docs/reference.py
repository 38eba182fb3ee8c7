"""Write the reference of the schema and the configuration from the code.

Run ``make docs``; a test fails where the committed pages are not what the code says.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from polyrank import balancing, config, data, model, schema, sharing

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
            model.NoInteraction,
            model.DCNv2,
            model.Towers,
            *sharing.SHARINGS.values(),
            *balancing.SCALARIZERS.values(),
            config.TrainingConfig,
            config.Select,
            config.CheckpointConfig,
            config.EvaluationConfig,
            config.TrackingConfig,
        ],
    ),
}


def page(title: str, classes: list[type[BaseModel]]) -> str:
    """One page in Markdown."""
    lines = [f"# {title}", "", "Written from the code by `make docs`.", ""]
    for cls in classes:
        lines += [f"## {cls.__name__}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
        lines += ["| key | type | default | what |", "|---|---|---|---|"]
        notes = attribute_notes(cls)
        lines += [_row(name, field, notes) for name, field in cls.model_fields.items()]
        lines += [""]
    return "\n".join(lines)


def attribute_notes(cls: type[BaseModel]) -> dict[str, str]:
    """The text below each field, base classes included."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not (isinstance(base, type) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                notes[field.target.id] = " ".join(str(text.value.value).split())
    return notes


def _row(name: str, field: FieldInfo, notes: dict[str, str]) -> str:
    key = field.alias or name
    return f"| `{key}` | {_type(field)} | {_default(field)} | {_cell(notes.get(name, ''))} |"


def _type(field: FieldInfo) -> str:
    text = getattr(field.annotation, "__name__", None)
    if text is None or getattr(field.annotation, "__args__", None):
        text = str(field.annotation)
    for prefix in ("typing.", "polyrank."):
        text = text.replace(prefix, "")
    return _cell(f"`{_short(text)}`")


def _short(text: str) -> str:
    """Leave out the constraints and module paths that pydantic writes into annotations."""
    while "Annotated[" in text:
        start = text.index("Annotated[") + len("Annotated[")
        depth, cut, end = 0, None, start
        for end in range(start, len(text)):
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(text[end], 0)
            if depth == 0 and text[end] == "," and cut is None:
                cut = end
            if depth < 0:
                break
        text = text[: start - len("Annotated[")] + text[start : cut or end] + text[end + 1 :]
    parts = text.replace("|", " | ").split()
    return " ".join(part.rsplit(".", 1)[-1] if "[" not in part else part for part in parts)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return f"`{type(value).__name__}()`"
    return "null" if value is None else f"`{value!r}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write every page."""
    folder = Path(__file__).parent / "reference"
    for name, (title, classes) in PAGES.items():
        (folder / name).write_text(page(title, classes), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
