"""M207 dead-parameters, seen in a watched script."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import UnreadOutput
from traindx.evidence.observed_loss import LossCutOff
from traindx.evidence.observed_optim import OptimizerSeen, ParameterSeen
from traindx.finding import Location, Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

_LAYERS = ("Conv", "Linear", "LSTM", "GRU", "RNN", "MultiheadAttention", "Embedding", "Bilinear")


@rule(
    "M207",
    "dead-parameters",
    Severity.MAJOR,
    needs=(ParameterSeen,),
    gradient_looks=Threshold(3, "watched iterations without any gradient; gates that open from zero need one or two"),
    numbers=Threshold(64, "parameters of layers in all; a lone scale or offset of a library's layer is no part"),
)
def parameters_that_stay(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Layers that take part in the forward pass and are never trained.

    Five ways: they are in no optimiser although they have gradients and no weights were loaded into them (forgotten,
    replaced after the optimiser was made, or kept in a plain list); they are in an optimiser and never get a gradient,
    although their output reaches the loss, or although a method gives it a name, which it never reads; they get one of
    zeros alone; they are frozen while still random. A network that is outside every optimiser as a whole, layers that
    are frozen and random, and a term whose weight is zero at first may be meant so: ``suspected``. The other ways are
    ``demonstrated``. A parameter that the script's own class makes (learned weights of a loss, a temperature) counts
    however small it is. Left alone: what an optimiser held that is gone by now (a second stage), what the script
    updates itself, other layers whose output nothing uses, and parts of a pretrained network that get no gradient. One
    network is one finding a way, at the line where its gradient ends if that was seen.
    """
    seen = [one for one in evidence.of(ParameterSeen) if one.called]
    trained_networks = {one.network for one in seen if one.in_optimizer and one.gradient_seen}
    yield from _forgotten(seen, trained_networks, evidence, limits)
    yield from _without_gradient(seen, evidence, limits)
    yield from _never_read(seen, evidence, limits)
    yield from _frozen(seen, trained_networks, limits)


def _by_place(
    parameters: list[ParameterSeen], place: Callable[[ParameterSeen], Location | None]
) -> dict[Location | None, list[ParameterSeen]]:
    places: dict[Location | None, list[ParameterSeen]] = {}
    for one in parameters:
        places.setdefault(place(one), []).append(one)
    return places


def _by_network(parameters: list[ParameterSeen]) -> dict[tuple[str, Location | None], list[ParameterSeen]]:
    """One cause has one line, however many layers it leaves without a gradient."""
    networks: dict[tuple[str, Location | None], list[ParameterSeen]] = {}
    for one in sorted(parameters, key=lambda one: one.depth):
        networks.setdefault((one.network, one.network_made), []).append(one)
    return networks


def _size(parameters: list[ParameterSeen]) -> int:
    total = 0
    for one in parameters:
        count = 1
        for length in one.shape:
            count *= length
        total += count
    return total


def _names(parameters: list[ParameterSeen]) -> str:
    names = [one.name for one in parameters]
    return f"{names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _forgotten(seen: list[ParameterSeen], trained: set[str], evidence: Evidence, limits: Limits) -> Iterator[Found]:
    lost = [
        one
        for one in seen
        if one.trainable and not one.in_optimizer and not one.loaded and not one.by_hand and one.gradient_seen
    ]
    if _size(lost) < limits.numbers:  # somebody wrote `nn.Parameter` to have it learned: then size says nothing
        lost = [one for one in lost if one.written_out]
    if not lost or not trained:
        return
    optimizers = [one for one in evidence.of(OptimizerSeen) if one.steps]
    first = min(optimizers, key=lambda one: one.parameters).where if optimizers else None

    def place(one: ParameterSeen) -> Location | None:
        """Where the list is filled; or the optimiser that should hold it."""
        return one.network_made if not one.registered else first

    for where, members in _by_place(lost, place).items():
        listed = any(not one.registered for one in members)
        whole = not listed and all(one.network not in trained for one in members)
        reason = (
            "they are kept in a plain list or dict of the network, so parameters() does not return them"
            if listed
            else "no optimiser holds them"
        )
        yield Found(
            variant="unregistered" if listed else "in-no-optimiser",
            message=f"{_size(members):,} parameters get gradients but are never updated ({_names(members)}): {reason}.",
            standing=Standing.SUSPECTED if whole else Standing.DEMONSTRATED,
            location=where,
            numbers={"parameters": _size(members), "tensors": len(members)},
            remedy="Use nn.ModuleList or nn.ModuleDict."
            if listed
            else "Make the optimiser after the network is complete, and give it all parameters; or freeze these.",
            proposals=() if whole else (Proposal(treatment="add-parameters"),),
        )


def _without_gradient(seen: list[ParameterSeen], evidence: Evidence, limits: Limits) -> Iterator[Found]:
    dead = [
        one
        for one in seen
        if one.trainable
        and one.in_optimizer
        and not one.gradient_seen
        and one.gradient_missing >= limits.gradient_looks
        and not one.loaded
        and one.output_used is not False
    ]
    emptied = any(one.bare > one.steps / 2 for one in evidence.of(OptimizerSeen))  # before the step looks: O416's
    if _size(dead) < limits.numbers or evidence.of(LossCutOff) or emptied:  # nothing gets a gradient then: L303's
        return
    yield from _zero_gradients([one for one in dead if one.gradient_zero], limits)
    apart = [one for one in dead if not one.gradient_zero]
    if _size(apart) < limits.numbers:
        return
    for members in _by_network(apart).values():
        cut = next((one.cut for one in members if one.cut is not None), None)
        used = any(one.output_used for one in members)
        yield Found(
            message=f"{_size(members):,} parameters never get a gradient ({_names(members)}, "
            f"{members[0].gradient_missing} iterations looked at)"
            + (", although their output reaches the loss" if used else "")
            + (f": it ends at {cut}." if cut is not None else "."),
            standing=Standing.DEMONSTRATED if used else Standing.SUSPECTED,
            location=cut or members[0].where,
            numbers={"parameters": _size(members), "tensors": len(members)},
            remedy="Keep the graph there: no detach(), no_grad, argmax, rounding or numpy on the way to the loss."
            if used
            else "Look for detach(), no_grad, argmax or an unused output between these layers and the loss.",
        )


def _zero_gradients(dead: list[ParameterSeen], limits: Limits) -> Iterator[Found]:
    """The graph reaches them, so nothing was cut off: what they do is multiplied by zero."""
    for members in _by_network(dead).values():
        if _size(members) < limits.numbers:
            continue
        yield Found(
            message=f"The gradient of {_size(members):,} parameters is exactly zero ({_names(members)}, in all "
            f"{members[0].gradient_missing} iterations looked at), although the loss was differentiated by them.",
            standing=Standing.SUSPECTED,  # a term whose weight grows from zero begins so, too
            location=members[0].where,
            numbers={"parameters": _size(members), "tensors": len(members)},
            remedy="Look behind them for a factor of zero, a ReLU that is always off, a softmax or a clamp that has "
            "saturated, or a mask that hides all of it.",
            variant="zero-gradient",
        )


def _never_read(seen: list[ParameterSeen], evidence: Evidence, limits: Limits) -> Iterator[Found]:
    for output in evidence.of(UnreadOutput):
        members = [
            one
            for one in seen
            if output.part in one.name.split(".")[:-1]
            and one.trainable
            and one.in_optimizer
            and not one.gradient_seen
            and one.gradient_missing >= limits.gradient_looks
            and one.output_used is False
        ]
        if _size(members) < limits.numbers:
            continue
        yield Found(
            message=f"What {output.part} computes is put into '{output.name}', which nothing reads: its "
            f"{_size(members):,} parameters never get a gradient ({members[0].gradient_missing} iterations looked at).",
            standing=Standing.DEMONSTRATED,
            location=output.where,
            numbers={"parameters": _size(members), "tensors": len(members)},
            remedy=f"Go on with '{output.name}' after that line, or leave the part out.",
            variant="output-never-read",
        )


def _frozen(seen: list[ParameterSeen], trained: set[str], limits: Limits) -> Iterator[Found]:
    frozen = [
        one
        for one in seen
        if not one.trainable
        and not one.loaded
        and one.network in trained
        and len(one.shape) >= 2
        and one.module.startswith(_LAYERS)
        and one.moved == 0
    ]
    if _size(frozen) < limits.numbers:
        return
    for members in _by_network(frozen).values():
        yield Found(
            message=f"{_size(members):,} parameters are frozen (requires_grad is off) and no weights were loaded into "
            f"them ({_names(members)}): they stay random.",
            location=members[0].where,
            numbers={"parameters": _size(members), "tensors": len(members)},
            remedy="Load trained weights before freezing, or train these layers.",
        )
