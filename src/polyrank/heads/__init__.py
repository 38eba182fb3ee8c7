"""One file a kind of task: its loss on logits and its prediction in the user's unit.

>>> import torch
>>> from polyrank.data.layout import TargetStats
>>> from polyrank.heads import build_head
>>> from polyrank.schema import Binary
>>> head = build_head(Binary(name="click"), TargetStats(mean=0.2, std=0.4, count=1000))
>>> round(head.predict(head.initial_logits()[None]).item(), 3)
0.2
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from polyrank.data.layout import TargetStats
from polyrank.heads.base import NO_EXTRAS, Extras, Head, HeadConfig, masked_mean
from polyrank.heads.bias import (
    BIASES,
    AnyBias,
    BiasConfig,
    BiasObjective,
    bias_faults,
    build_towers,
)
from polyrank.heads.binary import BinaryHead, CrossEntropy
from polyrank.heads.cread import CREAD, CREADHead
from polyrank.heads.d2q import D2Q, D2QHead
from polyrank.heads.delay import (
    DELAYS,
    AnyDelay,
    DelayConfig,
    DelayObjective,
    build_corrections,
    delay_faults,
)
from polyrank.heads.duration import DurationHead, Log1p
from polyrank.heads.funnels import FUNNELS, AnyFunnel, FunnelConfig, Masked, Objective, Output, Part
from polyrank.heads.lists import LISTS, AnyList, ListConfig, ListObjective, list_faults
from polyrank.heads.log_normal import LogNormal, LogNormalHead
from polyrank.heads.mse import MSE, MSEHead
from polyrank.heads.multiclass import Softmax, SoftmaxHead
from polyrank.heads.ordinal import Cumulative, CumulativeHead
from polyrank.heads.quantile import Quantile, QuantileHead
from polyrank.heads.regression import Huber, RegressionHead
from polyrank.heads.tpm import TPM, TPMHead
from polyrank.heads.tweedie import Tweedie, TweedieHead
from polyrank.heads.wlr import WLR, WLRHead
from polyrank.heads.ziln import ZILN, ZILNHead
from polyrank.schema import Task

AnyHead = Annotated[
    CrossEntropy
    | Huber
    | MSE
    | Quantile
    | Tweedie
    | ZILN
    | Log1p
    | LogNormal
    | WLR
    | Cumulative
    | Softmax
    | D2Q
    | TPM
    | CREAD,
    Field(discriminator="kind"),
]

HEADS: Mapping[str, type[HeadConfig]] = MappingProxyType(
    {
        "cross_entropy": CrossEntropy,
        "huber": Huber,
        "mse": MSE,
        "quantile": Quantile,
        "tweedie": Tweedie,
        "ziln": ZILN,
        "log1p": Log1p,
        "log_normal": LogNormal,
        "wlr": WLR,
        "cumulative": Cumulative,
        "softmax": Softmax,
        "d2q": D2Q,
        "tpm": TPM,
        "cread": CREAD,
    }
)
"""By ``kind``."""

DEFAULT_HEADS: Mapping[str, HeadConfig] = MappingProxyType(
    {
        "binary": CrossEntropy(),
        "regression": Huber(),
        "duration": Log1p(),
        "ordinal": Cumulative(),
        "multiclass": Softmax(),
    }
)
"""By kind of task: what stands on a task whose head is not named."""


def build_head(task: Task, stats: TargetStats, config: HeadConfig | None = None) -> Head:
    """The head of ``task``, given what the training split shows of its label."""
    chosen: HeadConfig = config or DEFAULT_HEADS[task.kind]
    return chosen.build(task, stats)


__all__ = [
    "BIASES",
    "CREAD",
    "D2Q",
    "DEFAULT_HEADS",
    "DELAYS",
    "FUNNELS",
    "HEADS",
    "LISTS",
    "MSE",
    "NO_EXTRAS",
    "TPM",
    "WLR",
    "ZILN",
    "AnyBias",
    "AnyDelay",
    "AnyFunnel",
    "AnyHead",
    "AnyList",
    "BiasConfig",
    "BiasObjective",
    "BinaryHead",
    "CREADHead",
    "CrossEntropy",
    "Cumulative",
    "CumulativeHead",
    "D2QHead",
    "DelayConfig",
    "DelayObjective",
    "DurationHead",
    "Extras",
    "FunnelConfig",
    "Head",
    "HeadConfig",
    "Huber",
    "ListConfig",
    "ListObjective",
    "Log1p",
    "LogNormal",
    "LogNormalHead",
    "MSEHead",
    "Masked",
    "Objective",
    "Output",
    "Part",
    "Quantile",
    "QuantileHead",
    "RegressionHead",
    "Softmax",
    "SoftmaxHead",
    "TPMHead",
    "Tweedie",
    "TweedieHead",
    "WLRHead",
    "ZILNHead",
    "bias_faults",
    "build_corrections",
    "build_head",
    "build_towers",
    "delay_faults",
    "list_faults",
    "masked_mean",
]
