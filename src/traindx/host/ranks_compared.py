"""What the ranks of a distributed training wrote, compared."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

from traindx.evidence.base import NotExamined
from traindx.evidence.observed import RankDifference
from traindx.watch.collectors.ranks import FOLDER, WORLD_FILE

ROUND_OFF = 1e-4  # relative; sums of float32 gradients in another order differ by less over the first iterations


def compare(directory: Path) -> RankDifference | None:
    """The ranks compared; None if fewer than two wrote anything."""
    ranks: dict[int, list[dict[str, Any]]] = {}
    for file in sorted((directory / FOLDER).glob("rank*.jsonl")):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        if lines:
            ranks[int(file.stem.removeprefix("rank"))] = lines
    if len(ranks) < 2:
        return None
    calls = min(len(lines) for lines in ranks.values())
    same = [
        any(one[call]["batch"] == other[call]["batch"] for one, other in combinations(ranks.values(), 2))
        for call in range(calls)
    ]
    last = max((call for call in range(calls) if "weights" in next(iter(ranks.values()))[call]), default=-1)
    weights, buffers = (_differing(ranks, last, kind) if last >= 0 else [] for kind in ("weights", "buffers"))
    return RankDifference(
        ranks=tuple(sorted(ranks)),
        calls=calls,
        same_batches=sum(same) / max(1, calls),
        weights_differ=len(weights),
        buffers_differ=len(buffers),
        examples=tuple([*weights, *buffers][:8]),
        step=last,
    )


def not_compared(directory: Path) -> NotExamined | None:
    """Why the ranks of a distributed training were not compared; None if they were, or if there is only one."""
    world = directory / FOLDER / WORLD_FILE
    if not world.exists() or compare(directory) is not None:
        return None
    return NotExamined(
        subject="agreement of the ranks",
        reason=f"of {world.read_text(encoding='utf-8')} ranks fewer than two were seen to call a "
        "DistributedDataParallel network; ranks are reached through torch.multiprocessing.spawn and torchrun "
        "(traindx examine -m torch.distributed.run)",
    )


def _differing(ranks: dict[int, list[dict[str, Any]]], call: int, kind: str) -> list[str]:
    """Names of tensors that are not alike on all ranks, beyond round-off."""
    states = [lines[call].get(kind, {}) for lines in ranks.values()]
    return [
        name
        for name in states[0]
        if any(
            not math.isclose(a, b, rel_tol=ROUND_OFF, abs_tol=ROUND_OFF * scale(states[0][name]))
            for other in states[1:]
            for a, b in zip(states[0][name], other.get(name, []), strict=False)
            if math.isfinite(a) and math.isfinite(b)
        )
    ]


def scale(values: list[float]) -> float:
    """Largest finite size."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)
