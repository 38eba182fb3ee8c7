"""New nodes of an exported graph."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Graph, Node


class Nodes:
    """Makes nodes where the graph inserts, each with what it gives on tensors without values."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def again(self, node: Node, swap: dict[Node, Node]) -> Node:
        """The operation of a node on others."""
        args = torch.fx.node.map_arg(node.args, lambda own: swap.get(own, own))
        kwargs = torch.fx.node.map_arg(node.kwargs, lambda own: swap.get(own, own))
        return self.emit(node.target, *args, **kwargs)

    def emit(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A new node, with what it gives on tensors without values."""
        node = self._graph.call_function(target, args, kwargs)
        values = torch.fx.node.map_arg((args, kwargs), lambda own: own.meta["val"])
        mode = torch._guards.detect_fake_mode(values)
        assert mode is not None, "exported programs carry tensors without values"
        with mode:
            node.meta["val"] = target(*values[0], **values[1])
        return node
