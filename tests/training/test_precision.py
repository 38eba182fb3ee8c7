"""The precision of the forward pass and the device, chosen from what the machine says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from polyrank.errors import ConfigError
from polyrank.training.distributed import choose_device, join_processes
from polyrank.training.precision import bf16_unit, choose_precision, cpu_unit
from polyrank.training.processes import Processes

CPU = torch.device("cpu")


def test_auto_takes_bf16_where_a_unit_multiplies_it_and_says_which() -> None:
    chosen = choose_precision("auto", CPU, fast=lambda device: "avx512_bf16")
    assert chosen.name == "bf16"
    assert "avx512_bf16" in chosen.reason
    with chosen.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_auto_takes_fp32_where_none_is_known() -> None:
    chosen = choose_precision("auto", CPU, fast=lambda device: None)
    assert chosen.name == "fp32"
    assert "cpu" in chosen.reason
    with chosen.autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_what_is_configured_is_taken_at_its_word() -> None:
    assert choose_precision("fp32", CPU, fast=lambda device: "amx_bf16").name == "fp32"
    slow = choose_precision("bf16", CPU, fast=lambda device: None)
    assert slow.name == "bf16"
    assert "slow" in slow.reason
    assert "amx_bf16" in choose_precision("bf16", CPU, fast=lambda device: "amx_bf16").reason


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16\n", "amx_bf16"),
        ("flags\t\t: fpu avx512f avx512_bf16\n", "avx512_bf16"),
        ("flags\t\t: fpu avx2\n", None),
        ("Features\t: fp asimd bf16 i8mm\n", "bf16"),
        ("model name : has avx512_bf16 in its name\nflags : sse\n", None),
        ("", None),
    ],
)
def test_the_processor_is_asked_by_its_flags(tmp_path: Path, text: str, unit: str | None) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert cpu_unit(cpuinfo) == unit


def test_a_machine_without_cpuinfo_has_no_known_unit(tmp_path: Path) -> None:
    assert cpu_unit(tmp_path / "missing") is None


def test_the_answer_for_this_processor_agrees_with_torch() -> None:
    known = torch.cpu.get_capabilities()
    assert (bf16_unit(CPU) is not None) == (
        bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16"))
    )


def test_auto_takes_the_gpu_only_where_there_is_one() -> None:
    chosen = choose_device("auto", {})
    assert chosen.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu", {"LOCAL_RANK": "3"}) == CPU


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="torch sees"):
        choose_device("cuda", {"LOCAL_RANK": "99"})


def test_one_process_alone_sums_and_gathers_nothing() -> None:
    processes = join_processes(CPU, {"WORLD_SIZE": "1"})
    assert type(processes) is Processes
    values = torch.ones(2)
    assert processes.sum(values) is values
    assert processes.gather(values) == [values]
    assert processes.first_does(lambda: 3) == 3
    assert processes.first
    processes.sum_gradients([], [])


def test_a_half_set_torchrun_is_refused() -> None:
    with pytest.raises(ConfigError, match="RANK must be a number, got None"):
        join_processes(CPU, {"WORLD_SIZE": "2"})
    with pytest.raises(ConfigError, match="WORLD_SIZE must be a number, got 'two'"):
        join_processes(CPU, {"WORLD_SIZE": "two"})
