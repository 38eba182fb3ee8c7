"""``polyrank serve`` as a process of its own, and what it refuses before it listens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from polyrank.bundle import save_bundle
from polyrank.cli import main
from polyrank.cli.serve import still_at_work
from polyrank.serving.models.shadowing import Background
from tests import feeds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "feed"
    save_bundle(feeds.bundle(joined=True), path)
    return path


def test_it_serves_until_sigterm_and_ends_well(bundle: Path, tmp_path: Path) -> None:
    """F9."""
    settings = tmp_path / "serve.yaml"
    settings.write_text(
        f"models: {{shop: {bundle}}}\nport: 0\nlimits: {{grace_seconds: 0, drain_seconds: 5}}\n"
        f"predictions: {{folder: {tmp_path / 'log'}, features: all}}\n"
    )
    words = [sys.executable, "-m", "polyrank", "serve", "--settings", str(settings)]
    environment = {**os.environ, "POLYRANK_ADMIN_TOKEN": "0123456789abcdef"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        answer = httpx.post(f"{url}/v1/rank", json={"candidates": [1, 2]}, timeout=60)
        assert [each["id"] for each in answer.json()["candidates"]] != []
        assert answer.json()["model"] == "shop"
        headers = {"authorization": "Bearer 0123456789abcdef"}
        status = httpx.get(f"{url}/v1/models/shop/status", headers=headers, timeout=60)
        assert status.status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        lines = process.stderr.read().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert told[0]["route"] == "/v1/rank"
    assert len(list((tmp_path / "log" / "shop").glob("*.parquet"))) == 1


def test_a_comparison_that_goes_on_does_not_abort_the_process_at_its_end() -> None:
    """It did in two of four ends while a second version was compared: exit code -6."""
    over = threading.Event()

    def compare() -> None:
        over.wait(20)

    background = Background(1, lambda _: None)
    background.offer(compare)
    assert still_at_work()
    over.set()
    background.close()
    deadline = time.monotonic() + 20
    while still_at_work():
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no model is to be served"),
        (["a={bundle}", "a={bundle}"], "two models are called 'a'"),
        (["runs/lr=0.1/bundle"], "runs/lr=0.1/bundle: 'lr=0.1' cannot be a model's name"),
        (["./lr=1/no_such"], "lr=1/no_such: is no folder"),
        (["no-such-folder"], "is no folder"),
        (["a=b=c", "--port", "70000"], "port"),
        (["{bundle}", "--features", "users=redis://x"], "declares no side table 'users'"),
        (["{bundle}", "--features", "items=what.txt"], "must be `memory`"),
        (["a={bundle}", "b={bundle}", "--features", "items=memory"], "which model's table"),
        (["{bundle}", "--admin-token", "{short}"], "at least 16"),
        (["{bundle}", "--admin-token", "no-such-file"], "cannot be read"),
        (["{bundle}", "--port", "{busy}"], "is taken"),
        ([".bundle={bundle}"], "a name must hold no"),
    ],
)
def test_what_cannot_be_served_is_refused_first(
    bundle: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """F10."""
    (tmp_path / "short").write_text("secret\n")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        known = {"bundle": bundle, "short": tmp_path / "short", "busy": busy.getsockname()[1]}
        given = [word.format(**known) for word in words]
        port = [] if "--port" in given else ["--port", "0"]
        assert main(["serve", *given, *port]) in (2, 6)
    said = capsys.readouterr().err
    assert told in said
    assert "secret" not in said
