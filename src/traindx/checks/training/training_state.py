"""Splits, best checkpoints, monitors and loaded weights: each is fed something with a known right answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.training_state import LoadedWeights, MonitorAnswers, PrototypeSpread, SelectorAnswers, SplitDrawn

if TYPE_CHECKING:
    from torch import Tensor, nn

DRAWS = 3
FIRST, SECOND = 0.9, (0.3, 0.5, 0.7)  # a later stage on a scale of its own, improving all the time
BAD = {"nan": math.nan, "inf": math.inf, "vanished": 1e-12, "exploded": 1e6}


@check(
    "training_state",
    "splits, best checkpoints, monitors and loaded weights",
    needs=("training_state",),
    gives=(LoadedWeights, MonitorAnswers, SelectorAnswers, SplitDrawn),
)
def training_state(ctx: CheckContext) -> None:
    """Ask each part of the training state that the case describes."""
    part = ctx.case.training_state
    assert part is not None
    if part.split is not None:
        _split(ctx, part.split)
    if part.best is not None and len(part.stages) > 1:
        _selector(ctx, part.best, (part.stages[0], part.stages[1]))
    if part.monitor is not None:
        silent = tuple(name for name, norm in BAD.items() if not part.monitor({"encoder": norm, "head": 1.0}))
        ctx.record(
            MonitorAnswers(
                where=defined_at(part.monitor),
                silent_on=silent,
                asked=tuple(BAD),
                speaks_of_healthy=bool(part.monitor({"encoder": 0.5, "head": 1.0})),
            )
        )
    if part.load is not None and part.weights is not None:
        _load(ctx, part.load, part.weights)


def _split(ctx: CheckContext, split: Callable[[], Mapping[str, Any]]) -> None:
    drawn = []
    for number in range(DRAWS):  # another random state, as another process or rank has
        with undisturbed(1000 * ctx.seed + number):
            drawn.append({name: frozenset(names) for name, names in split().items()})
    held = frozenset().union(*(names for part, names in drawn[0].items() if part != "train"))
    moved = [len(held & other.get("train", frozenset())) / max(1, len(held)) for other in drawn[1:]]
    ctx.record(
        SplitDrawn(
            where=defined_at(split),
            draws=DRAWS,
            differing=sum(other != drawn[0] for other in drawn[1:]),
            moved=max(moved),
            patients=sum(len(names) for names in drawn[0].values()),
        )
    )


def _selector(ctx: CheckContext, best: Callable[[], Callable[[str, float], bool]], stages: tuple[str, str]) -> None:
    offer = best()
    for score in (FIRST / 2, FIRST):
        offer(stages[0], score)
    ctx.record(
        SelectorAnswers(
            where=defined_at(best),
            stages=stages,
            first=FIRST,
            second=SECOND,
            kept=tuple(bool(offer(stages[1], score)) for score in SECOND),
        )
    )


def _load(
    ctx: CheckContext,
    load: Callable[[nn.Module, Mapping[str, Tensor]], Any],
    weights: Callable[[nn.Module], Mapping[str, Tensor]],
) -> None:
    model = ctx.fresh_model()
    with undisturbed(ctx.seed):
        offered = {name: value.detach().clone() for name, value in weights(model).items()}
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    refused = False
    try:
        with undisturbed(ctx.seed):
            load(model, offered)
    except Exception:  # refusing is the right answer to weights that do not fit
        refused = True
    # batch counters are equal by accident: they tell nothing of where a tensor came from
    now = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    ctx.record(
        LoadedWeights(
            where=defined_at(load),
            network=type(model).__name__,
            tensors=len(now),
            offered=sum(value.is_floating_point() for value in offered.values()),
            arrived=sum(
                any(value.shape == other.shape and torch.equal(value, other) for other in offered.values())
                for value in now.values()
            ),
            changed=sum(not torch.equal(value, before[name]) for name, value in now.items()),
            refused=refused,
        )
    )


@check("prototype-spread", "how alike prototypes become", needs=("prototypes",), gives=(PrototypeSpread,))
def prototype_spread(ctx: CheckContext) -> None:
    """Let prototypes learn for a moment, and measure their similarity within and between concepts."""
    learning = ctx.case.prototypes
    assert learning is not None
    with undisturbed(ctx.seed):
        before, after = (one.detach().double() for one in learning.fit(ctx.seed))
    with undisturbed(ctx.seed):
        used = learning.used(ctx.seed)
    K, M, _ = after.shape
    counts = used.double()
    shares = counts.amax(dim=1) / counts.sum(dim=1).clamp_min(1)
    seen = counts.sum(dim=1) > 0
    ctx.record(
        PrototypeSpread(
            where=defined_at(learning.fit),
            concepts=K,
            each=M,
            within=_within(after),
            within_before=_within(before),
            between=_between(after),
            monitored=learning.monitored(after) if learning.monitored is not None else math.nan,
            unused=int((counts[seen] == 0).sum()),
            busiest=float(shares[seen].mean()) if bool(seen.any()) else math.nan,
            temperature=learning.temperature,
        )
    )


def _within(vectors: Tensor) -> float:
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    cosine = unit @ unit.transpose(1, 2)
    pair = torch.triu(torch.ones(cosine.shape[1:]), diagonal=1).bool()
    return float(cosine[:, pair].mean()) if bool(pair.any()) else math.nan


def _between(vectors: Tensor) -> float:
    K, M, D = vectors.shape
    unit = torch.nn.functional.normalize(vectors, dim=-1).reshape(K * M, D)
    concept = torch.arange(K).repeat_interleave(M)
    other = concept[:, None] != concept[None, :]
    return float((unit @ unit.T)[other].mean()) if bool(other.any()) else math.nan
