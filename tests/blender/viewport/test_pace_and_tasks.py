# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is drawn while the view moves, and the thread behind it. No Blender needed."""

from __future__ import annotations

import threading

import pytest

from exgs_blender.blender.viewport.pace import FEWEST, STEP, Pace
from exgs_blender.blender.viewport.sorter import LatestTasks


def test_pace_draws_all_until_it_knows_better() -> None:
    assert Pace().budget(123_456) == 123_456


def test_pace_settles_on_what_fits_into_a_frame() -> None:
    pace = Pace(seconds=0.04)
    for _ in range(20):
        pace.measured(1_000_000, 0.4)
    assert pace.budget(5_000_000) == pytest.approx(100_000, rel=STEP - 1)
    for _ in range(40):
        pace.measured(100_000, 0.004)
    assert pace.budget(5_000_000) == pytest.approx(1_000_000, rel=STEP - 1)
    assert pace.budget(700_000) == 700_000, "the user's limit holds"


def test_pace_does_not_follow_every_frame() -> None:
    pace = Pace(seconds=0.04)
    pace.measured(1_000_000, 0.4)
    before = pace.budget(10**7)
    pace.measured(1_000_000, 0.45)
    assert pace.budget(10**7) == before


def test_pace_never_shows_nothing() -> None:
    pace = Pace()
    pace.measured(1_000_000, 1000.0)
    assert pace.budget(10**7) == FEWEST


def test_only_the_latest_task_of_a_name_runs() -> None:
    tasks, ran, gate = LatestTasks(), [], threading.Event()
    try:
        tasks.submit("busy", lambda: gate.wait(10))
        while not tasks.pending("busy") or tasks._waiting:
            pass
        for number in range(5):
            tasks.submit("order", lambda number=number: ran.append(number) or number)
        tasks.submit("other", lambda: "other")
        assert tasks.busy
        gate.set()
        assert tasks.wait(10)
        assert ran == [4]
        assert (tasks.take("order"), tasks.take("order"), tasks.take("other")) == (4, None, "other")
    finally:
        tasks.close()


def test_a_task_that_fails_stops_nothing() -> None:
    tasks = LatestTasks()
    try:
        tasks.submit("bad", lambda: 1 // 0)
        tasks.submit("good", lambda: 7)
        assert tasks.wait(10)
        assert (tasks.take("bad"), tasks.take("good")) == (None, 7)
    finally:
        tasks.close()


def test_closing_ends_the_thread_and_it_can_start_again() -> None:
    tasks = LatestTasks()
    tasks.submit("a", lambda: 1)
    assert tasks.wait(10)
    tasks.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "exgs-viewport"]
    assert tasks.take("a") is None
    tasks.submit("b", lambda: 2)
    assert tasks.wait(10)
    assert tasks.take("b") == 2
    tasks.close()
