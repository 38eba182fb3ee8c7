"""Every architecture shows its gates, experts and gradients, or says why it has none.

Shapes: B rows, E experts, H width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyrank.audit.gates import GateEvidence, gate_evidence, hsic, jensen_shannon
from polyrank.audit.probe import EvidenceProbe, read_log, run_evidence
from polyrank.model import RankingModel
from polyrank.sharing import SHARINGS, MMoE
from polyrank.training import Prepared, train
from tests.contract.test_sharings_contract import CASES, config_of, kind_of
from tests.training.runs import SCHEMA, config, prepared, table

TASKS = SCHEMA.task_names
PAIRS = {"click/like", "click/watch", "like/watch"}
WITHOUT_GATES = {"cross_stitch", "pepnet", "shared_bottom", "single_task", "snr"}
WITHOUT_EXPERTS = WITHOUT_GATES - {"cross_stitch", "snr"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(tmp_path_factory.mktemp("log"), table(100, 0), table(300, 1))


def network(kind: str) -> dict[str, Any]:
    case = next(case for case in CASES if kind_of(case, TASKS) == kind)
    sharing = config_of(case, TASKS).model_dump(mode="json")
    if kind == "pepnet":
        sharing |= {"domain": ["item"], "priors": ["user"]}
    return {"embedding_dim": 4, "sharing": sharing, "towers": {"widths": [8]}}


@pytest.mark.parametrize("kind", sorted(SHARINGS))
def test_every_architecture_gives_evidence_or_says_why_not(
    log: Prepared, tmp_path: Path, kind: str
) -> None:
    run = config(batch_size=50, epochs=1, model=network(kind))
    model = train(run, log, tmp_path, probe=EvidenceProbe(every=2)).model
    affinity, gradients = run_evidence(TASKS, read_log(tmp_path))
    reasons = affinity.reason, gradients.fork.reason, gradients.layer.reason
    if kind == "single_task":
        assert None not in reasons
    else:
        assert reasons == (None, None, None)
        # Groups share nothing with one another, but for the table.
        assert set(gradients.layer.pairs) == ({"click/like"} if kind == "groups" else PAIRS)
        means = [mean.value for row in affinity.means.values() for mean in row.values()]
        assert all(math.isfinite(math.nan if value is None else value) for value in means)
        assert all((affinity.means[task][task].value or 0.0) > 0 for task in TASKS)
    shown = gate_evidence(model, run.model.sharing, log.validation, rows=256)
    assert shown.rows == 256
    assert (shown.no_gates is not None) == (kind in WITHOUT_GATES) == (not shown.gates)
    assert (shown.no_banks is not None) == (kind in WITHOUT_EXPERTS) == (not shown.banks)
    for gate in shown.gates.values():
        assert sum(gate.mean) == pytest.approx(1.0, rel=1e-5)
        assert len(set(gate.experts)) == len(gate.mean)
        assert 1 - 1e-6 <= gate.effective <= gate.effective_overall + 1e-6 <= len(gate.mean) + 2e-6
    assert set(shown.divergences) == (set() if kind in WITHOUT_GATES | {"omoe"} else PAIRS)
    assert all(0 <= value <= 1 + 1e-9 for value in shown.divergences.values())
    for bank in shown.banks.values():
        matrix = np.array(bank.similarity, dtype=float)
        assert matrix.shape == (len(bank.experts),) * 2
        alive = ~np.isnan(matrix.diagonal())
        assert matrix.diagonal()[alive] == pytest.approx(1.0)
    assert GateEvidence.from_json(shown.to_json()) == shown


def moe(log: Prepared, experts: int = 3) -> RankingModel:
    sharing = {"kind": "mmoe", "num_experts": experts, "widths": [8]}
    run = config(model={"sharing": sharing, "towers": {"widths": [8]}})
    return RankingModel(SCHEMA, log.encoders.layout, run.model, seed=0)


def test_the_numbers_are_those_of_the_rows(log: Prepared) -> None:
    model = moe(log)
    found = gate_evidence(model, MMoE(), log.validation, rows=10_000)
    assert found.rows == 300  # there are no more
    assert model.training
    with torch.no_grad():
        (batch,) = log.validation.whole()
        shared = model.eval()(batch).shared
    p_BE, q_BE = (shared.gates[task].double().numpy() for task in ("click", "watch"))
    gate = found.gates["click"]
    assert gate.mean == pytest.approx(p_BE.mean(0), rel=1e-5)
    entropy = -(p_BE * np.log(p_BE)).sum(1).mean()
    assert gate.entropy == pytest.approx(entropy, rel=1e-5)
    assert gate.effective == pytest.approx(math.exp(entropy), rel=1e-5)
    middle_BE = (p_BE + q_BE) / 2
    divergence = (
        (p_BE * np.log2(p_BE / middle_BE)).sum(1) + (q_BE * np.log2(q_BE / middle_BE)).sum(1)
    ).mean() / 2
    assert found.divergences["click/watch"] == pytest.approx(divergence, rel=1e-4)


def test_gates_that_collapsed_and_experts_that_died_are_named(log: Prepared) -> None:
    model = moe(log)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "biases" in name:
                parameter[-8:] = -1e6  # the last expert gives 0 for every row
            if name.startswith("sharing.gates."):
                parameter.zero_()
    found = gate_evidence(model, MMoE(num_experts=3), log.validation)
    assert found.gates["like"].effective == pytest.approx(3.0)
    assert found.divergences == pytest.approx(dict.fromkeys(PAIRS, 0.0), abs=1e-9)
    (message,) = found.findings
    assert message.startswith("100.0% of what 'expert 2' gives is zero: ")
    row = found.banks["experts"].similarity
    assert [value is None for value in row[2]] == [True, True, True]
    assert row[0][2] is None
    assert row[0][0] == pytest.approx(1.0)


def test_divergence_by_hand() -> None:
    p_BG = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    assert jensen_shannon(p_BG, p_BG) == 0.0
    assert jensen_shannon(p_BG[:1], p_BG[:1].flip(1)) == pytest.approx(1.0)
    # (1, 0) against (.5, .5): H(.75, .25) - H(.5, .5) / 2 bits.
    assert jensen_shannon(p_BG[:1], p_BG[1:]) == pytest.approx(0.8112781244591328 - 0.5)


def test_similarity_knows_rotation_scale_and_independence() -> None:
    torch.manual_seed(0)
    own_BH = torch.randn(256, 6, dtype=torch.float64)
    turn_HH = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    other_BH = torch.randn(256, 6, dtype=torch.float64)
    bank_BEH = torch.stack([own_BH, 7 * own_BH @ turn_HH + 3, other_BH], dim=1)
    kernel_EE = hsic(bank_BEH)
    own_E = kernel_EE.diagonal().sqrt()
    cka_EE = kernel_EE / torch.outer(own_E, own_E)
    assert float(cka_EE[0, 1]) == pytest.approx(1.0)
    assert abs(float(cka_EE[0, 2])) < 0.03
    # By its definition: the mean over ordered quadruples of different rows.
    few_B = bank_BEH[:7, :, :2]
    kernel, other = few_B[:, 0] @ few_B[:, 0].T, few_B[:, 2] @ few_B[:, 2].T
    total, count = 0.0, 0
    rows = range(7)
    for i in rows:
        for j in rows:
            for q in rows:
                for r in rows:
                    if len({i, j, q, r}) == 4:
                        count += 1
                        pairs = other[i, j] + other[q, r] - 2 * other[i, q]
                        total += float(kernel[i, j] * pairs)
    assert float(hsic(few_B)[0, 2]) == pytest.approx(total / count)
    assert not hsic(bank_BEH[:3]).any()


def test_a_log_of_few_rows_has_no_similarity(log: Prepared, tmp_path: Path) -> None:
    small = prepared(tmp_path, table(50, 0), pa.Table.from_batches(table(3, 1).to_batches()))
    found = gate_evidence(moe(small), MMoE(), small.validation)
    assert found.rows == 3
    assert found.banks["experts"].similarity[0] == (None, None, None)
