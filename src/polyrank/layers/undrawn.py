"""Building a network for its shapes alone, or for values that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = (
    *(nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_, nn.init.kaiming_normal_),
    *(Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_),
)


class Undrawn(TorchFunctionMode):
    """Leaves tensors without data (on the device ``meta``) as they are.

    To draw their values is most of the work of building a network, and torch imports its compiler,
    more than a second of it, to find out what such a draw does.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The tensor as it is, or what the function gives."""
        kwargs = kwargs or {}
        if func in _DRAWS:
            tensor = (*args, *kwargs.values())[0]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
