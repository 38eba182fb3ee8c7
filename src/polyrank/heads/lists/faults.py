"""Terms that do not fit a schema, its heads or its funnel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from polyrank.errors import suggest
from polyrank.heads.base import HeadConfig
from polyrank.heads.binary import CrossEntropy
from polyrank.heads.funnels import FunnelConfig
from polyrank.schema import Schema


def list_faults(
    lists: Iterable[str],
    schema: Schema,
    heads: Mapping[str, HeadConfig],
    funnel: FunnelConfig,
    delayed: Collection[str] = (),
) -> Iterator[tuple[str, str]]:
    """Place in the configuration, and what is wrong there with its cure.

    Args:
        lists: Tasks with a term.
        schema: Of the log.
        heads: Those chosen, by task.
        funnel: The one chosen.
        delayed: Tasks with a delay correction.
    """
    tasks = {task.name: task for task in schema.tasks}
    named = False
    for name in lists:
        named = True
        if (fault := _fault(name, tasks, heads.get(name))) is not None:
            yield f"model.lists.{name}", fault
        elif name in funnel.needs_logits(schema):
            yield (
                f"model.lists.{name}",
                f"funnel {funnel.kind!r} decides what {name!r} learns from. Choose funnel "
                "'masked', or leave out the term",
            )
        elif name in delayed:
            yield (
                f"model.lists.{name}",
                f"a delay correction lets {name!r} learn from rows that may yet become 1, and a "
                "list term would rank them as 0. Leave one of them out",
            )
    if named and schema.keys.request is None:
        yield (
            "model.lists",
            "a list term compares the rows of a request, and the schema has no `keys.request`. "
            "Name the column there, or leave out the terms",
        )


def _fault(name: str, tasks: Mapping[str, Any], head: HeadConfig | None) -> str | None:
    """Why the task cannot have a term."""
    if name not in tasks:
        return f"a list term is given to {name!r}, which is no task. {suggest(name, tasks)}"
    if tasks[name].kind != "binary":
        return (
            f"a list term ranks labels 1 above labels 0, and {name!r} is {tasks[name].kind}. "
            "Give it to a binary task"
        )
    if head is not None and not isinstance(head, CrossEntropy):
        return (
            f"a list term stands beside head 'cross_entropy', and {name!r} has {head.kind!r}. "
            "Choose that head, or leave out the term"
        )
    return None
