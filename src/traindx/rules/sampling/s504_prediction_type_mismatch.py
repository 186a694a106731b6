"""S504 prediction-type-mismatch."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import PredictionCheck, SamplerRun
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, requires, rule
from traindx.rules.sampling._cause import THRESHOLDS, consequence, explained, number, numbers_of, read_as, runs_with

_NAMES = {"epsilon": "ε", "v": "v", "sample": "x0"}


@rule(
    "S504",
    "prediction-type-mismatch",
    Severity.CRITICAL,
    needs=(SamplerRun,),
    looked_at=requires(SamplerRun, explained, otherwise="what the sampling loop computes could not be explained"),
    **THRESHOLDS,
)
def prediction_type_mismatch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network is trained to predict one thing and the sampling loop reads its output as another.

    What it finds:
        A loss that regresses v while the loop takes the output for ε, or any other pair of ε, v and x0.
    Why it stops learning:
        The loss falls and the samples are noise or a constant: what the network says is right and is misread.
    Evidence it needs:
        SamplerRun (check *sampler*); PredictionCheck (check *prediction-type*), which gives the loss the exact ε, v and
        x0 of each noised sample and sees which one it wants.
    How it decides:
        With the exact denoiser answering in the type that the loss asks for (the declared one, where the loss cannot
        tell), the loop is off by more than `max_misfit`, and every step is explained to `explained` by another type; or
        the loop's first step, at ᾱ = 0, divides by √ᾱ, which only a loop for ε does.
    Remedy:
        Give the sampling loop or its scheduler the prediction type of the loss.
    Trial it proposes:
        `prediction-type`.
    Known false positives:
        None known: agreement of every step with another type is no coincidence. If the case merely declares another
        type than both loss and loop use, that is a note on the case.
    References:
        Salimans and Ho, Progressive Distillation, ICLR 2022, section 4.
    """
    checks = evidence.of(PredictionCheck)
    trained = checks[-1].trained if checks else ""
    misread = runs_with(evidence, limits, "prediction") or [run for run in evidence.of(SamplerRun) if _divides(run)][:1]
    for run in misread:
        source = "The loss asks for" if trained == run.prediction else "The network is declared to predict"
        loop = "epsilon" if _divides(run) else read_as(run)
        yield Found(
            message=f"{source} {_NAMES[run.prediction]}, but the sampling loop reads the network's output as "
            f"{_NAMES[loop]}." + consequence(run),
            standing=Standing.DEMONSTRATED,
            location=run.where,
            numbers={**numbers_of(run), "trained": run.prediction, "sampled": loop, **_losses(checks)},
            remedy=f"Read the output as {_NAMES[run.prediction]} in the sampling loop (diffusers: prediction_type="
            f"'{'v_prediction' if run.prediction == 'v' else run.prediction}').",
            proposals=(Proposal(treatment="prediction-type", parameters={"type": run.prediction}),),
        )
    if not misread and trained and trained != checks[-1].declared:
        check = checks[-1]
        yield Found(
            message=f"The case declares that the network predicts {_NAMES[check.declared]}, but the loss asks for "
            f"{_NAMES[trained]} (loss {number(_loss(check, trained))} for the exact {_NAMES[trained]}, "
            f"{number(_loss(check, check.declared))} for the exact {_NAMES[check.declared]}).",
            location=check.where,
            numbers={"declared": check.declared, "trained": trained, **_losses(checks)},
            remedy=f"Declare prediction='{trained}' in the case, or regress {_NAMES[check.declared]} in the loss.",
            severity=Severity.NOTE,
        )


def _divides(run: SamplerRun) -> bool:
    """True if the loop divides by √ᾱ = 0 in its first step, which only a loop for ε has to."""
    return run.prediction != "epsilon" and run.nonfinite_step == 0 and run.start_alpha_bar < 1e-8


def _loss(check: PredictionCheck, kind: str) -> float:
    return {"epsilon": check.loss_epsilon, "v": check.loss_v, "sample": check.loss_sample}[kind]


def _losses(checks: list[PredictionCheck]) -> dict[str, float | int | str | bool]:
    if not checks:
        return {}
    check = checks[-1]
    return {
        "loss_of_exact_epsilon": check.loss_epsilon,
        "loss_of_exact_v": check.loss_v,
        "loss_of_exact_x0": check.loss_sample,
    }
