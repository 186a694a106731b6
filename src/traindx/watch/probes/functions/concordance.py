"""Concordance indices by name: what do they make of risks in the order of the times, and of risks dealt at random?"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import ScoreTried
from traindx.watch.probes.functions.common import as_tensor, like, number, parts_of, words
from traindx.watch.probes.recorded import RecordedCall, returned_at

NAMES = {"cindex", "concordance", "harrell"}
TIMES = {"time", "times", "duration", "durations", "survival", "days", "months", "t"}
EVENTS = {"event", "events", "status", "censor", "censoring", "censored", "e", "observed", "delta", "dead", "death"}
ROWS = 60
SPREAD = 0.02


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return _named(node.name)


def _named(name: str) -> bool:
    spoken = words(name)
    return bool(NAMES & set(spoken)) or any(a + b == "cindex" for a, b in itertools.pairwise(spoken))


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for it and takes times, events and risks of as many samples."""
    done: set[Any] = set()
    for call in calls:
        if call.code in done or not _named(call.code.co_name):
            continue
        roles = _roles(torch, call.args)
        if roles is None:
            continue
        done.add(call.code)
        try:
            record = _tried(torch, call, *roles)
        except Exception:  # whatever the script's functions raise when they are given something else
            continue
        if record is not None:
            yield record


def _roles(torch: Any, args: dict[str, Any]) -> tuple[str, str, str] | None:
    """Names of the times, the events and the risks among the arguments."""
    known = {
        name: one for name, value in args.items() if (one := as_tensor(torch, value)) is not None and one.numel() > 7
    }
    times = [name for name in known if TIMES & set(words(name))]
    events = [name for name in known if EVENTS & set(words(name)) and name not in times]
    others = [name for name in known if name not in (*times, *events)]
    if len(times) != 1 or len(events) != 1 or len(others) != 1 or len({one.numel() for one in known.values()}) != 1:
        return None
    return times[0], events[0], others[0]


def _tried(torch: Any, call: RecordedCall, time: str, event: str, risk: str) -> Record | None:
    generator = torch.Generator().manual_seed(1)
    rows = as_tensor(torch, call.args[time])
    assert rows is not None
    size = len(rows) if any(type(value) is int and value == len(rows) for value in call.args.values()) else ROWS
    shape = (size, *rows.shape[1:])
    order = torch.randperm(size, generator=generator)
    times, events = 1.0 + order.double(), torch.ones(size, dtype=torch.float64)

    def index(risks: Any) -> float:
        given = {time: times, event: events, risk: risks}
        result = call.again(
            torch, **{name: like(torch, one.reshape(shape), call.args[name]) for name, one in given.items()}
        )
        found = [value for _, part in parts_of(result) if (value := number(torch, part)) is not None]
        return found[0] if found else math.nan

    high, low = index(-times / size), index(times / size)
    random = index(torch.randperm(size, generator=generator).double() / size)
    if not all(math.isfinite(value) for value in (high, low, random)):
        return None
    perfect = max(high, low)  # whether it is given a risk or a time is a convention
    if perfect >= 1 - SPREAD and min(high, low) > SPREAD:
        perfect = min(high, low)  # the same for both orders
    return ScoreTried(
        function=call.shown,
        score="concordance index",
        ranks=True,
        samples=size,
        perfect=perfect,
        random=random,
        actual=number(torch, call.result) or 0.0,
        where=returned_at(call.code).location(),
    )
