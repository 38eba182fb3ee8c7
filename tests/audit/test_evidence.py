"""All evidence of one run, through JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from polyrank.audit.evidence import Evidence, gather
from polyrank.audit.jobs import predict
from polyrank.audit.probe import EvidenceProbe, read_log
from polyrank.training import train
from polyrank.training.validation import Truth
from tests.training.runs import SCHEMA, config, prepared, table


def test_one_run_tells_all(tmp_path: Path) -> None:
    log = prepared(tmp_path / "log", table(200, 0), table(300, 1))
    run = config(batch_size=100, epochs=1)
    model = train(run, log, tmp_path / "run", probe=EvidenceProbe(every=1)).model
    found = predict(model, log.validation, SCHEMA.task_names)
    rows_NT = np.stack([found[task].astype(np.float64) for task in SCHEMA.task_names], axis=1)
    seen = Truth.of(log.validation, SCHEMA).beside(rows_NT)
    records = read_log(tmp_path / "run")
    evidence = gather(model, run, log, "validation", seen, records)
    assert evidence.affinity.looks == 2
    assert evidence.gradients.layer.reason is None
    assert set(evidence.gates.gates) == set(SCHEMA.task_names)
    assert set(evidence.labels.counts) == {"train", "validation"}
    assert evidence.reliability["click"].after is not None
    assert evidence.reliability["watch"].after is None
    through = json.loads(json.dumps(evidence.to_json(), allow_nan=False))
    assert Evidence.from_json(through) == evidence
    unseen = gather(model, run, log, "validation", seen)
    assert unseen.affinity.reason is not None
    assert unseen.gates == evidence.gates
