"""Can the terms of the loss tell the truth from the truth turned, and do they ask for detail that is missing?"""

from __future__ import annotations

import math

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.loss.order import certain_encoding, judging_terms, values_of
from traindx.checks.probing import awake_model
from traindx.checks.stand_ins import StandIns, is_binary, stand_ins
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.loss import TermBlindness, TermDetail

Tensor = torch.Tensor

LIFTED = 0.5  # of the span: a shift that no loss of values could overlook
CONTRAST_SCALED = 0.7  # of the contrast: far from the truth, and of its shape
CUTOFF = 0.35  # of the Nyquist frequency; above it lies what a blurred output lacks
LEAST_SIDE = 8  # pixels; a smaller image has no detail to speak of
SYMMETRIC = 0.2  # of the distance of another sample: a mirror image that is nearer says nothing


@check(
    "blind-terms",
    "do the loss terms see where things are, and detail",
    needs=("loss", "target"),
    gives=(TermBlindness, TermDetail),
)
def blind_terms(ctx: CheckContext) -> None:
    """Let the network answer with mirror images, a contrast-scaled and a blurred truth."""
    target = ctx.target(ctx.batch())
    if target.ndim < 4 or not target.is_floating_point() or is_binary(target):
        return  # no image: nothing to turn; and terms of whole images beside a mask are blind to places on purpose
    answers = stand_ins(ctx, awake_model(ctx))
    if answers is None:
        return
    found = certain_encoding(answers)
    if found is None:
        return
    encoding, validated = found
    asymmetry = _add_turned(answers)
    _blindness(ctx, answers, encoding, validated, asymmetry)
    if min(target.shape[2:]) >= LEAST_SIDE:
        _detail(ctx, answers, encoding, validated)


def _add_turned(answers: StandIns) -> dict[str, float]:
    """Add mirror images along every spatial axis; how far each is from the target, over how far another sample is."""
    target, other = answers.targets["perfect"], answers.targets["shuffled"]
    apart = float((other.double() - target.double()).norm())
    found = {}
    for axis in range(2, target.ndim):
        name = f"mirrored {axis}"
        answers.targets[name] = target.flip(axis)
        away = float((answers.targets[name].double() - target.double()).norm())
        found[name] = away / apart if apart > 0 else 0.0
    low = target.min()
    answers.targets["contrast_scaled"] = low + CONTRAST_SCALED * (target - low)
    answers.targets["lifted"] = target + LIFTED * (target.max() - low)
    return found


def _blindness(
    ctx: CheckContext, answers: StandIns, encoding: str, validated: bool, asymmetry: dict[str, float]
) -> None:
    usable = [name for name, away in asymmetry.items() if away >= SYMMETRIC]
    names = ["perfect", "shuffled", "blank", "inverted", "contrast_scaled", "lifted", *usable]
    values = {name: values_of(answers, name, encoding) for name in names}
    judging = judging_terms(answers, encoding)
    for term, perfect in values["perfect"].items():

        def away(name: str, term: str = term, perfect: float = perfect) -> float:
            return abs(values[name].get(term, math.nan) - perfect) if name in values else math.nan

        record = TermBlindness(
            where=defined_at(ctx.case.loss),
            term=term,
            perfect=perfect,
            wrong=max(away(name) for name in ("shuffled", "blank", "inverted")),
            turned=max((away(name) for name in usable), default=math.nan),
            asymmetry=min((asymmetry[name] for name in usable), default=0.0),
            contrast_scaled=away("contrast_scaled"),
            lifted=away("lifted"),
            judges_target=term == "total" or term in judging,
            validated=validated,
        )
        if math.isfinite(record.perfect) and math.isfinite(record.wrong):
            ctx.record(record)


def _detail(ctx: CheckContext, answers: StandIns, encoding: str, validated: bool) -> None:
    target = answers.targets["perfect"]
    blurred = low_passed(target, CUTOFF)
    missing = (target - blurred).double()
    answers.targets["blurred"] = blurred
    values = {name: values_of(answers, name, encoding) for name in ("perfect", "blank", "blurred")}
    share = float(missing.square().mean() / (target - target.mean()).double().square().mean().clamp_min(1e-30))
    pulls = _pulls(answers, encoding, missing)
    for term, perfect in values["perfect"].items():
        span = values["blank"].get(term, math.nan) - perfect
        rise = values["blurred"].get(term, math.nan) - perfect
        if not (math.isfinite(span) and math.isfinite(rise)) or span == 0:
            continue
        ctx.record(
            TermDetail(
                where=defined_at(ctx.case.loss),
                term=term,
                rise=rise / span,
                share=share,
                pull=pulls.get(term, 0.0),
                cutoff=CUTOFF,
                validated=validated,
            )
        )


def _pulls(answers: StandIns, encoding: str, missing: Tensor) -> dict[str, float]:
    """Cosine of minus the gradient of each term, above the cutoff, with the missing detail."""
    with answers.answering("blurred", encoding) as said, undisturbed(0), torch.enable_grad():
        terms = answers.case.loss_terms(answers.model, answers.batch)
    if not said:
        return {}
    sign = -1.0 if encoding in ("v", "epsilon") else 1.0  # these fall where x0 rises
    gradients: dict[str, Tensor] = {}
    for name, value in terms.items():
        if value.requires_grad:
            parts = torch.autograd.grad(value, said, retain_graph=True, allow_unused=True)
            known = [part for part in parts if part is not None and part.shape == missing.shape]
            if known:
                gradients[name] = torch.stack(known).sum(dim=0)
    if len(terms) > 1 and gradients:
        gradients["total"] = torch.stack(list(gradients.values())).sum(dim=0)
    found = {}
    for name, gradient in gradients.items():
        step = -sign * gradient.double()
        high = step - low_passed(step, CUTOFF)
        size = float(step.norm() * missing.norm())
        found[name] = float((high * missing).sum()) / size if size > 0 else 0.0
    return found


def low_passed(images: Tensor, cutoff: float) -> Tensor:
    """Images without what lies above a frequency, each axis in units of its own Nyquist frequency.

    Args:
        images: ``(B, C, *spatial)``.
        cutoff: As a share of the Nyquist frequency.
    """
    axes = tuple(range(2, images.ndim))
    squared = torch.zeros((), dtype=torch.float64, device=images.device)
    for axis in axes:
        shape = [1] * images.ndim
        shape[axis] = images.shape[axis]
        frequency = 2 * torch.fft.fftfreq(images.shape[axis], dtype=torch.float64, device=images.device)
        squared = squared + frequency.square().view(shape)
    kept = torch.fft.fftn(images.double(), dim=axes) * (squared <= cutoff**2)
    back: Tensor = torch.fft.ifftn(kept, dim=axes).real.to(images.dtype)
    return back
