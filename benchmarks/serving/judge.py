"""Whether an answer is the one that the same request had when nobody else asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from serving.process import Server
from serving.questions import Question

NO_ROOM = (429, 503)
_MARK = b'"candidates":'
_Place = tuple[str, int, int, str]
"""Profile, number and candidates of a question, and the version that answered."""


class Judge:
    """Knows what is right.

    An answer is right if, from its candidates on, it is byte for byte one that was learnt for this
    request, this profile and this version of the bundle; and one version of a value model has one
    answer only.
    """

    def __init__(self) -> None:
        self._right: dict[_Place, list[bytes]] = {}
        self._by_value_model: dict[tuple[_Place, int], bytes] = {}

    def learn(self, questions: Sequence[Question], server: Server) -> None:
        """Ask an idle server, check what it answers, and keep that."""
        for question in questions:
            body = question.message.partition(b"\r\n\r\n")[2]
            status, answer = server.ask("POST", "/v1/rank", orjson.loads(body))
            if status != 200 or (fault := _misshapen(orjson.loads(answer), question)):
                told = status if status != 200 else fault
                raise RuntimeError(f"an idle server answers {told}: {answer[:200]!r}")
            head, tail = _cut(answer)
            self._right.setdefault(_place(question, head), []).append(tail)

    def fault(self, question: Question, status: int, answer: bytes) -> str | None:
        """What is wrong with an answer of status 200, or with a refusal; null: nothing."""
        if question.refused:
            right = (*question.refused, *NO_ROOM)  # who has no room need not look further
            return None if status in right else f"{status} for a bad request"
        if status != 200:
            return None
        try:
            head, tail = _cut(answer)
        except ValueError:
            return "not the JSON of an answer"
        place = _place(question, head)
        right = self._right.get(place)
        if right is None:
            return f"a version that was never tried: {head['version']}"
        if tail not in right:
            return "another answer than when idle"
        first = self._by_value_model.setdefault((place, head["value_model"]["version"]), tail)
        return None if first == tail else "two answers of one version of a value model"


def _cut(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """What stands before the candidates, and all from there on."""
    at = answer.index(_MARK)
    head: dict[str, Any] = orjson.loads(answer[:at].rstrip(b",") + b"}")
    return head, answer[at:]


def _place(question: Question, head: dict[str, Any]) -> _Place:
    return (question.profile, question.number, question.candidates, head["version"])


def _misshapen(answer: dict[str, Any], question: Question) -> str | None:
    there = answer["candidates"]
    scores = [each["score"] for each in there]
    if len(there) != question.candidates:
        return f"{len(there)} candidates"
    if sorted(each["index"] for each in there) != list(range(question.candidates)):
        return "a candidate is missing"
    values = [*scores, *(value for each in there for value in each["predictions"].values())]
    if not all(math.isfinite(value) for value in values):
        return "a value that is not finite"
    return None if scores == sorted(scores, reverse=True) else "not in order"
