"""A second stage of a training is watched as closely as the first."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from traindx.watch.runtime.schedule import LEAST_STAGE, MOST_STAGES, ObservationLevel, Schedule
from watch.inside import watching


def levels(schedule: Schedule, begin: int, count: int) -> list[ObservationLevel]:
    return [schedule.level(begin + number) for number in range(count)]


def test_a_new_stage_is_watched_like_a_new_training() -> None:
    schedule = Schedule()
    first = levels(schedule, 0, 300)
    schedule.new_stage(300)
    assert levels(schedule, 300, 300) == first


def test_an_optimiser_a_sample_begins_no_stage() -> None:
    schedule, plain = Schedule(), Schedule()
    assert levels(schedule, 0, LEAST_STAGE - 1) == levels(plain, 0, LEAST_STAGE - 1)
    schedule.new_stage(LEAST_STAGE - 1)
    assert levels(schedule, LEAST_STAGE - 1, 200) == levels(plain, LEAST_STAGE - 1, 200)


def test_stages_without_end_are_watched_at_last_as_one() -> None:
    schedule = Schedule()
    seen = 0
    for stage in range(50):
        schedule.new_stage(30 * stage)
        seen += sum(level is not ObservationLevel.OFF for level in levels(schedule, 30 * stage, 30))
    alone = sum(level is not ObservationLevel.OFF for level in levels(Schedule(), 0, 1500))
    assert seen <= MOST_STAGES * alone


def test_the_next_optimiser_of_a_script_begins_a_stage(tmp_path: Path) -> None:
    watched = []
    with watching(tmp_path) as watch:
        for _ in range(2):
            net = nn.Linear(4, 1)
            optimizer = torch.optim.SGD(net.parameters(), 0.1)
            before = watch.watched
            for _ in range(60):
                net(torch.randn(3, 4)).mean().backward()
                optimizer.step()
            watched.append(watch.watched - before)
            del optimizer
    assert watched[1] >= watched[0] - 1  # the first of a stage was begun before its optimiser was known
