"""One file a way to learn from labels that arrive late, by binary task with a ``maturity``.

Without one, rows younger than the window are masked: unbiased, and blind to what is new.

>>> from polyrank.heads.delay import DELAYS
>>> DELAYS["es_dfm"](wait=0.05).auxiliary_weight
1.0
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from polyrank.data import Layout
from polyrank.heads.base import Head
from polyrank.heads.binary import BinaryHead
from polyrank.heads.delay.base import Correction, DelayConfig, Stream, Times
from polyrank.heads.delay.es_dfm import ESDFM
from polyrank.heads.delay.faults import delay_faults
from polyrank.heads.delay.fnw import FNW
from polyrank.heads.delay.naive import Naive
from polyrank.heads.delay.objective import DelayObjective
from polyrank.schema import Binary, Schema

AnyDelay = Annotated[ESDFM | FNW | Naive, Field(discriminator="kind")]

DELAYS: Mapping[str, type[DelayConfig]] = MappingProxyType(
    {"es_dfm": ESDFM, "fnw": FNW, "naive": Naive}
)
"""By ``kind``."""


def build_corrections(
    delay: Mapping[str, DelayConfig], schema: Schema, heads: Mapping[str, Head], layout: Layout
) -> dict[str, Correction]:
    """The corrections by task.

    Raises:
        ConfigError: The training rows do not cover enough time.
    """
    corrections = {}
    for name, config in delay.items():
        task: Any = schema.task(name)
        head = heads[name]
        assert isinstance(task, Binary), f"{name} is refused when the configuration is read"
        assert isinstance(head, BinaryHead), f"{name} is refused when the configuration is read"
        corrections[name] = config.build(task, head, layout.targets[name])
    return corrections


__all__ = [
    "DELAYS",
    "ESDFM",
    "FNW",
    "AnyDelay",
    "Correction",
    "DelayConfig",
    "DelayObjective",
    "Naive",
    "Stream",
    "Times",
    "build_corrections",
    "delay_faults",
]
