"""Areas under curves by name: are they given scores, of which no two are alike, or decisions?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_evaluation import RankedScore
from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.functions.scores import RANKS, pair_of, score_of
from traindx.watch.probes.recorded import RecordedCall

MOST_VALUES = 8  # of predictions that are written down


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return score_of(words(node.name)) in RANKS


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for an area under a curve: what it was given, in all calls from one line."""
    seen: dict[Any, list[tuple[RecordedCall, Any, Any]]] = {}
    whole: dict[Any, bool] = {}
    for call in calls:
        if score_of(words(call.name)) not in RANKS:
            continue
        pair = pair_of(torch, call.args)
        if pair is None:
            continue
        prediction, target = (as_tensor(torch, call.args[name]) for name in (pair.prediction, pair.target))
        if prediction is not None and target is not None and prediction.numel() == target.numel():
            key = (call.code, call.given_by)
            seen.setdefault(key, []).append((call, prediction.double(), target.double()))
            whole[key] = whole.get(key, True) and not prediction.is_floating_point()
    for (code, site), known in seen.items():
        values = torch.cat([prediction.flatten() for _, prediction, _ in known]).unique()
        labels = torch.cat([target.flatten() for _, _, target in known]).unique()
        yield RankedScore(
            function=known[0][0].shown,
            calls=len(known),
            samples=sum(prediction.numel() for _, prediction, _ in known),
            values=tuple(float(one) for one in values) if len(values) <= MOST_VALUES else (),
            labels=len(labels),
            whole=whole[code, site],
            where=site.location() if site is not None else None,
        )
