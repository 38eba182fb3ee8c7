"""A/B experiments over users: effects, intervals for one look or for every look, verdicts.

>>> import numpy as np
>>> from polyrank.evaluation.ab import Arm, Guardrail, Primary, analyse
>>> rng = np.random.default_rng(0)
>>> def arm(lift: float) -> Arm:
...     before = rng.exponential(10.0, 2_000)
...     return Arm(
...         numerators={
...             "watch": before * rng.uniform(0.8, 1.2, 2_000) + lift,
...             "clicks": rng.poisson(3.0, 2_000),
...         },
...         denominators={"clicks": rng.integers(5, 20, 2_000)},
...         covariates={"watch": before},
...     )
>>> result = analyse(
...     arm(0.0),
...     arm(0.2),
...     primary=Primary(metric="watch"),
...     guardrails=[Guardrail(metric="clicks", margin=0.1)],
...     planned_users=4_000,
... )
>>> result.primary.answer, result.guardrails[0].answer, result.launch
('better', 'pass', True)
>>> watch = result.effects["watch"]
>>> watch.difference.always.lower < 0.2 < watch.difference.always.upper
True
>>> watch.variance_reduction > 0.9
True
"""

from polyrank.evaluation.ab.arm import Arm
from polyrank.evaluation.ab.effect import Effect
from polyrank.evaluation.ab.estimate import Estimate, Interval
from polyrank.evaluation.ab.experiment import Experiment, analyse
from polyrank.evaluation.ab.holm import holm
from polyrank.evaluation.ab.sample_ratio import SampleRatio, sample_ratio
from polyrank.evaluation.ab.verdicts import (
    Guardrail,
    GuardrailVerdict,
    Primary,
    PrimaryVerdict,
)

__all__ = [
    "Arm",
    "Effect",
    "Estimate",
    "Experiment",
    "Guardrail",
    "GuardrailVerdict",
    "Interval",
    "Primary",
    "PrimaryVerdict",
    "SampleRatio",
    "analyse",
    "holm",
    "sample_ratio",
]
