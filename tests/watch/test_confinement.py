"""What a forked child does to locks, queues, pipes and files of the script: nothing, and it is not kept waiting."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from traindx.watch.probes.making import Child

PROMPTLY = 4.0  # seconds; a child that waits is ended after eight


def told(look: Callable[[], list[Any] | None], *, apart: bool) -> list[Any] | None:
    child = Child.started(torch, look, apart=apart)
    assert child is not None
    begun = time.monotonic()
    answer = child.answer()
    assert time.monotonic() - begun < PROMPTLY
    return answer


apart_or_not = pytest.mark.parametrize("apart", [True, False], ids=["apart", "with files"])


@apart_or_not
def test_a_lock_that_a_child_does_not_give_back(apart: bool) -> None:
    lock, places = multiprocessing.Lock(), multiprocessing.BoundedSemaphore(2)

    def look() -> list[Any]:
        places.acquire()
        with lock:
            return [places.acquire(), places.acquire(timeout=0.1)]

    assert told(look, apart=apart) == [True, False]  # as they are in any process
    assert all(places.acquire(timeout=5) for _ in range(2))
    assert lock.acquire(timeout=5)


@apart_or_not
@pytest.mark.parametrize("used", [True, False], ids=["with a thread that feeds it", "never used"])
def test_a_queue_that_a_child_fills(apart: bool, used: bool) -> None:
    lines: multiprocessing.Queue[int] = multiprocessing.Queue(3)
    if used:
        lines.put(1)
        assert lines.get(timeout=5) == 1

    def look() -> list[Any]:
        for number in range(10):
            lines.put(number)
        return [1]

    assert told(look, apart=apart) == [1]
    for number in range(3):
        lines.put(10 + number, timeout=5)
    assert [lines.get(timeout=5) for _ in range(3)] == [10, 11, 12]


@apart_or_not
def test_what_lies_in_a_queue_or_a_pipe_stays_there(apart: bool) -> None:
    lines: multiprocessing.SimpleQueue[int] = multiprocessing.SimpleQueue()
    lines.put(7)
    reading, writing = os.pipe()
    os.write(writing, b"kept")
    assert told(lambda: [lines.get()], apart=apart) is None  # refused
    assert told(lambda: [os.read(reading, 4).decode()], apart=apart) == [""]
    os.write(writing, b"!")
    assert (lines.get(), os.read(reading, 5)) == (7, b"kept!")


@apart_or_not
def test_a_file_that_is_open_for_writing(apart: bool, tmp_path: Path) -> None:
    with open(tmp_path / "log", "w+", encoding="utf-8") as log:
        log.write("epoch 1\n")
        log.flush()

        def look() -> list[Any]:
            log.write("epoch 2\n")
            log.flush()
            return [1]

        assert told(look, apart=apart) == [1]
        assert (tmp_path / "log").read_text() == "epoch 1\n"
        assert log.tell() == len("epoch 1\n")


def test_a_file_that_is_open_for_reading_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("scan")
    with open(tmp_path / "data", "rb", buffering=0) as data:
        assert told(lambda: [data.read(4).decode()], apart=False) == ["scan"]
        assert data.read(4) == b"scan"


@apart_or_not
def test_a_queue_of_threads_that_nobody_empties(apart: bool) -> None:
    events: queue.Queue[int] = queue.Queue(2)

    def look() -> list[Any]:
        for number in range(5):
            events.put(number)
        return [events.qsize()]

    assert told(look, apart=apart) == [2]
    assert events.empty()
