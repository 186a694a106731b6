"""What a script's process is told of a channel that is to be brought to the range of another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traindx.evidence import Evidence
from traindx.evidence.observed import InputSeen
from traindx.finding import Finding


def fields(given: Mapping[str, Any], finding: Finding, evidence: Evidence) -> dict[str, Any]:
    """Scale and offset that bring the weak channel to the range that the strong one was seen to have."""
    weak, strong = int(given["channel"]), finding.numbers.get("strong_channel")
    for seen in evidence.of(InputSeen):
        if not isinstance(strong, int) or seen.where != finding.location or max(weak, strong) >= len(seen.low):
            continue
        span = seen.high[weak] - seen.low[weak]
        scale = (seen.high[strong] - seen.low[strong]) / span if span > 0 else float(given.get("factor", 1.0))
        offset = seen.low[strong] - scale * seen.low[weak]
        argument = int(seen.argument) if seen.argument.isdigit() else 0
        return {
            "channel": weak,
            "scale": scale,
            "offset": offset,
            "network": seen.network,
            "argument": argument,
        }
    return {"channel": weak, "scale": float(given.get("factor", 1.0)), "offset": 0.0}
