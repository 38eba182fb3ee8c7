"""What an audit found, in a sentence or two at the top of its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from polyrank.audit.page.found import Found
from polyrank.audit.page.remedies import recommendation
from polyrank.audit.page.words import listed, metric, size
from polyrank.audit.verdict import Answer, Verdict, Verdicts, Warned, Warnings
from polyrank.errors import counted
from polyrank.pages import code, interval

Tone = Literal["good", "bad", "neutral"]


class Sentence(NamedTuple):
    """It, and whether it is good news."""

    text: str
    tone: Tone


def sentence(found: Found) -> Sentence:
    """Of a whole audit, or of one that runs are missing from."""
    if isinstance(found.verdicts, Verdicts):
        text, tone = " ".join(_judged(found)), _tone(found.verdicts)
    elif isinstance(found.verdicts, Warnings):
        text, tone = _warned(found, found.verdicts), _NEUTRAL
    else:
        text = "Nothing could be compared: no task has a joint run and a twin of one seed."
        tone = _NEUTRAL
    if (remedy := recommendation(found)) is not None:
        text += f" {remedy}"
    if found.missing:
        text += f" This is a partial report: {counted(found.missing, 'run')} of "
        text += f"{found.tree['runs']['of']} are missing."
    return Sentence(text, tone)


_NEUTRAL: Tone = "neutral"


def _tone(verdicts: Verdicts) -> Tone:
    answers = {own.answer for own in verdicts.tasks}
    if "harmed" in answers:
        return "bad"
    return "neutral" if "undecided" in answers else "good"


def _judged(found: Found) -> Iterator[str]:
    assert isinstance(found.verdicts, Verdicts)
    by: dict[Answer, list[Verdict]] = {
        answer: [own for own in found.verdicts.tasks if own.answer == answer]
        for answer in ("harmed", "helped", "unharmed", "undecided")
    }
    moved = {"hurts": by["harmed"], "helps": by["helped"]}
    parts = [
        f"{verb} {listed([_told(own, found.confidence) for own in verdicts])}"
        for verb, verdicts in moved.items()
        if verdicts
    ]
    if parts:
        yield f"Sharing {'; it '.join(parts)}."
    if by["unharmed"]:
        verb = "is" if len(by["unharmed"]) == 1 else "are"
        yield f"{_names(by['unharmed'])} {verb} unharmed: no loss that matters."
    if by["undecided"]:
        verb = "is" if len(by["undecided"]) == 1 else "are"
        yield f"{_names(by['undecided'])} {verb} undecided: {_power(by['undecided'])}."


def _told(own: Verdict, confidence: str) -> str:
    assert own.gain.value is not None
    helped = own.answer == "helped"
    ends = (own.low, own.high)
    if not helped:
        ends = (_minus(own.high), _minus(own.low))
    told = f"{code(own.task)} by {size(abs(own.gain.value), own.metric)} {metric(own.metric)}"
    if ends[0] is None or ends[1] is None:
        return told
    range_ = interval(ends[0], ends[1], lambda end: size(end, own.metric))
    return f"{told} ({confidence} interval {range_})"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _names(verdicts: Sequence[Verdict | Warned]) -> str:
    return listed([code(own.task) for own in verdicts])


def _power(verdicts: Sequence[Verdict]) -> str:
    """What undecided runs could have seen."""
    told = [
        f"{size(own.detectable, own.metric)} {metric(own.metric)} in {code(own.task)}"
        for own in verdicts
        if own.detectable is not None
    ]
    if not told:
        return "the runs allow no interval"
    share = "80\N{NO-BREAK SPACE}%"
    return f"with a chance of {share} these runs would see a gain or loss of {listed(told)}"


def _warned(found: Found, warnings: Warnings) -> str:
    start = "One seed can only warn, and gives no verdict."
    warned = [own for own in warnings.tasks if own.warns]
    if not warned:
        return f"{start} It warns of no task."
    told = [
        f"{code(own.task)} ({size(own.gain.value, own.metric, signed=True)} {metric(own.metric)})"
        for own in warned
    ]
    return f"{start} It warns that sharing may harm {listed(told)}: look again with more seeds."
