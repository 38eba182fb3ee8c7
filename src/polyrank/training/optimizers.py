"""The two optimizers of a run: AdamW on the dense parameters, a row-wise one on the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyrank.config import TrainingConfig
from polyrank.errors import ArtefactError
from polyrank.layers import pieces
from polyrank.model import RankingModel
from polyrank.training.owned import Cut, shares_of, task_of
from polyrank.training.rowwise import RowwiseAdagrad, RowwiseAdam
from polyrank.training.schedule import Schedule

Array = NDArray[np.generic]

_TABLE_OPTIMIZERS = {"rowwise_adagrad": RowwiseAdagrad, "rowwise_adam": RowwiseAdam}


class Optimizers:
    """Both, with the learning rates of a step and a state that a checkpoint carries.

    A parameter without a gradient (the tower of a task that the batch has no label of) is left
    alone, its moments included; one that needs none is not among them. Weight decay acts on
    parameters of two or more dimensions. What a task owns alone goes the share of each step that
    ``training.tasks`` gives it, embedding tables included; ``training.clippy`` bounds the step of
    dense layers after that.

    Attributes:
        schedule: Of the learning rates.
        dense: The strided parameters, by name.
        tables: The embedding tables, whose gradients are sparse, by name.
    """

    def __init__(self, model: RankingModel, config: TrainingConfig, schedule: Schedule) -> None:
        in_tables = {id(parameter) for table in model.tables() for parameter in table.parameters()}
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.dense: dict[str, nn.Parameter] = {}
        self.tables: dict[str, nn.Parameter] = {}
        for name, parameter in named.items():
            (self.tables if id(parameter) in in_tables else self.dense)[name] = parameter
        matrices = [p for p in self.dense.values() if p.ndim >= 2]
        vectors = [p for p in self.dense.values() if p.ndim < 2]
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,
        )
        build = _TABLE_OPTIMIZERS[config.table_optimizer]
        self._rowwise = build(
            self._by_task(model, config.tasks),
            lr=config.table_learning_rate,
            weight_decay=config.table_weight_decay,
        )
        self._choices = config.tasks
        self._cut = Cut(model, self.dense, config.tasks, config.clippy)
        self._peaks = config.learning_rate, config.table_learning_rate
        self.schedule = schedule

    def rates(self, step: int) -> tuple[float, float]:
        """The learning rates of a step: of the dense parameters and of the tables."""
        dense, table = self._peaks
        return dense * self.schedule.dense(step), table * self.schedule.table(step)

    @torch.no_grad()
    def update(self, step: int, stopped: Collection[str] = ()) -> None:
        """Move the parameters along their gradients, at the rates of ``step``.

        Args:
            step: From 0.
            stopped: Tasks of ``training.tasks`` that are frozen: what they own alone stays.
        """
        dense, table = self.rates(step)
        shares = shares_of(self._choices, step, stopped)
        for group in self._adamw.param_groups:
            group["lr"] = dense
        for group in self._rowwise.param_groups:
            group["lr"] = table * shares.get(group["task"], 1.0)
        with self._cut.around(shares):
            self._adamw.step()
        self._rowwise.step()

    @torch.no_grad()
    def scales(self, step: int, squares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``update`` would multiply each element of a gradient by, momentum, weight decay and
        shares of tasks left out; nothing is remembered.

        Args:
            step: From 0.
            squares: By name, what the second moments would take in, for a gradient its square: of a
                table sparse and coalesced.

        Returns:
            By name, what broadcasts over the gradient: of a table (U, 1) over its U rows.
        """
        dense, table = self.rates(step)
        found = {}
        for name, square in squares.items():
            if name in self.tables:
                group = {**self._rowwise.defaults, "lr": table}
                found[name] = self._rowwise.scale(self.tables[name], square, group)
            else:
                found[name] = self._adamw_scale(self.dense[name], square, dense)
        return found

    def _adamw_scale(self, parameter: Tensor, square: Tensor, rate: float) -> Tensor:
        """lr / (sqrt(v^) + eps), v^ after ``square`` (Kingma and Ba, ICLR 2015, algorithm 1)."""
        (_, decay), eps = self._adamw.defaults["betas"], self._adamw.defaults["eps"]
        state = self._adamw.state.get(parameter, {})
        moment = (1.0 - decay) * square
        if state:
            moment += decay * state["exp_avg_sq"]
        count = 1.0 + float(state.get("step", 0.0))
        scale: Tensor = rate / moment.div_(1.0 - decay**count).sqrt_().add_(eps)
        return scale

    def clear_gradients(self) -> None:
        """Forget all gradients."""
        for parameter in (*self.dense.values(), *self.tables.values()):
            parameter.grad = None

    def state(self) -> dict[str, Array]:
        """The moments and counters, by parameter and name; views, not copies, on the CPU."""
        return {
            f"{name}/{key}": value.detach().cpu().numpy()
            for name, entry in self._entries()
            for key, value in entry.items()
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave; the arrays are copied.

        Raises:
            ArtefactError: A parameter that this run does not have.
        """
        for optimizer in (self._adamw, self._rowwise):
            optimizer.state.clear()
        for address, array in arrays.items():
            name, _, key = address.rpartition("/")
            optimizer, parameter = self._find(name)
            value = torch.from_numpy(array).clone().to(parameter.device)
            optimizer.state[parameter][key] = value

    def _by_task(self, model: RankingModel, tasks: Collection[str]) -> list[dict[str, Any]]:
        """The tables in groups: those of one of ``tasks`` alone under its name, others under ""."""
        groups: dict[str, list[nn.Parameter]] = {"": []}
        for name, table in self.tables.items():
            (piece,) = pieces(model, model.owners, {name: table})
            groups.setdefault(task_of(piece, tasks) or "", []).append(table)
        return [{"params": tables, "task": task} for task, tables in groups.items()]

    def _entries(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for optimizer, named in ((self._adamw, self.dense), (self._rowwise, self.tables)):
            for name, parameter in named.items():
                yield name, optimizer.state.get(parameter, {})

    def _find(self, name: str) -> tuple[torch.optim.Optimizer, nn.Parameter]:
        if name in self.dense:
            return self._adamw, self.dense[name]
        if name in self.tables:
            return self._rowwise, self.tables[name]
        raise ArtefactError(
            f"it has optimizer state of {name!r}, which is no parameter of this run",
            where="optimizers.safetensors",
            hint="Resume with the configuration that the run began with.",
        )
