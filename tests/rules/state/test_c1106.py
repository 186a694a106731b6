"""C1106 ddp-bypassed: what the ranks of a distributed training must have in common, and what they must not.

The whole way from two real processes to the finding is in ``tests/observe/test_ranks.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import NetworkCalls, RankDifference
from traindx.finding import Finding, Location, Severity, Standing
from traindx.host.ranks_compared import compare
from traindx.rules.state.c1106_ddp_bypassed import ddp_bypassed

LINE = Location(file="train.py", line=27)


def judged(*records: RankDifference) -> list[Finding]:
    evidence = Evidence()
    evidence.add(NetworkCalls(network="DistributedDataParallel", phase="validation", calls=9, iterations=1))
    evidence.add(NetworkCalls(network="DistributedDataParallel", phase="training", calls=8, iterations=8, where=LINE))
    for record in records:
        evidence.add(record)
    return ddp_bypassed.check(evidence)


def test_healthy_ranks():
    assert judged(RankDifference(ranks=(0, 1), calls=16)) == []


def test_same_batches_everywhere():
    (found,) = judged(RankDifference(ranks=(0, 1), calls=16, same_batches=1.0))
    assert found.standing is Standing.DEMONSTRATED
    assert "the same batch in 100 % of 16 calls" in found.message
    assert found.location == LINE


@pytest.mark.parametrize(
    ("calls", "same"),
    [
        pytest.param(16, 0.25, id="the last batch of a sampler that pads"),
        pytest.param(3, 1.0, id="too few calls to tell"),
    ],
)
def test_near_misses(calls, same):
    assert judged(RankDifference(ranks=(0, 1), calls=calls, same_batches=same)) == []


def test_weights_that_came_apart():
    (found,) = judged(
        RankDifference(ranks=(0, 1, 2), calls=16, weights_differ=3, buffers_differ=2, examples=("head.w",))
    )
    assert found.standing is Standing.DEMONSTRATED
    assert found.severity is Severity.CRITICAL
    assert "head.w" in found.message
    assert "0 to 2" in found.message


def test_buffers_alone_are_only_suspected():
    (found,) = judged(RankDifference(ranks=(0, 1), calls=16, buffers_differ=2, examples=("bn.running_mean",)))
    assert found.standing is Standing.SUSPECTED


def test_round_off_between_ranks_is_no_difference(tmp_path: Path):
    """Sums of gradients in another order differ in the last bits; a treatment on one rank by a hundredth."""
    for change, expected in ((1e-6, []), (1e-2, ["demonstrated"])):
        folder = tmp_path / str(change)
        (folder / "ranks").mkdir(parents=True)
        for rank in (0, 1):
            lines = [{"call": call, "batch": f"{rank} {call}"} for call in range(8)]
            lines[3] |= {"weights": {"w": [1.0 + rank * change, -2.0]}, "buffers": {"m": [float("nan")]}}
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / "ranks" / f"rank{rank}.jsonl").write_text(text)
        record = compare(folder)
        assert record is not None
        assert [found.standing.value for found in judged(record)] == expected
