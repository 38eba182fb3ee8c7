"""The arithmetic of the forward pass: bf16 autocast where the hardware multiplies it, else fp32.

Parameters, tables, gradients, losses and optimizers are fp32 in both cases; evaluation runs in
fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls products of bf16 in hardware, on x86-64 and on ARM."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What was chosen, and why."""

    name: Literal["bf16", "fp32"]
    reason: str

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of the forward pass; none for fp32."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(
    wanted: Literal["auto", "bf16", "fp32"],
    device: torch.device,
    *,
    fast: Callable[[torch.device], str | None] | None = None,
) -> Precision:
    """The precision of a run.

    Args:
        wanted: The configuration's; ``bf16`` is taken at its word even where it is slow.
        device: Where the network runs.
        fast: What multiplies bf16 in hardware there, or None; asks the hardware if left out.
    """
    if wanted == "fp32":
        return Precision(name="fp32", reason="as configured")
    unit = (fast or bf16_unit)(device)
    if wanted == "bf16":
        known = f"multiplied by {unit}" if unit else "slow: no unit for bf16 was found"
        return Precision(name="bf16", reason=f"as configured; {known}")
    if unit is None:
        return Precision(name="fp32", reason=f"no unit for bf16 was found on this {device.type}")
    return Precision(name="bf16", reason=f"multiplied in hardware by {unit}")


def bf16_unit(device: torch.device) -> str | None:
    """What multiplies bf16 in hardware on ``device``; None if nothing is known to."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.cuda.get_device_name(device) if fast else None
    return cpu_unit(Path("/proc/cpuinfo"))


def cpu_unit(cpuinfo: Path) -> str | None:
    """The first bf16 flag in Linux's description of the processor; None elsewhere."""
    if not cpuinfo.exists():
        return None
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, flags = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return min(_FLAGS.intersection(flags.split()), default=None)
    return None
