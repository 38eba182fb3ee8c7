"""Policies rank, simulated users answer, and come back the next day or not.

>>> from polyrank.simulation import Feed, FeedConfig
>>> from polyrank.simulation.experiment import (
...     Experiment,
...     ExperimentConfig,
...     RandomPolicy,
...     SatisfactionOracle,
...     compare,
... )
>>> world = Feed(FeedConfig(seed=7, num_users=500, num_items=200)).world
>>> experiment = Experiment(world, ExperimentConfig(days=3))
>>> course = experiment.run({"random": RandomPolicy(), "oracle": SatisfactionOracle()})
>>> found = compare(course, "random", "oracle")
>>> found.primary.metric, found.primary.answer
('returns', 'better')
>>> found.effects["quick_exits"].difference.fixed.upper < 0
True
"""

from polyrank.simulation.experiment.claims import Claim, story
from polyrank.simulation.experiment.comparison import GUARDRAILS, METRICS, PRIMARY, arm_of, compare
from polyrank.simulation.experiment.config import (
    ExperimentConfig,
    ReturnConfig,
    SimulationConfig,
)
from polyrank.simulation.experiment.course import Course, Experiment
from polyrank.simulation.experiment.findings import Findings, find
from polyrank.simulation.experiment.offer import Offer
from polyrank.simulation.experiment.policies import (
    BundlePolicy,
    LoggingPolicy,
    Policy,
    RandomPolicy,
    ReturnOracle,
    SatisfactionOracle,
)
from polyrank.simulation.experiment.ready import (
    ARMS,
    observed_log,
    ready_arms,
    train_ranker,
)

__all__ = [
    "ARMS",
    "GUARDRAILS",
    "METRICS",
    "PRIMARY",
    "BundlePolicy",
    "Claim",
    "Course",
    "Experiment",
    "ExperimentConfig",
    "Findings",
    "LoggingPolicy",
    "Offer",
    "Policy",
    "RandomPolicy",
    "ReturnConfig",
    "ReturnOracle",
    "SatisfactionOracle",
    "SimulationConfig",
    "arm_of",
    "compare",
    "find",
    "observed_log",
    "ready_arms",
    "story",
    "train_ranker",
]
