"""A ranking request, from its JSON to its answer.

>>> from polyrank.serving.ranking import parse
>>> ask = parse(b'{"user": {"id": 7}, "candidates": [3, {"id": 4, "features": {"age": 2}}]}')
>>> ask.user, ask.items, ask.item_features, ask.given
(7, [3, 4], {'age': [None, 2]}, {'age': [False, True]})
"""

from polyrank.serving.ranking.answer import answer_of
from polyrank.serving.ranking.ask import MAX_CANDIDATES, Ask, Id, parse
from polyrank.serving.ranking.batcher import Batcher, Pass
from polyrank.serving.ranking.ranker import (
    ModelRanker,
    Predicted,
    PredictedRows,
    Ranked,
    refusals,
    timed,
)
from polyrank.serving.ranking.tables import Provider, TableMaker, Tables, Wanting

__all__ = [
    "MAX_CANDIDATES",
    "Ask",
    "Batcher",
    "Id",
    "ModelRanker",
    "Pass",
    "Predicted",
    "PredictedRows",
    "Provider",
    "Ranked",
    "TableMaker",
    "Tables",
    "Wanting",
    "answer_of",
    "parse",
    "refusals",
    "timed",
]
