"""ESCM²: the counterfactual risk of conversions, beside the entire-space loss.

Shapes: B rows, P parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional as F

from polyrank.data import Batch
from polyrank.heads.base import NO_EXTRAS, Extras, Head
from polyrank.heads.funnels.base import FunnelConfig, Logits, Objective, Output, Part
from polyrank.heads.funnels.masked import MaskedObjective
from polyrank.heads.funnels.space import Space, of_logits, require_inner
from polyrank.schema import Schema


class ESCM2Objective(Objective):
    """The towers of masked training and, if doubly robust, one that imputes errors a task."""

    def __init__(self, heads: Mapping[str, Head], space: Space, config: ESCM2) -> None:
        super().__init__()
        space.require_logits(heads)
        self._space, self._floor = space, config.propensity_floor
        self._robust = config.estimator == "dr"
        self._plain = MaskedObjective(heads)
        imputed = space.inner if self._robust else ()
        self.outputs = (
            *self._plain.outputs,
            *(_imputation(task, heads[task]) for task in imputed),
        )
        weights = {"risk": config.risk_weight, "joint": config.joint_weight}
        if self._robust:
            weights["imputation"] = config.risk_weight
        self.parts = (
            *(part for part in self._plain.parts if part.task not in space.inner),
            *(
                Part(name=f"{task}.{what}", task=task, weight=weight)
                for task in space.inner
                for what, weight in weights.items()
            ),
        )

    def masks(self, batch: Batch) -> Tensor:
        """Where each label was observed; of a task within others, where its joint is known."""
        assert batch.observed_BT is not None, "training batches carry masks"
        known = {task: self._space.joint_labels(batch, task)[1] for task in self._space.inner}
        columns = [
            known[part.task]
            if part.task in known
            else batch.observed_BT[:, self._space.places[part.task]]
            for part in self.parts
        ]
        return torch.stack(columns, 1)

    def losses(self, logits: Logits, batch: Batch, parts: Collection[str]) -> dict[str, Tensor]:
        """Each head's own; of a task within others, risk, joint and imputation."""
        losses = self._plain.losses(logits, batch, parts)
        for task in self._space.inner:
            if f"{task}.joint" in parts:  # its parts have the same rows
                losses |= self._inner(logits, batch, task)
        return losses

    def predict(self, logits: Logits, extras: Extras = NO_EXTRAS) -> dict[str, Tensor]:
        """Each head's own: P(task | what it lies within)."""
        return self._plain.predict(logits, extras)

    def _inner(self, logits: Logits, batch: Batch, task: str) -> dict[str, Tensor]:
        assert batch.observed_BT is not None, "training batches carry masks"
        reached_B, _ = self._space.joint_labels(batch, task)
        exposed_B = batch.observed_BT[:, self._space.places[task]]
        error_B = of_logits(logits[task]).cross_entropy(reached_B)
        odds_B = self._inverse_propensity(logits, task)
        losses = {f"{task}.joint": self._space.joint(logits, task).cross_entropy(reached_B)}
        if not self._robust:
            losses[f"{task}.risk"] = torch.where(exposed_B, error_B * odds_B, 0.0)
            return losses
        imputed_B = F.softplus(logits[f"{task}.imputation"][:, 0].float())
        residual_B = torch.where(exposed_B, (error_B - imputed_B) * odds_B, 0.0)
        square_B = (error_B.detach() - imputed_B).square() * odds_B
        losses[f"{task}.risk"] = imputed_B + residual_B
        losses[f"{task}.imputation"] = torch.where(exposed_B, square_B, 0.0)
        return losses

    def _inverse_propensity(self, logits: Logits, task: str) -> Tensor:
        """(B,) without a gradient: 1 / P(all that the task lies within are 1)."""
        propensity_B = self._space.joint(logits, self._space.parent(task)).yes.detach().exp()
        return 1 / propensity_B.clamp(min=self._floor)


def _imputation(task: str, head: Head) -> Output:
    """Starts at the error of the training rate: its entropy."""
    rate = of_logits(head.initial_logits()[None])
    entropy = -(rate.yes.exp() * rate.yes + rate.no.exp() * rate.no)
    return Output(
        name=f"{task}.imputation",
        task=task,
        num_logits=1,
        initial_logits=entropy.expm1().log(),
    )


class ESCM2(FunnelConfig):
    """Counterfactual risk of conversions (Wang et al., ESCM², SIGIR 2022).

    L = L_CTR + λ_c L_CVR + λ_g L_CTCVR, for each binary task within others. With o = 1 where all
    that it lies within are 1, ô = max(their predicted probability, ``propensity_floor``) without a
    gradient, and e the cross-entropy of its label, over the entire space:

    - ``ips``: L_CVR = mean(o e / ô);
    - ``dr``: L_CVR = mean(ê + o (e - ê) / ô) + mean(o (e - ê)² / ô), ê = softplus of the logit of a
      tower "<task>.imputation". The squares train ê alone, e is held fixed in them: the errors
      shall not be moved to where they are easy to impute. ê is no function of the conversion's
      tower, so that tower's own gradient is that of ``ips``; robustness reaches it only through
      what the towers share.

    L_CTCVR is ESMM's. A row that reached the task's space without its label observed is in no mean.
    With ``risk_weight`` 0 this is ESMM. Tasks that are not binary stay on their own sample space.
    """

    kind: Literal["escm2"] = "escm2"
    estimator: Literal["ips", "dr"] = "ips"
    """Inverse propensity, or doubly robust."""
    risk_weight: NonNegativeFloat = 0.1
    """λ_c: of L_CVR."""
    joint_weight: NonNegativeFloat = 1.0
    """λ_g: of L_CTCVR."""
    propensity_floor: Annotated[float, Field(gt=0, le=1)] = 0.05
    """No row weighs more than 1 over this."""

    def check(self, schema: Schema) -> None:
        """Refuse a schema without a binary task within another."""
        require_inner(schema, self.kind)

    def needs_logits(self, schema: Schema) -> tuple[str, ...]:
        """All tasks of chains."""
        return Space.of(schema).members

    def build(self, schema: Schema, heads: Mapping[str, Head]) -> ESCM2Objective:
        """The objective."""
        return ESCM2Objective(heads, Space.of(schema), self)
