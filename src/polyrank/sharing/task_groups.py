"""What is wrong with groups of tasks: pairs of a key path and a message, as ``Faults`` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from polyrank.errors import suggest

Groups = Mapping[str, Sequence[str]]
"""By name of a group, its tasks."""


def listed_twice(groups: Groups) -> Iterator[tuple[str, str]]:
    """Tasks that stand in two groups, or twice in one."""
    first: dict[str, str] = {}
    for group, tasks in groups.items():
        for place, task in enumerate(tasks):
            if task in first:
                yield (
                    f"groups.{group}.{place}",
                    f"task {task!r} must stand in one group once, got it in {first[task]!r} and "
                    f"{group!r}. Remove one",
                )
            first.setdefault(task, group)


def strangers(groups: Groups, tasks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Tasks in groups that there are not, and tasks that stand in no group."""
    for group, listed in groups.items():
        for place, task in enumerate(listed):
            if task not in tasks:
                yield (
                    f"model.sharing.groups.{group}.{place}",
                    f"group {group!r} must list tasks of the schema, got {task!r}. "
                    f"{suggest(task, tasks)}",
                )
    placed = set(chain.from_iterable(groups.values()))
    missing = [task for task in tasks if task not in placed]
    if missing:
        yield (
            "model.sharing.groups",
            f"every task must stand in a group, got {', '.join(map(repr, missing))} in none. Add "
            f"to one of {', '.join(groups)}, or to a new one",
        )


def remaining(groups: Groups, gone: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The groups without these tasks, each in the order of names, and without empty ones."""
    left = {group: tuple(sorted(set(own) - set(gone))) for group, own in groups.items()}
    return {group: own for group, own in left.items() if own}


def in_order_of(old: Groups, groups: Groups) -> dict[str, tuple[str, ...]]:
    """Groups of ``old`` in its order, then the others, so that sums over groups keep their bits."""
    places = {name: place for place, name in enumerate(old)}
    names = sorted(groups, key=lambda name: places.get(name, len(places)))
    return {name: tuple(groups[name]) for name in names}
