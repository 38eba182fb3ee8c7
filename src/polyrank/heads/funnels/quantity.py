"""In words, which quantity a task's prediction is.

>>> from polyrank.schema import Binary, Categorical, Schema
>>> tasks = (Binary(name="click"), Binary(name="purchase", within="click"))
>>> schema = Schema(features=(Categorical(name="item"),), tasks=tasks)
>>> quantity(schema, "purchase")
'P(purchase = 1 | click = 1)'
"""

from __future__ import annotations

from polyrank.schema import Binary, Duration, Multiclass, Ordinal, Schema


def quantity(schema: Schema, name: str, *, seen: bool = False) -> str:
    """What every funnel predicts of a task: a probability or value in the task's sample space.

    Args:
        schema: Its tasks.
        name: Of the task.
        seen: Whether a bias model makes it what would be if the row were seen.
    """
    task, space = schema.task(name), _space(schema, name, seen)
    if isinstance(task, Binary):
        return f"P({name} = 1{space})"
    if isinstance(task, Ordinal | Multiclass):
        return f"E({'worth of ' if isinstance(task, Multiclass) else ''}{name}{space})"
    unit = f" in {task.unit}" if isinstance(task, Duration) else ""
    return f"{name}{unit}{space}"


def quantity_beside(schema: Schema, name: str, beside: str, *, seen: bool = False) -> str:
    """What the head of a task predicts beside: the chance of a level or class, or a quantile.

    Args:
        schema: Its tasks.
        name: Of the task.
        beside: As the head names it, such as ``prob_like`` or ``p90``.
        seen: As for ``quantity``.
    """
    if isinstance(schema.task(name), Ordinal | Multiclass):
        return f"P({name} = {beside.removeprefix('prob_')}{_space(schema, name, seen)})"
    return f"{beside} of {quantity(schema, name, seen=seen)}"


def _space(schema: Schema, name: str, seen: bool) -> str:
    outer = (f"{outer} = 1" for outer in reversed(schema.space(name)))
    given = ", ".join([*outer, *(["seen"] if seen else [])])
    return f" | {given}" if given else ""
