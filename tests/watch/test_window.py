"""When a window is full: after its iterations and its least time, and never after its greatest time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import Sink
from traindx.watch.runtime.watch import Watch


@pytest.mark.parametrize(
    ("iterations", "seconds", "full"),
    [(299, 60.0, False), (300, 19.0, False), (300, 20.0, True), (5000, 19.0, False), (10, 120.0, True)],
)
def test_a_short_training_is_watched_for_its_least_time(
    iterations: int, seconds: float, full: bool, tmp_path: Path
) -> None:
    watch = Watch(torch, Settings("test", steps=300, least_seconds=20.0, seconds=120.0), Sink(tmp_path))
    watch.iteration, watch.started = iterations, 1000.0
    assert watch._window_is_full(1000.0 + seconds) is full


def test_iterations_that_were_asked_for_are_the_whole_window(tmp_path: Path) -> None:
    watch = Watch(torch, Settings("test", steps=5, seconds=120.0), Sink(tmp_path))
    watch.iteration, watch.started = 5, 1000.0
    assert watch._window_is_full(1000.1)
