"""The breaker against a plain reading of its rules, and one probe among many threads."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from polyrank.serving.features.breaker import Breaker

LIMIT, COOLDOWN = 3, 1.0


@given(
    st.lists(
        st.sampled_from(["good", "bad", "unsure", "wait", "wait long"]), min_size=1, max_size=60
    )
)
def test_one_caller_after_the_other(events: list[str]) -> None:
    now = 0.0
    breaker = Breaker(LIMIT, COOLDOWN, lambda: now)
    bad, since = 0, -9.0
    for event in events:
        if event.startswith("wait"):
            now += 0.25 if event == "wait" else 1.0
            continue
        admitted = breaker.admits()
        assert admitted == (bad < LIMIT or now - since >= COOLDOWN)
        if not admitted:
            continue
        if event == "good":
            breaker.succeeded()
            bad = 0
        elif event == "bad":
            breaker.failed()
            bad, since = bad + 1, now
        else:
            breaker.undecided()
    assert (breaker.state == "closed") == (bad < LIMIT)


def test_of_many_threads_one_tries_a_store_again() -> None:
    now = 0.0
    breaker = Breaker(1, COOLDOWN, lambda: now)
    breaker.failed()
    now = 2.0
    admitted: list[bool] = []
    threads = [
        threading.Thread(target=lambda: admitted.append(breaker.admits())) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 1
    breaker.undecided()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()


def test_a_late_failure_does_not_keep_it_open() -> None:
    now = 0.0
    breaker = Breaker(1, COOLDOWN, lambda: now)
    assert breaker.admits()
    assert breaker.admits()
    breaker.failed()
    now = 0.9
    breaker.failed()
    now = 1.0
    assert breaker.admits()
