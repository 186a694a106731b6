"""What the training loss asks of the network: feed it the exact ε, v and x0 of each noised sample and see which it
likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traindx.checks.base import CheckContext, check
from traindx.checks.diffusion.call_recorder import UnexaminedError, stand_in, time_values
from traindx.checks.diffusion.training_calls import TrainingCalls, network_form, training_calls
from traindx.checks.probing import awake_model
from traindx.core.gaussian_oracle import encode
from traindx.core.parameterisation import TYPES
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.sampling import PredictionCheck

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "what the training loss asks the network to predict"
REPEATS = 4
"""Noised batches for each answer: ε and v agree at low noise, and -v and x0 at high noise, so several levels are
needed."""
CLEARLY = 0.1
"""The exact answer must have less than this share of the next best answer's loss to be told from it."""


@check("prediction-type", TITLE, needs=("diffusion", "loss", "target"), gives=(PredictionCheck,))
def prediction_type(ctx: CheckContext) -> None:
    """Compare the loss under the exact answers of each type."""
    try:
        ctx.record(_check(ctx))
    except UnexaminedError as reason:
        ctx.record(NotExamined(subject=TITLE, reason=str(reason), where=reason.where))


def prediction_asked_for(ctx: CheckContext) -> str:
    """The type that the loss asks for; empty where it cannot be told."""
    try:
        return _check(ctx).trained
    except UnexaminedError:
        return ""


def _check(ctx: CheckContext) -> PredictionCheck:
    found = ctx.once("prediction check", lambda: _check_or_reason(ctx))
    if isinstance(found, UnexaminedError):
        raise found
    return found


def _check_or_reason(ctx: CheckContext) -> PredictionCheck | UnexaminedError:
    try:
        return _measure(ctx, training_calls(ctx))
    except UnexaminedError as reason:
        return reason
    except Exception as error:  # the loss ran before; with another answer it may not
        return UnexaminedError(f"the loss stopped with {type(error).__name__}: {error}")


def _measure(ctx: CheckContext, calls: TrainingCalls) -> PredictionCheck:
    assert ctx.case.diffusion is not None
    if calls.time_map is None:
        raise UnexaminedError(
            "the timesteps that the loss draws cannot be told from the network's time argument", calls.where
        )
    by_answer: dict[str, dict[str, float]] = {}
    for answer in (*TYPES, "zero"):
        by_answer[answer] = _losses(ctx, calls, answer)
    totals = {answer: sum(terms.values()) for answer, terms in by_answer.items()}
    return PredictionCheck(
        declared=ctx.case.diffusion.prediction,
        trained=_liked_best(totals) or _liked_by_a_term(by_answer),
        loss_epsilon=totals["epsilon"],
        loss_v=totals["v"],
        loss_sample=totals["sample"],
        loss_zero=totals["zero"],
        draws=REPEATS * calls.batch,
        where=calls.where,
    )


def _losses(ctx: CheckContext, calls: TrainingCalls, answer: str) -> dict[str, float]:
    """Mean of every loss term when the network gives one kind of exact answer."""
    import torch

    case = ctx.case
    assert case.diffusion is not None
    model = awake_model(ctx)
    alphas = case.diffusion.alphas_cumprod.detach().double()
    batches = ctx.batches(min(REPEATS, 4))
    form = network_form(ctx)
    x0: Tensor = ctx.target(batches[0])

    def forward(*args: Any, **kwargs: Any) -> Any:
        x_t = calls.layout.x_t(args, kwargs)
        if x_t.shape != x0.shape:
            raise UnexaminedError("the noisy image in the loss has another shape than the target", calls.where)
        steps = _timesteps(calls, calls.layout.time_of(args, kwargs), len(alphas))
        alpha = alphas.to(x_t.device)[steps.to(x_t.device)].reshape(-1, *[1] * (x_t.ndim - 1))
        noise = (x_t.double() - alpha.sqrt() * x0.double()) / (1 - alpha).sqrt().clamp_min(1e-6)
        if not 0.5 < float(noise.detach().std()) < 2.0:
            raise UnexaminedError(
                "the noise in the loss's x_t is not of unit variance at the decoded timesteps", calls.where
            )
        exact = torch.zeros_like(x_t) if answer == "zero" else encode(answer, x0.double(), noise, alpha).to(x_t.dtype)
        return form.dress(exact.detach().requires_grad_(torch.is_grad_enabled()))

    sums: dict[str, float] = {}
    with in_mode(model, training=True), stand_in(case.diffusion.network(model), forward):
        for repeat in range(REPEATS):
            batch = batches[repeat % len(batches)]
            x0 = ctx.target(batch)
            with undisturbed(ctx.seed + repeat):
                terms = case.loss_terms(model, batch)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / REPEATS
    return sums


def _timesteps(calls: TrainingCalls, passed: Any, length: int) -> Tensor:
    assert calls.time_map is not None
    return calls.time_map.decode(time_values(passed)).round().clamp(0, length - 1).long()


def _liked_best(losses: dict[str, float]) -> str:
    """The answer whose loss is clearly lowest; empty if none is."""
    ranked = sorted(losses, key=lambda answer: losses[answer])
    best, second = ranked[0], ranked[1]
    clear = losses[best] >= 0 and losses[best] < CLEARLY * losses[second]
    return best if clear and best != "zero" else ""


def _liked_by_a_term(by_answer: dict[str, dict[str, float]]) -> str:
    """What the single terms say, if all that say something agree (other terms need not vanish at the exact answer)."""
    names = set.intersection(*(set(terms) for terms in by_answer.values()))
    said = {_liked_best({answer: terms[name] for answer, terms in by_answer.items()}) for name in names} - {""}
    return said.pop() if len(said) == 1 else ""
