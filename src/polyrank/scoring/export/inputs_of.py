"""What a bundle's network reads."""

from __future__ import annotations

from polyrank.bundle import Bundle
from polyrank.scoring.export.network import Inputs


def inputs_of(bundle: Bundle) -> Inputs:
    """The tensors of its layout, with the lengths that its heads read."""
    heads = bundle.model_config.heads
    timed = [
        task for task in bundle.schema.task_names if task in heads and heads[task].reads_length
    ]
    return Inputs(bundle.model.layout, timed)
