"""Delay corrections that do not fit a schema, its heads or its funnel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from polyrank.errors import suggest
from polyrank.heads.base import HeadConfig
from polyrank.heads.binary import CrossEntropy
from polyrank.heads.funnels import FunnelConfig
from polyrank.schema import Binary, Schema


def delay_faults(
    delay: Iterable[str], schema: Schema, heads: Mapping[str, HeadConfig], funnel: FunnelConfig
) -> Iterator[tuple[str, str]]:
    """Place in the configuration, and what is wrong there with its cure.

    Args:
        delay: Tasks with a correction.
        schema: Of the log.
        heads: Those chosen, by task.
        funnel: The one chosen.
    """
    for name in delay:
        fault = _fault(name, schema) or _misfit(name, heads.get(name), funnel, schema)
        if fault is not None:
            yield f"model.delay.{name}", fault


def _fault(name: str, schema: Schema) -> str | None:
    """Why the task cannot have a correction."""
    if name not in schema.task_names:
        known = suggest(name, schema.task_names)
        return f"a delay correction is given to {name!r}, which is no task. {known}"
    task = schema.task(name)
    if not isinstance(task, Binary):
        return (
            f"a delay correction is of a label that becomes 1, and {name!r} is {task.kind}. Leave "
            "it out"
        )
    if task.maturity is None:
        return (
            f"a delay correction needs to know how late labels come, and {name!r} has no "
            "`maturity`. Declare it, or leave the correction out"
        )
    late = [outer for outer in schema.space(name) if _matures(schema, outer)]
    if late:
        return (
            f"{name!r} lies within {late[0]!r}, which has a `maturity` of its own: its young rows "
            "are not known to be in the sample space, so samples would be missing. Leave the "
            "correction out: then rows that are not mature are masked"
        )
    if task.keep_rate < 1:
        return (
            f"{name!r} has a `keep_rate` of {task.keep_rate}: a row dropped as a negative may have "
            "become a positive later. Give the whole log, or leave the correction out"
        )
    return None


def _matures(schema: Schema, name: str) -> bool:
    task = schema.task(name)
    return isinstance(task, Binary) and task.maturity is not None


def _misfit(name: str, head: HeadConfig | None, funnel: FunnelConfig, schema: Schema) -> str | None:
    """Why it cannot have one beside the head and the funnel."""
    if head is not None and not isinstance(head, CrossEntropy):
        return (
            f"a delay correction weighs head 'cross_entropy', and {name!r} has {head.kind!r}. "
            "Choose that head, or leave the correction out"
        )
    if name in funnel.needs_logits(schema):
        return (
            f"funnel {funnel.kind!r} decides what {name!r} learns from. Choose funnel 'masked', or "
            "leave the correction out: then rows that are not mature are masked"
        )
    return None
