"""Tensors cut into pieces with names, so that a task's own can be told from all others.

>>> import torch
>>> from polyrank.layers import Gates
>>> gates = Gates(4, ("click", "like"), 3)
>>> cut = pieces(gates, {"": ("click", "like")}, gates.state_dict())
>>> {name: tuple(piece.shape) for name, piece in cut.items()}
{'weight<click>': (12,), 'weight<like>': (12,)}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

Owners = Mapping[str, Sequence[str]]
"""By path of a module or parameter, the names of its parts; see ``Sharing.owners``."""


def pieces(module: nn.Module, owners: Owners, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of ``tensors`` under names that hold names where a path holds places.

    The children of a list that has owners go by their names: ``towers.<click>.weight``. The parts
    of a tensor are flat and equally long: ``gates.weight<click>``. A tensor without owners is one
    piece, as it is.

    Args:
        module: What the paths lead through.
        owners: By path; the empty one is the module itself.
        tensors: By path, such as its state: parameters, buffers or anything shaped like them.
    """
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path, names = _place(module, owners, key)
        if not names or tensor.ndim == 0:
            found[path] = tensor
            continue
        assert tensor.numel() % len(names) == 0, f"{key}: {len(names)} equal parts do not fit"
        for name, part in zip(names, tensor.view(len(names), -1).unbind(0), strict=True):
            assert f"{path}<{name}>" not in found, f"{path}: {name} owns two parts"
            found[f"{path}<{name}>"] = part
    return found


def _place(module: nn.Module, owners: Owners, key: str) -> tuple[str, Sequence[str]]:
    """The key with names for places in lists, and the names of the parts of its tensor."""
    steps = key.split(".")
    named = list(steps)
    names: Sequence[str] = ()
    for path in sorted(owners, key=len):
        at = path.split(".") if path else []
        if steps[: len(at)] != at:
            continue
        inside = module.get_submodule(path) if len(steps) > len(at) else None
        if isinstance(inside, nn.ModuleList | nn.ParameterList):
            assert len(inside) == len(owners[path]), f"{path}: a name for each child"
            named[len(at)] = f"<{owners[path][int(steps[len(at)])]}>"
        else:
            names = owners[path]
    return ".".join(named), names
