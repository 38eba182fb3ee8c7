"""A run that starts from a trained model whose schema it extends.

A further task is one more tower, one more loss and what else the architecture gives a task; all
that the parent has under the same meaning is taken over by the names of its tasks.

- ``parent``: what a run starts from.
- ``differences``: what a configuration may not say differently.
- ``transplant``: the parent's weights in the new network.
- ``frozen``: what does not move with ``training.freeze``.
"""

from polyrank.training.extension.differences import extend_config
from polyrank.training.extension.frozen import Frozen
from polyrank.training.extension.parent import Parent
from polyrank.training.extension.transplant import transplant

__all__ = ["Frozen", "Parent", "extend_config", "transplant"]
