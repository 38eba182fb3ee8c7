"""A block's tensors, cut into named pieces that do not depend on the order of the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrank.sharing import Sharing


def pieces(block: Sharing, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of ``tensors``, which are named as the block's state, by path and <owner>."""
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path, names = _place(block, key)
        if not names or tensor.ndim == 0:
            found[path] = tensor
            continue
        assert tensor.numel() % len(names) == 0, f"{key}: {len(names)} equal parts do not fit"
        for name, part in zip(names, tensor.view(len(names), -1), strict=True):
            assert f"{path}<{name}>" not in found, f"{path}: {name} owns two parts"
            found[f"{path}<{name}>"] = part
    return found


def _place(block: Sharing, key: str) -> tuple[str, Sequence[str]]:
    """The key with owners for places in lists, and the names of the parts of its tensor."""
    steps = key.split(".")
    names: Sequence[str] = ()
    for path in sorted(block.owners, key=len):
        depth = path.count(".") + 1
        if key.split(".")[:depth] != path.split("."):
            continue
        at = block.get_submodule(path) if len(steps) > depth else None
        if isinstance(at, nn.ModuleList | nn.ParameterList):
            assert len(at) == len(block.owners[path]), f"{path}: a name for each child"
            steps[depth] = f"<{block.owners[path][int(steps[depth])]}>"
        else:
            names = block.owners[path]
    return ".".join(steps), names


def move(source: Sharing, target: Sharing) -> None:
    """Give every piece of ``target`` the values of the piece of the same name."""
    values = pieces(source, source.state_dict())
    slots = pieces(target, target.state_dict())
    assert set(values) == set(slots)
    with torch.no_grad():
        for name, slot in slots.items():
            slot.copy_(values[name])


def owner(piece: str, tasks: Sequence[str]) -> str | None:
    """The task that alone uses a piece."""
    for marked in piece.split("<")[1:]:
        first = marked.partition(">")[0].partition(" ")[0]
        if first in tasks:
            return first
    return None
