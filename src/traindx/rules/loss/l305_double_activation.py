"""L305 double-activation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_loss import ActivationChain, LossCall, SingleClassSoftmax
from traindx.finding import Location, Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, rule

_PROBABILITIES = ("sigmoid", "softmax", "hardsigmoid")
_NEVER_BELOW = ("relu", "softplus")
_OF_TWO_CLASSES = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
_WANT_LOGITS = ("cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


def _compared(evidence: Evidence, limits: Limits) -> Nothing | None:
    """Some activation or loss function was seen at work."""
    seen = any(evidence.last(kind) is not None for kind in (LossCall, ActivationChain, SingleClassSoftmax))
    return None if seen else Nothing("no loss function of torch was called")


@rule("L305", "double-activation", Severity.CRITICAL, needs=(IterationsSeen,), looked_at=_compared)
def double_activation(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An activation is applied twice, or a loss that applies its own gets probabilities.

    What it finds:
        Softmax or sigmoid before a loss that expects logits; probabilities where log-probabilities are expected; a
        sigmoid of a sigmoid or a softmax of a softmax, in training or at inference; a softmax over a single class; a
        ReLU or softplus before a two-class loss that reads logits.
    Why it stops learning:
        A softmax of probabilities cannot leave [0.27, 0.73] for two classes, a sigmoid of a sigmoid [0.50, 0.73]:
        the loss has a floor far above zero and the gradient is squashed. A softmax over one class is 1 whatever
        comes in. Logits that are never negative say no probability below one half, and where a ReLU is 0 no
        gradient comes back.
    Evidence it needs:
        LossCall, ActivationChain, SingleClassSoftmax (a watched script; one that only infers, too).
    How it decides:
        Tensors are followed from an activation to the next one, or to the loss, through calls that only change their
        layout. Nothing in between may change their values. `demonstrated`. A log-softmax into `cross_entropy` is
        harmless (applying it twice changes nothing) and left alone. A softmax over an axis that `nll_loss` or
        `cross_entropy` does not read as classes, and one over an axis that never is longer than one, are `demonstrated`
        too.
    Remedy:
        Return logits from the network and apply the activation once, at inference.
    Trial it proposes:
        `drop-activation` at that line.
    Known false positives:
        None known.
    References:
        PyTorch documentation of `CrossEntropyLoss`, `BCEWithLogitsLoss`, `NLLLoss`.
    """
    said: set[tuple[Location | None, str]] = set()
    calls = evidence.of(LossCall)
    bare = {call.function for call in calls if call.phase == "training" and not call.prediction_from}
    for call in calls:
        found = _over_wrong_axis(call) or _loss(call, call.phase == "evaluation" and call.function in bare)
        if found is not None and (found.location, call.phase) not in said:
            said.add((found.location, call.phase))
            yield found
    for chain in evidence.of(ActivationChain):
        alike = chain.first in _PROBABILITIES and chain.second in _PROBABILITIES
        if alike and not any(place == chain.where for place, _ in said):
            said.add((chain.where, chain.phase))
            yield _chain(chain)
    for single in evidence.of(SingleClassSoftmax):
        remedy = _other_axis(single)
        if remedy:
            yield Found(
                variant="weights-of-items" if single.weights else "axis-of-length-one",
                message=f"A softmax over axis {single.axis} of {single.shape}, which has length one, gives 1 whatever "
                "the network says.",
                standing=Standing.DEMONSTRATED,
                location=single.where,
                numbers={"shape": str(single.shape), "axis": single.axis},
                remedy=remedy,
            )


def _other_axis(single: SingleClassSoftmax) -> str:
    """What to do; "" where nothing is wrong, as there is only one item to weight."""
    if not single.weights:
        return "Use a sigmoid for one class, or give the network one output a class."
    longest = max(range(len(single.shape)), key=lambda axis: single.shape[axis])
    if single.shape[longest] == 1:
        return ""
    items = [axis for axis, length in enumerate(single.shape) if length > 1]
    which = f" (dim={longest})" if len(items) == 1 else ""
    return f"These are weights of items: take the softmax over the items' axis{which}, so that they add up to 1."


def _over_wrong_axis(call: LossCall) -> Found | None:
    """The class axis of these functions is the second one (the only one of a single sample)."""
    axes = len(call.prediction_shape)
    classes = 1 if axes > 1 else 0
    if call.function not in ("nll_loss", "cross_entropy") or call.normalised_over in (-1, classes):
        return None
    names = {0: "the batch"}
    return Found(
        variant="wrong-axis",
        message=f"{call.prediction_from} runs over axis {call.normalised_over} "
        f"({names.get(call.normalised_over, 'not the classes')}), but {call.function} reads the classes of "
        f"{call.prediction_shape} along axis {classes}: what one sample gets depends on the others.",
        standing=Standing.DEMONSTRATED,
        location=call.activation or call.where,
        numbers={"axis": call.normalised_over, "class_axis": classes},
        remedy=f"Use dim={classes}.",
    )


def _loss(call: LossCall, not_in_training: bool = False) -> Found | None:
    """What a loss gets that it does not expect.

    Args:
        call: The loss.
        not_in_training: The same loss gets logits in training: what differs is what the network does in evaluation,
            and the line that does it is the one to change, not the layer that training uses as well.
    """
    twice = call.function in _WANT_LOGITS and call.prediction_from in _PROBABILITIES
    one_sided = call.function in _OF_TWO_CLASSES and call.prediction_from in _NEVER_BELOW
    not_logs = call.function == "nll_loss" and (call.prediction_from in _PROBABILITIES or call.prediction_high > 1e-3)
    if twice:
        message = (
            f"{call.function} applies its own activation but gets the output of {call.prediction_from}: values in "
            f"[{call.prediction_low:.2f}, {call.prediction_high:.2f}], so the loss cannot come near zero."
        )
        remedy = f"Give {call.function} the logits; apply {call.prediction_from} only at inference."
        if not_in_training:
            message += " In training it gets logits, so the two figures cannot be compared."
            remedy = (
                f"Give {call.function} the logits in evaluation as well; apply {call.prediction_from} for scores only."
            )
    elif one_sided:
        message = (
            f"{call.function} reads logits, and gets the output of {call.prediction_from}, which is never below 0: no "
            "probability below 0.5 can be said, and what is absent costs 0.69 at the least."
        )
        remedy = f"Leave the {call.prediction_from} out: a logit may have any sign."
    elif not_logs:
        message = (
            f"nll_loss expects log-probabilities (never above 0) but gets values up to {call.prediction_high:.2f}"
            + (f" from {call.prediction_from}." if call.prediction_from else ".")
        )
        remedy = "Use log_softmax before it, or cross_entropy on the logits."
    else:
        return None
    return Found(
        variant="activated-twice" if twice else "one-sided-logits" if one_sided else "not-log-probabilities",
        message=message,
        standing=Standing.DEMONSTRATED,
        location=(call.applied if twice and not_in_training else call.activation) or call.where,
        numbers={"prediction_low": call.prediction_low, "prediction_high": call.prediction_high},
        remedy=remedy,
        proposals=_drop(call.activation, "training") if (twice and not not_in_training) or one_sided else (),
    )


def _chain(chain: ActivationChain) -> Found:
    return Found(
        variant="activated-twice",
        message=f"{chain.second} is applied to the output of {chain.first} ({chain.first_where}): whatever the network "
        f"says, the result stays in [{chain.low:.3f}, {chain.high:.3f}]"
        + (" (at inference)." if chain.phase == "evaluation" else "."),
        standing=Standing.DEMONSTRATED,
        location=chain.where,
        numbers={"low": chain.low, "high": chain.high},
        remedy="Apply one of the two only.",
        proposals=_drop(chain.where, ""),
    )


def _drop(where: Location | None, phase: str) -> tuple[Proposal, ...]:
    if where is None:
        return ()
    parameters = {"file": where.file, "line": where.line, **({"phase": phase} if phase else {})}
    return (Proposal(treatment="drop-activation", parameters=parameters),)
