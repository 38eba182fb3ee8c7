"""The terms in plain Python, one row and one pair at a time, and rows to hold them against.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyrank.heads import masked_mean
from polyrank.heads.lists import LISTS, ListConfig, Rows
from polyrank.schema import parse

KINDS = tuple(sorted(LISTS))


@dataclass(frozen=True)
class Row:
    """A row of a request; ``further`` is the second logit of JRC."""

    logit: float
    label: int
    request: int = 0
    weight: float = 1.0
    observed: bool = True
    further: float = 0.0


def rows_of(rows: Sequence[Row]) -> Rows:
    return Rows(
        labels_B=torch.tensor([float(row.label) for row in rows], dtype=torch.float64),
        observed_B=torch.tensor([row.observed for row in rows], dtype=torch.bool),
        requests_B=torch.tensor([row.request for row in rows], dtype=torch.int64),
        weight_B=torch.tensor([row.weight for row in rows], dtype=torch.float32),
    )


def logits_of(term: ListConfig, rows: Sequence[Row], dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf, (B, L)."""
    both = torch.tensor([[row.logit, row.further] for row in rows], dtype=dtype).reshape(-1, 2)
    return both[:, : 1 + term.num_further_logits].clone().requires_grad_()


def mean(term: ListConfig, logits_BL: Tensor, rows: Rows) -> Tensor:
    """What a step takes of the shares."""
    learns_B = term.learns(rows)
    total = (learns_B * rows.weight_B).sum()
    return masked_mean(term.loss(logits_BL, rows), learns_B, rows.weight_B, total)


def gradient(term: ListConfig, rows: Sequence[Row]) -> Tensor:
    """Of ``mean``, (B, L)."""
    logits_BL = logits_of(term, rows)
    mean(term, logits_BL, rows_of(rows)).backward()
    assert logits_BL.grad is not None
    return logits_BL.grad


# The slow version: the share of row ``at`` in the others of its list, or None where it has none.

Share = Callable[[Sequence[Row], Row], float | None]


def _log_share(list_: Sequence[Row], own: Row, score: Callable[[Row], float]) -> float:
    total = sum(row.weight * score(row) for row in list_)
    return -math.log(own.weight * score(own) / total)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def _listnet(list_: Sequence[Row], own: Row) -> float | None:
    return _log_share(list_, own, lambda row: math.exp(row.logit)) if own.label else None


def _rcr(list_: Sequence[Row], own: Row) -> float | None:
    return _log_share(list_, own, lambda row: _sigmoid(row.logit)) if own.label else None


def _ranknet(list_: Sequence[Row], own: Row) -> float | None:
    negatives = [row for row in list_ if not row.label]
    if not own.label or not negatives:
        return None
    pairs = [row.weight * -math.log(_sigmoid(own.logit - row.logit)) for row in negatives]
    return sum(pairs) / sum(row.weight for row in negatives)


def _jrc(list_: Sequence[Row], own: Row) -> float | None:
    if len({row.label for row in list_}) < 2:
        return None
    sign = 1 if own.label else -1
    return _log_share(list_, own, lambda row: math.exp((row.further + sign * row.logit) / 2))


SHARES: Mapping[str, Share] = {"jrc": _jrc, "listnet": _listnet, "ranknet": _ranknet, "rcr": _rcr}


def slow_shares(kind: str, rows: Sequence[Row]) -> Iterator[float | None]:
    for own in rows:
        counts = own.observed and own.request != -1 and own.weight > 0
        list_ = [
            row for row in rows if row.observed and row.request == own.request and row.weight > 0
        ]
        yield SHARES[kind](list_, own) if counts else None


def slow_mean(kind: str, rows: Sequence[Row]) -> float:
    shares = [
        (share, row.weight)
        for row, share in zip(rows, slow_shares(kind, rows), strict=True)
        if share is not None
    ]
    return sum(share * weight for share, weight in shares) / sum(weight for _, weight in shares)


def term(kind: str, **settings: Any) -> ListConfig:
    return parse(LISTS[kind], settings)
