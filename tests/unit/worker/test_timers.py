"""What an event loop keeps of timers that were cancelled."""

from __future__ import annotations

from kombu.asynchronous import Hub

from celerykit.worker import timers


def test_a_cancelled_timer_is_let_go_and_the_others_fire_in_order() -> None:
    """The loop, which is at work on the list meanwhile, goes on with what is left."""
    hub, fired = Hub(), list[int]()
    for number in range(1000):
        hub.timer.call_after(3600, fired.append, (number,)).cancel()
    for number in (3, 1, 2):
        hub.timer.call_after(number / 100, fired.append, (number,))
    hub.timer.call_after(0.005, timers.sweep, (hub.timer,))
    hub.timer.call_after(0.05, hub.stop)
    loop = hub.create_loop()
    lengths = []
    while len(fired) < 3:
        next(loop)
        lengths.append(len(hub.timer))
    assert fired == [1, 2, 3]
    assert lengths[0] > 1000
    assert lengths[-1] <= 2
