"""What is made for a version stays as long as it may be asked, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyrank.bundle import save_bundle
from polyrank.scoring import Scorer
from polyrank.serving import rankers as module
from polyrank.serving.models import Catalog, Served
from polyrank.serving.rankers import Rankers
from tests import feeds


def served(path: Path) -> Served:
    save_bundle(feeds.bundle(), path)
    with Catalog({"feed": path}) as catalog:
        return catalog.take("feed")


def test_what_was_admitted_is_kept_until_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first request to a version that waits for another to be tried makes it all anew,
    while all others wait."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    old, new, never = (served(tmp_path / name) for name in ("old", "new", "never"))
    there: set[Scorer] = {old.scorer}
    rankers = Rankers({}, linger=0.0, told=lambda *_: None, scorers=lambda: there)
    rankers.of(old)
    for each in (new, never):
        rankers.admit(each)
    made = rankers.of(new)
    rankers.of(old)
    assert len(rankers.counts()) == 3
    assert rankers.of(new) is made
    there |= {new.scorer}
    rankers.of(new)
    there -= {new.scorer}
    rankers.of(old)
    assert len(rankers.counts()) == 2
    monkeypatch.setattr(module, "monotonic", lambda: float("inf"))
    rankers.of(old)
    assert len(rankers.counts()) == 1
