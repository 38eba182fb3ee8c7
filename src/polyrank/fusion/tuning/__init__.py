"""The search for weights of a value model: objectives, guardrails, front, knee and champion.

>>> import numpy as np
>>> from polyrank.evaluation import Observations
>>> from polyrank.fusion import Candidates, WeightedSum
>>> from polyrank.fusion.tuning import NDCG, CEM, Hold, Replayed, Settings, Task, search, told
>>> from polyrank.schema import Binary, Keys, Numeric, Schema
>>> rng = np.random.default_rng(0)
>>> taste_N2 = rng.random((4000, 2))  # what brings a click, and a like
>>> probs = {"click": 0.3 * taste_N2[:, 0], "like": 0.2 * taste_N2[:, 1]}
>>> schema = Schema(
...     features=[Numeric(name="x")],
...     tasks=[Binary(name="click"), Binary(name="like")],
...     keys=Keys(request="request"),
... )
>>> request_N = np.arange(4000) // 10
>>> log = Replayed(
...     schema=schema,
...     rows=Observations(
...         predictions=probs,
...         labels={task: (rng.random(4000) < prob).astype(float) for task, prob in probs.items()},
...         masks={task: np.ones(4000, dtype=bool) for task in probs},
...         groups={"request": request_N},
...     ),
...     candidates=Candidates(predictions=probs, request_N=request_N),
...     on="4,000 simulated rows",
... )
>>> settings = Settings(
...     objectives=[NDCG(task="click"), NDCG(task="like")],
...     guardrails=[Hold(of=NDCG(task="click"), at_least=0.95)],
...     search=CEM(trials=300),
... )
>>> task = Task(
...     log=log,
...     model=WeightedSum(terms={"click": 1.0, "like": 1.5}),
...     demotion=None,
...     today_N=probs["click"],  # ranked by clicks alone until now
...     today_weights={"click": 1.0, "like": 0.0},
...     settings=settings,
...     bundle="",
... )
>>> found = told(search(task))
>>> found.champion.feasible, found.champion.objectives[1] > found.today.objectives[1]
(True, True)
>>> found.guardrails[0].name
"ndcg@10 of click at least 95% of today's"
"""

from polyrank.fusion.tuning.goals import Goals
from polyrank.fusion.tuning.objectives import (
    GAUC,
    NDCG,
    OBJECTIVES,
    AnyObjective,
    Objective,
    Value,
    WeightedRecall,
)
from polyrank.fusion.tuning.pareto import front_of, hypervolume, knee_of
from polyrank.fusion.tuning.replayed import Replayed, outcome
from polyrank.fusion.tuning.report import check_later, told
from polyrank.fusion.tuning.result import Later, Point, Trial, Tuned
from polyrank.fusion.tuning.searches import CEM, NSGA2, SEARCHES, TPE, AnySearch, Random, Search
from polyrank.fusion.tuning.settings import Hold, Range, Settings
from polyrank.fusion.tuning.tune import Searched, Task, search

__all__ = [
    "CEM",
    "GAUC",
    "NDCG",
    "NSGA2",
    "OBJECTIVES",
    "SEARCHES",
    "TPE",
    "AnyObjective",
    "AnySearch",
    "Goals",
    "Hold",
    "Later",
    "Objective",
    "Point",
    "Random",
    "Range",
    "Replayed",
    "Search",
    "Searched",
    "Settings",
    "Task",
    "Trial",
    "Tuned",
    "Value",
    "WeightedRecall",
    "check_later",
    "front_of",
    "hypervolume",
    "knee_of",
    "outcome",
    "search",
    "told",
]
