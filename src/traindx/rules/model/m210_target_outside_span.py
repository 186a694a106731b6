"""M210 target-outside-span."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import HighFrequencyTransfer, InformationPath, SpanFloor
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

WORDS = {"v": "v", "epsilon": "noise (epsilon)", "regression": "regression"}


@rule(
    "M210",
    "target-outside-span",
    Severity.CRITICAL,
    needs=(InformationPath, SpanFloor),
    least_floor=Threshold(
        0.05, "5 % of the unit variance of a v or noise target; healthy denoisers end below it and keep falling"
    ),
    least_variance=Threshold(
        0.5, "without diffusion, real images lose less than half of their variance to any grid that shows anything"
    ),
    most_around=Threshold(1e-3, "round-off in float32 leaves below 1e-5 when the narrow values are held"),
)
def target_outside_span(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network is trained on a target that it cannot express, whatever its weights.

    What it finds:
        All that the network knows of its input passes fewer numbers than the target has degrees of freedom, while the
        target (the noise in a v or epsilon target) is different in every voxel. A typical case is a transformer whose
        decoder emits one scalar a token and up-samples it, with no full-resolution path from x_t.
    Why it stops learning:
        The part of the target outside the span of the output is lost at every step. The loss falls to a floor and
        stays there; sampling then shows a near-constant image or static, depending on the sampler.
    Evidence it needs:
        InformationPath, SpanFloor and HighFrequencyTransfer (check *information-path*).
    How it decides:
        (1) The numbers that can reach the output are counted along every path. (2) With the values at the narrowest
        place held fixed, fine noise in x_t must not change the output any more (`most_around`): there is no way
        around. Zero-initialised heads and gates are drawn again first, so that a silent skip is not taken for a missing
        one. (3) The floor in closed form is above `least_floor`: with a share r of the numbers, a schedule with mean
        alpha bar A and detail d of the real targets outside the grid, (1-r)*A + (1-A)*d for v, and 1-r for epsilon.
        An x0 head needs no fine noise and is never reported here. Without diffusion the targets themselves are
        measured, and more than `least_variance` of their variance must lie outside. Then it is `demonstrated`.
    Remedy:
        Give the output a full-resolution path from x_t: predict x0 and derive v or epsilon analytically, add one
        learned multiple of x_t, or concatenate a full-resolution feature map before the last layers.
    Trial it proposes:
        `full-resolution-skip`: the output becomes an x0 head with an analytic skip.
    Known false positives:
        None known. A loss that is itself computed on a coarse grid would make the floor harmless.
    References:
        Salimans and Ho, Progressive distillation, ICLR 2022 (v parameterisation, appendix D). The floor follows from
        the variance of white noise outside a linear subspace.
    """
    transfer = evidence.last(HighFrequencyTransfer)
    spans = {span.where: span for span in evidence.of(SpanFloor)}
    for path in evidence.of(InformationPath):
        span = spans.get(path.where)
        if span is None or path.source not in ("x_t", "all inputs") or not path.around < limits.most_around:
            continue
        if span.prediction == "sample":
            continue
        if span.prediction == "regression":
            if not span.exact or span.detail < limits.least_variance * span.variance:
                continue
        elif span.floor < limits.least_floor:
            continue
        yield _found(path, span, transfer)


def _found(path: InformationPath, span: SpanFloor, transfer: HighFrequencyTransfer | None) -> Found:
    grid = "x".join(map(str, path.grid)) + " grid, " if path.grid else ""
    back = f" and is brought back to {path.full} at {path.widened_at}" if path.widened_at else ""
    module = f" in {path.module}" if path.module else ""
    numbers: dict[str, float | int | str | bool] = {
        "numbers_that_pass": path.numbers,
        "numbers_in_the_output": path.full,
        "loss_floor": round(span.floor, 4),
        "way_around": path.around,
    }
    kind = "mean squared error" if span.prediction == "regression" else f"{span.prediction}-loss"
    evidence = ""
    if transfer is not None and span.prediction != "regression":
        numbers |= {
            "fine_noise_recovered": round(transfer.recovered, 4),
            "fine_noise_needed_gain": round(transfer.needed_gain, 3),
        }
        evidence = f" Of fine noise added to x_t, {100 * transfer.recovered:.1f} % can be found in the output."
    return Found(
        message=f"The network cannot express its {WORDS[span.prediction]} target: all it knows of "
        f"{path.source} passes {path.numbers} numbers ({grid}{path.operation}{module}){back}. No learning rate and no "
        f"number of epochs goes below a {kind} of {span.floor:.2g}.{evidence}",
        standing=Standing.DEMONSTRATED,
        location=path.where,
        numbers=numbers,
        remedy="Give the output a full-resolution path from its input: predict x0 and derive "
        f"{span.prediction} analytically, add a learned multiple of x_t, or concatenate full-resolution features "
        "before the last layer."
        if span.prediction != "regression"
        else "Give the output a full-resolution path from the input, or let each position of the grid emit a patch.",
        proposals=(Proposal(treatment="full-resolution-skip"),) if span.prediction != "regression" else (),
    )
