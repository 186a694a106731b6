"""Distributed training over two processes: rank 0 is watched, the ranks are compared, and all end together."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from traindx.evidence.observed import Ending, IterationsSeen, NetworkCalls, RankDifference
from traindx.evidence.observed_loss import LossTermSeen
from traindx.host.ranks_compared import compare, not_compared
from traindx.watch.collectors.ranks import python_target

SPAWN = """
    import os, sys
    import torch
    import torch.distributed as dist
    import torch.multiprocessing as mp
    import torch.nn.functional as F
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel as DDP
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    FAULT = sys.argv[1]

    def train(rank, world):
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "@PORT@")
        dist.init_process_group("gloo", rank=rank, world_size=world)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        net = DDP(model, broadcast_buffers=FAULT != "buffers")
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        data = TensorDataset(torch.randn(128, 6), torch.randn(128, 1))
        sampler = None if FAULT == "sampler" else DistributedSampler(data)
        loader = DataLoader(data, batch_size=8, sampler=sampler)
        for epoch in range(EPOCHS):
            if sampler is not None:
                sampler.set_epoch(epoch)
            for x, y in loader:
                called = net.module if FAULT == "past" else net
                loss = F.mse_loss(called(x), y) + 1e-3 * model[0].weight.square().sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if FAULT == "weights":
                    with torch.no_grad():
                        model[3].weight.add_(0.01 * rank)
                if FAULT == "crash" and rank == 1:
                    raise RuntimeError("lost the mount")
        dist.destroy_process_group()

    if __name__ == "__main__":
        if "RANK" in os.environ:
            train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        else:
            mp.start_processes(train, args=(2,), nprocs=2, start_method="fork" if FAULT == "past" else "spawn")
        print("after the training")
"""


def source(epochs: int = 2) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return SPAWN.replace("@PORT@", str(port)).replace("EPOCHS", str(epochs))


@pytest.mark.slow
def test_healthy_ranks_are_compared_and_rank_0_is_watched(watch):
    seen = watch(source(), "none", steps=0, seconds=0.0)
    assert seen.run.ending is Ending.FINISHED
    assert seen.diagnosis.errors == ()
    assert seen.one(IterationsSeen).iterations == 16
    assert {call.phase for call in seen.of(NetworkCalls)} == {"training"}
    assert len(seen.of(LossTermSeen)) == 2
    assert "C1106" not in seen.codes
    assert b"after the training" in seen.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("sampler", "same batch"),
        ("weights", "different networks"),
        ("buffers", "broadcast"),
        ("past", "2 ranks train 2 networks"),
    ],
)
def test_faulty_ranks(watch, fault, word):
    seen = watch(source(), fault, steps=0, seconds=0.0)
    assert seen.diagnosis.errors == ()
    (finding,) = [found for found in seen.diagnosis.findings if found.code == "C1106"]
    assert word in finding.message
    assert finding.location is not None
    assert (
        "loss = F.mse_loss(called(x), y)"
        in (seen.folder / "train.py").read_text().splitlines()[finding.location.line - 1]
    )


@pytest.mark.slow
def test_all_ranks_end_with_the_window(watch):
    seen = watch(source(epochs=10_000), "none", steps=10)
    assert seen.run.ending is Ending.STOPPED
    assert seen.run.signals == ()
    assert seen.run.orphans == 0
    assert seen.diagnosis.errors == ()
    assert 10 <= seen.one(IterationsSeen).iterations <= 12
    assert b"after the training" not in seen.stdout


@pytest.mark.slow
def test_a_crash_of_another_rank_is_reported_with_its_line(watch):
    seen = watch(source(), "crash")
    assert seen.run.ending is Ending.CRASHED
    assert seen.run.message == "RuntimeError: lost the mount"
    assert seen.run.where is not None
    assert seen.run.where.symbol == "train"


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [2, 10_000])
def test_torchrun(watch, write, epochs):
    script = write(source(epochs))
    seen = watch(
        Path("torch.distributed.run"), "--nproc_per_node", "2", "--standalone", str(script), "sampler",
        is_module=True, steps=0 if epochs == 2 else 10, seconds=0.0,
    )  # fmt: skip
    assert seen.run.ending is (Ending.FINISHED if epochs == 2 else Ending.STOPPED)
    assert seen.diagnosis.errors == ()
    assert "C1106" in seen.codes
    assert seen.one(IterationsSeen).iterations >= 10


def test_what_a_launcher_starts():
    assert python_target("/usr/bin/python3.11", ("-u", "a.py", "-x")) == ("a.py", False, ("-x",))
    assert python_target("python", ("-u", "-m", "pkg.train")) == ("pkg.train", True, ())
    assert python_target("bash", ("a.sh",)) is None
    assert python_target(print, ()) is None
    assert python_target("python", ("-c", "pass")) is None


def test_ranks_that_nobody_compared_are_said(tmp_path):
    assert not_compared(tmp_path) is None
    (tmp_path / "ranks").mkdir()
    (tmp_path / "ranks" / "world").write_text("4")
    note = not_compared(tmp_path)
    assert note is not None
    assert "of 4 ranks" in note.reason


def test_comparison_of_what_ranks_wrote(tmp_path):
    """Against numbers written by hand."""
    assert compare(tmp_path) is None
    (tmp_path / "ranks").mkdir()
    for rank in (0, 1):
        lines = [
            {"call": 0, "batch": "a", "weights": {"w": [1.0, 2.0], "v": [0.0]}, "buffers": {"m": [0.5]}},
            {"call": 1, "batch": f"b{rank}"},
            {"call": 2, "batch": f"c{rank}"},
            {"call": 3, "batch": "d", "weights": {"w": [1.0 + 1e-7 * rank, 2.0], "v": [0.1 * rank]},
             "buffers": {"m": [0.5 + rank]}},
        ]  # fmt: skip
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / "ranks" / f"rank{rank}.jsonl").write_text(text + ("\n" if rank else '\n{"call": 4, "ba'))
    found = compare(tmp_path)
    assert found == RankDifference(
        ranks=(0, 1), calls=4, same_batches=0.5, weights_differ=1, buffers_differ=1, examples=("v", "m"), step=3
    )
