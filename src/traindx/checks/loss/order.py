"""Does the loss prefer the better prediction? It is computed for stand-ins whose order is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.loss.recorded_loss import LossWatch
from traindx.checks.probing import awake_model
from traindx.checks.stand_ins import ANSWERS, StandIns, stand_ins
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.loss import StandInLoss

if TYPE_CHECKING:
    from torch import Tensor

STEPS = (0.02, 0.1, 0.3)  # of the answer's spread, along the negative gradient
AGREES = 0.05  # relative error of the deployed prediction that still shows that an encoding is the right one


@check("loss-order", "does the loss prefer the better prediction", needs=("loss", "target"), gives=(StandInLoss,))
def loss_order(ctx: CheckContext) -> None:
    """Record every term for perfect, nearly perfect, shuffled, blank and inverted predictions."""
    answers = stand_ins(ctx, awake_model(ctx))
    if answers is None:
        return
    found = certain_encoding(answers)
    if found is None:
        return
    encoding, validated = found
    judging = judging_terms(answers, encoding)
    values = {answer: values_of(answers, answer, encoding) for answer in ANSWERS}
    descended = _descended(answers, encoding)
    for term in values["perfect"]:
        record = StandInLoss(
            where=defined_at(ctx.case.loss),
            term=term,
            encoding=encoding,
            **{answer: values[answer].get(term, float("nan")) for answer in ANSWERS},
            descended=descended.get(term, float("nan")),
            judges_target=term == "total" or term in judging,
            validated=validated,
        )
        if all(math.isfinite(getattr(record, answer)) for answer in ANSWERS):
            ctx.record(record)


def certain_encoding(answers: StandIns) -> tuple[str, bool] | None:
    """The encoding that the network's output is most likely to have, and whether that is certain.

    None where deployment makes something else of every answer, so that nobody knows what the output means.
    """
    losses = {
        encoding: {name: float(value.detach()) for name, value in answers.losses("perfect", encoding).items()}
        for encoding in answers.encodings
    }
    families = {_family(name) for name in losses if _validated(answers, name)}
    agreeing = [name for name in losses if _family(name) in families]
    if not agreeing and answers.prediction("perfect", next(iter(losses))) is not None:
        return None
    encoding = _best_fitting(losses, agreeing or list(losses))
    return encoding, encoding in agreeing


def _best_fitting(losses: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """The encoding under which some term comes nearest to zero, against the worst encoding for that term.

    Not the smallest total: a large term that is wrong everywhere would drown the one that knows what an output means.
    """
    worst = {
        term: max((abs(losses[name][term]) for name in names if math.isfinite(losses[name][term])), default=0.0)
        for term in losses[names[0]]
    }

    def fit(name: str) -> tuple[float, float]:
        shares = [abs(value) / worst[term] for term, value in losses[name].items() if worst.get(term)]
        return min((share for share in shares if math.isfinite(share)), default=1.0), _total(losses[name])

    return min(names, key=fit)


def values_of(answers: StandIns, answer: str, encoding: str) -> dict[str, float]:
    """Every term for an answer, and their ``total`` where there are several."""
    terms = {name: float(value.detach()) for name, value in answers.losses(answer, encoding).items()}
    return {**terms, "total": sum(terms.values())} if len(terms) > 1 else terms


def _total(terms: Mapping[str, float]) -> float:
    total = sum(terms.values())
    return total if math.isfinite(total) else math.inf


def judging_terms(answers: StandIns, encoding: str) -> set[str]:
    """Terms that depend on the batch other than through the network: only those can have a truth."""
    watch = LossWatch(answers.batch, {})
    with answers.answering("perfect", encoding, told=watch.forget), undisturbed(0), watch:
        terms = answers.case.loss_terms(answers.model, answers.batch)
    return {name for name, value in terms.items() if watch.depends_on_data(value)}


def _descended(answers: StandIns, encoding: str) -> dict[str, float]:
    """Smallest value of each term a small step away from the truth, downhill."""
    with answers.answering("perfect", encoding) as said, undisturbed(0), torch.enable_grad():
        terms = answers.case.loss_terms(answers.model, answers.batch)
    gradients: dict[str, Tensor] = {}
    total: Tensor | None = None
    for name, value in terms.items():
        if len(said) != 1 or not value.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(value, said, retain_graph=True, allow_unused=True)
        if gradient is not None and float(gradient.norm()) > 0:
            gradients[name] = gradient
            total = gradient if total is None else total + gradient
    if total is not None and len(terms) > 1:
        gradients["total"] = total
    found: dict[str, float] = {}
    for name, gradient in gradients.items():
        size = float(gradient.square().mean().sqrt())
        spread = float(said[0].detach().std())
        for step in STEPS:
            change = -step * spread / size * gradient if size > 0 else torch.zeros_like(gradient)
            values = answers.losses("perfect", encoding, change=change.detach())
            numbers = {key: float(item.detach()) for key, item in values.items()}
            reached = _total(numbers) if name == "total" else numbers[name]
            found[name] = min(found.get(name, math.inf), reached)
    return found


def _family(encoding: str) -> str:
    """``logits`` for ``logits of 8`` and ``logits of 2``: what an output means, whatever its size."""
    return encoding.split(" of ", maxsplit=1)[0]


def _validated(answers: StandIns, encoding: str) -> bool:
    """True if it is certain what the network's output means: by declaration, or because deployment agrees."""
    if answers.case.diffusion is not None:
        return True  # of the three it is the one that fits best; whether it is the declared one is S504's question
    prediction = answers.prediction("perfect", encoding)
    target = answers.targets["perfect"]
    if prediction is None or prediction.shape != target.shape:
        return False
    error = (prediction.double() - target.double()).square().mean()
    return float(error) <= AGREES**2 * float(target.double().var().clamp_min(1e-12))
