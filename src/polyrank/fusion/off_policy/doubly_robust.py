"""A reward model, corrected by what was logged."""

from __future__ import annotations

from typing import Literal

from polyrank.errors import ConfigError
from polyrank.fusion.off_policy.base import Estimator
from polyrank.fusion.off_policy.logged import WHERE, Logged
from polyrank.fusion.off_policy.mean import Mean


class DoublyRobust(Estimator):
    """mean of model_target + importance x (reward - model) (Dudík et al., ICML 2011, equation 1).

    Unbiased where propensities are right, whatever the model, as long as it was fitted on other
    rows than these; the better the model, the less noise. With a model of 0 it is ``IPS``.
    """

    kind: Literal["dr"] = "dr"

    def _mean(self, logged: Logged) -> Mean:
        if logged.model_N is None or logged.model_target_N is None:
            raise ConfigError(
                "needs the predictions of a reward model",
                where=f"{WHERE}: dr",
                hint="Give `model_N` and `model_target_N`, or use `snips`.",
            )
        residual_N = logged.reward_N - logged.model_N
        return Mean.of(logged, logged.model_target_N + logged.importance_N * residual_N)
