"""The slots by which a worker hands jobs to its pool."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kombu.asynchronous.semaphore import LaxBoundedSemaphore

from celerykit.worker import resizing

STEPS = st.lists(st.sampled_from(["job", "job", "end", "grow", "shrink"]), max_size=60)


@given(st.integers(1, 5), STEPS)
def test_no_more_jobs_begin_than_there_are_slots(size: int, steps: list[str]) -> None:
    """However it grows and shrinks while jobs come and end, and none that has a slot waits."""
    slots, running, waiting = LaxBoundedSemaphore(size), [0], [0]

    def begin() -> None:
        running[0] += 1
        waiting[0] -= 1

    for step in steps:
        before = running[0]
        if step == "job":
            waiting[0] += 1
            slots.acquire(begin)
        elif step == "end" and running[0]:
            running[0] -= 1
            slots.release()
        elif step == "grow":
            size += 1
            resizing._add_slot(slots)
        elif step == "shrink" and size > 1:
            size -= 1
            resizing._take_slot(slots)
        assert running[0] <= max(size, before)
    while running[0]:
        running[0] -= 1
        slots.release()
    assert not waiting[0]
    for _ in range(size + 3):
        slots.acquire(begin)
    assert running[0] == size
