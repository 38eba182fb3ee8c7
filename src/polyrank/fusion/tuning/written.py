"""Objectives and guardrails as words of a command.

>>> read_objective("ndcg@5:click").name, read_objective("value@3:purchase=20,click=1").name
('ndcg@5 of click', 'value@3 of 20 purchase + click')
>>> read_guardrail("gauc:click>=99%").name
"gauc of click at least 99% of today's"
"""

from __future__ import annotations

from typing import Any

from polyrank.errors import ConfigError, suggest
from polyrank.fusion.tuning.objectives import OBJECTIVES, AnyObjective
from polyrank.fusion.tuning.settings import Hold
from polyrank.schema import parse

_KINDS = {"ndcg": "ndcg", "gauc": "gauc", "recall": "weighted_recall", "value": "value"}
FORMS = "ndcg@10:TASK, gauc:TASK, recall@10:TASK, value@10:TASK=WORTH,TASK=WORTH"


def read_objective(text: str, option: str = "--objective") -> AnyObjective:
    """``KIND@K:TASK``; of a value, tasks with what they are worth.

    Raises:
        ConfigError: It is of another form.
    """
    head, colon, tasks = text.partition(":")
    word, at, depth = head.partition("@")
    if not colon or not tasks:
        raise ConfigError(f"{option} got {text!r}", hint=f"Write it as {FORMS}.")
    if word not in _KINDS:
        raise ConfigError(f"{option} got {word!r}, no objective", hint=suggest(word, _KINDS))
    tree: dict[str, Any] = {"kind": _KINDS[word]}
    if at:
        tree["k"] = int(depth) if depth.isdecimal() else depth
    if word == "value":
        tree["worth"] = dict(map(_worth, tasks.split(",")))
    else:
        tree["task"] = tasks
    found: Any = parse(OBJECTIVES[tree["kind"]], tree, where=f"{option} {text}")
    return found  # type: ignore[no-any-return]  # of one of the classes in the union


def read_guardrail(text: str) -> Hold:
    """An objective, ``>=`` or ``<=``, and a number, or a percentage of today's.

    Raises:
        ConfigError: It is of another form.
    """
    for sign in (">=", "<="):
        words, found, bound = text.partition(sign)
        if found:
            share = bound.endswith("%")
            number = _number(bound.removesuffix("%"), "--guard", text)
            number = number / 100 if share else number
            objective = read_objective(words.strip(), "--guard")
            return Hold(
                of=objective,
                at_least=number if sign == ">=" else None,
                at_most=number if sign == "<=" else None,
                absolute=not share,
            )
    raise ConfigError(
        f"--guard got {text!r}",
        hint="Write an objective and a bound, quoted: --guard 'ndcg@10:click>=99%', or '>=0.4'.",
    )


def _worth(text: str) -> tuple[str, float]:
    task, equals, worth = text.partition("=")
    return task.strip(), _number(worth, "--objective", text) if equals else 1.0


def _number(text: str, option: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} got {whole!r}, where {text!r} is no number", hint="Give a number."
        ) from error
