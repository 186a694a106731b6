"""Which iterations are watched, what the evidence costs on disk, and what a tensor's statistics cost in memory."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from traindx.evidence import Evidence
from traindx.evidence.base import NotExamined
from traindx.evidence.observed import IterationsSeen
from traindx.watch.runtime.schedule import Bursts, ObservationLevel, Schedule
from traindx.watch.runtime.sink import Sink, compact
from traindx.watch.runtime.stats import sample, thin, value_range


def watched(count: int, **settings) -> list[int]:
    schedule = Schedule(**settings)
    return [i for i in range(count) if schedule.level(i) is not ObservationLevel.OFF]


def test_dense_first_then_geometric():
    chosen = watched(100_000)
    assert chosen[:5] == [0, 1, 2, 3, 4]
    gaps = [b / a for a, b in pairwise(chosen[10:])]
    assert all(1.0 < gap < 2.6 for gap in gaps)
    assert len(chosen) <= 5 + math.log(100_000 / 5) / math.log(1.3) + 12  # the full ones come on top


def test_cost_per_iteration_falls_to_nothing():
    shares = [len(watched(count)) / count for count in (100, 1_000, 10_000, 100_000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 1e-3


def test_the_first_iteration_and_few_others_are_watched_in_full():
    schedule = Schedule()
    full = [i for i in range(10_000) if schedule.level(i) is ObservationLevel.FULL]
    assert full[:2] == [0, 2]
    assert all(b >= 2 * a for a, b in pairwise(full[1:]))


@given(st.integers(1, 200))
def test_constant_rate(every):
    chosen = watched(1000, every=every)
    assert chosen == list(range(0, 1000, every))


def test_bursts_are_counted_by_place():
    bursts = Bursts(dense=3, ratio=2.0)
    first = [i for i in range(100) if bursts.wanted("here")]
    assert first[:3] == [0, 1, 2]
    assert len(first) <= 3 + math.log2(100)
    assert bursts.wanted("there")


def test_evidence_file_stays_below_its_limit(tmp_path):
    sink = Sink(tmp_path, max_mb=0.02)
    for step in range(5000):
        sink.event(NotExamined(subject=f"event {step}", reason="x" * 100, step=step))
    sink.snapshot([IterationsSeen(iterations=5000, watched=20)])  # summaries are always written
    sink.close()
    assert sink.full
    size = (tmp_path / "evidence.jsonl").stat().st_size
    assert size < 0.02e6 + 1000
    compact(tmp_path)
    assert Evidence.load(tmp_path).of(IterationsSeen)[0].iterations == 5000


def test_only_the_last_complete_snapshot_is_kept(tmp_path):
    sink = Sink(tmp_path)
    sink.event(NotExamined(subject="kept", reason="an event"))
    for count in (2, 16, 64):
        sink.snapshot([IterationsSeen(iterations=count, watched=1)])
    with (tmp_path / "evidence.jsonl").open("a") as log:  # killed in the middle of the fourth
        record = IterationsSeen(iterations=256, watched=1, snapshot=4)
        log.write(json.dumps({"kind": record.kind, **record.model_dump(mode="json", exclude_defaults=True)}) + "\n")
        log.write('{"kind": "Iterat')
    compact(tmp_path)
    evidence = Evidence.load(tmp_path)
    assert [record.iterations for record in evidence.of(IterationsSeen)] == [64]
    assert [record.subject for record in evidence.of(NotExamined)] == ["kept"]


def test_a_forked_child_writes_nothing(tmp_path):
    import os

    sink = Sink(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            sink.event(NotExamined(subject="from the child", reason=""))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    sink.close()
    assert (tmp_path / "evidence.jsonl").read_text() == ""


@pytest.mark.parametrize("shape", [(1 << 20,), (64, 128, 128), (3, 5, 7)])
def test_samples_are_small_whatever_the_tensor(shape):
    tensor = torch.randn(shape)
    taken = sample(tensor)
    assert taken.numel() <= max(2 * 4096, min(tensor.numel(), 4096))
    assert taken.dtype is torch.float32


def test_samples_do_not_copy_strided_tensors():
    """A view of a large tensor with a zero stride has as many elements and no memory: a copy would need 4 GB."""
    huge = torch.zeros(1).expand(1 << 30)
    assert sample(huge).numel() <= 8192
    assert sample(huge.view(1 << 15, 1 << 15).t()).numel() <= 8192


def test_samples_consume_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    value_range(torch.arange(1e5))
    assert torch.equal(before, torch.get_rng_state())


def test_range_against_numpy():
    tensor = torch.randn(4000)
    seen = value_range(tensor)
    low, high = np.percentile(tensor.numpy(), (1, 99))
    assert seen.low == pytest.approx(low)
    assert seen.high == pytest.approx(high)
    assert (seen.least, seen.greatest) == (float(tensor.min()), float(tensor.max()))


def test_few_whole_numbers_are_listed_with_their_shares():
    labels = torch.tensor([0.0, 0.0, 0.0, 255.0])
    seen = value_range(labels)
    assert seen.values == (0.0, 255.0)
    assert seen.shares == (0.75, 0.25)


@given(st.lists(st.integers(), min_size=1, max_size=300), st.integers(2, 64))
def test_thinning_keeps_both_ends(values, most):
    kept = thin(values, most)
    assert len(kept) <= max(most, 1)
    assert (kept[0], kept[-1]) == (values[0], values[-1])
