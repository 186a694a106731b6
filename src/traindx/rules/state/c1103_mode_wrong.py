"""C1103 train/eval-mode-wrong."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import ModeSwitch, NetworkCalls
from traindx.evidence.observed_loss import LossCall
from traindx.finding import Location, Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


def _infers(call: NetworkCalls, limits: Limits) -> bool:
    """A call in a script that only infers, often enough to be judged."""
    return call.phase == "inference" and call.calls >= limits.calls


@rule(
    "C1103",
    "mode-wrong",
    Severity.MAJOR,
    needs=(NetworkCalls,),
    looked_at=(
        requires(
            NetworkCalls,
            lambda call, limits: bool(call.noisy) or call.quiet > 0,
            thing="layers that behave differently in evaluation",
        ),
        requires(
            NetworkCalls,
            lambda call, limits: call.phase in ("training", "inference"),
            otherwise="no network call in training was seen",
        ),
        requires(
            NetworkCalls,
            lambda call, limits: call.phase in ("validation", "sampling") or _infers(call, limits),
            otherwise="no validation was seen",
        ),
    ),
    calls=Threshold(2, "calls in the wrong mode, so that a single probe decides nothing"),
)
def mode_wrong(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network trains in evaluation mode, or is evaluated in training mode.

    What it finds:
        Training steps that go on in evaluation mode after a validation; validation with active dropout or with batch
        norm that uses, and learns from, the validation batch.
    Why it stops learning:
        In evaluation mode batch norm normalises by statistics that no longer follow the weights, and dropout is off.
        In training mode the validation figure is noisy, depends on the batch, and leaks the validation data into the
        running statistics.
    Evidence it needs:
        NetworkCalls, ModeSwitch, LossCall (a watched script).
    How it decides:
        A network with active dropout or batch norm, called with gradients in evaluation mode after it had been in
        training mode: `demonstrated`, placed at the `eval()` that was not undone. Called without gradients in training
        mode, in passes that read another loader than the training or compute a loss: `demonstrated`, placed at the
        call; with gradients, if only figures are made of what it gives, `suspected`; in a script that only infers,
        `suspected`, as some networks are meant to use the statistics of the batch.
        A teacher or generator whose output is trained on, and dropout alone left on in a script that only infers
        (Monte-Carlo dropout), are left alone.
    Remedy:
        `model.train()` at the start of every training epoch, `model.eval()` before every validation.
    Trial it proposes:
        `set-mode` at that line.
    Known false positives:
        Batch norm frozen on purpose for the whole network after some epochs.
    References:
        PyTorch documentation of `Module.train`; Gal and Ghahramani, Dropout as a Bayesian approximation, ICML 2016.
    """
    computes_loss = any(call.phase == "evaluation" for call in evidence.of(LossCall))
    for call in evidence.of(NetworkCalls):
        sensitive = bool(call.noisy) or call.quiet > 0
        if not sensitive:
            continue
        if (
            call.phase == "training"
            and call.left_training_mode >= 0
            and call.calls - call.in_training_mode >= limits.calls
        ):
            yield _stayed_in_evaluation(call, evidence)
        elif (
            call.phase == "inference"
            and call.in_training_mode == call.calls >= limits.calls
            and call.noisy
            and not call.with_dropout_only
        ):
            yield _evaluated_in_training(call, Standing.SUSPECTED, evidence)
        elif (
            call.phase == "validation"
            and call.in_training_mode >= limits.calls
            and (call.noisy and (call.other_data or computes_loss))
        ):
            standing = Standing.SUSPECTED if call.with_gradients else Standing.DEMONSTRATED
            yield _evaluated_in_training(call, standing, evidence)


def _stayed_in_evaluation(call: NetworkCalls, evidence: Evidence) -> Found:
    switches = [s for s in evidence.of(ModeSwitch) if s.network == call.network and s.mode == "eval"]
    switch = switches[-1] if switches else None
    return Found(
        variant="stayed-in-evaluation",
        message=f"{call.network} trains in evaluation mode from iteration {call.left_training_mode} on: "
        + (f"eval() is called at {switch.where} and " if switch is not None else "")
        + "train() is not called again before the next training steps.",
        standing=Standing.DEMONSTRATED,
        location=switch.where if switch is not None else call.where,
        numbers={
            "from_iteration": call.left_training_mode,
            "steps_in_evaluation_mode": call.calls - call.in_training_mode,
        },
        remedy="Call model.train() at the start of every training epoch.",
        proposals=_set_mode(call, "train"),
    )


def _switched_back(call: NetworkCalls, evidence: Evidence) -> Location | None:
    """Where the function that evaluates calls train() after eval(), above the call."""
    place = call.where
    inside = [
        (one.where.line, one)
        for one in evidence.of(ModeSwitch)
        if place is not None
        and one.network == call.network
        and one.where is not None
        and (one.where.file, one.where.symbol) == (place.file, place.symbol)
        and one.where.line < place.line
    ]
    before = [one.mode for _, one in sorted(inside, key=lambda pair: pair[0])][-2:]
    return max(inside, key=lambda pair: pair[0])[1].where if before == ["eval", "train"] else None


def _evaluated_in_training(call: NetworkCalls, standing: Standing, evidence: Evidence) -> Found:
    layers = ", ".join(call.noisy[:3]) + (" and more" if len(call.noisy) > 3 else "")
    return Found(
        variant="validated-in-training",
        message=f"{call.network} is evaluated in training mode ({call.in_training_mode} of {call.calls} calls"
        f"{' that train nothing' if call.phase == 'validation' else ''}): {layers} are active.",
        standing=standing,
        location=_switched_back(call, evidence) or call.where,
        numbers={"calls": call.calls, "in_training_mode": call.in_training_mode},
        remedy="Call model.eval() before validation and model.train() after it.",
        proposals=_set_mode(call, "eval"),
    )


def _set_mode(call: NetworkCalls, mode: str) -> tuple[Proposal, ...]:
    if call.where is None:
        return ()
    parameters = {"file": call.where.file, "line": call.where.line, "mode": mode}
    return (Proposal(treatment="set-mode", parameters=parameters),)
