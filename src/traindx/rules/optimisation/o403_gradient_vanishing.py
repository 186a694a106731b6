"""O403 gradient-vanishing."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ParameterSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


def _counts(seen: ParameterSeen, limits: Limits) -> bool:
    """A weight whose gradient was watched and that has a place in the order of the forward pass."""
    trained = seen.in_optimizer and seen.trainable and seen.gradient_seen >= 2
    return trained and seen.depth >= 0 and len(seen.shape) >= 2


@rule(
    "O403",
    "gradient-vanishing",
    Severity.MAJOR,
    needs=(ParameterSeen,),
    looked_at=requires(
        ParameterSeen,
        _counts,
        thing="network of four weight layers or more",
        least=4,
    ),
    ratio=Threshold(
        1e-4, "first over last layers; residual networks and plain ones of ten ReLU layers stay above 1e-2"
    ),
    size=Threshold(1e-6, "root mean square of a layer's gradient; Adam's epsilon is 1e-8"),
    layers=Threshold(4, "weight layers below which nothing can vanish on the way"),
)
def gradient_vanishing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The gradient is lost on its way back: the first layers of the network get practically none.

    What it finds:
        A network whose early layers receive a gradient that is `ratio` of that of its last layers, or less.
    Why it stops learning:
        The early layers keep their random weights, so the rest learns from noise.
    Evidence it needs:
        ParameterSeen (a watched script).
    How it decides:
        Weight tensors (two axes or more) of the trained parameters in the order in which their modules were called;
        median root mean square of the gradient over the first quarter against that over the last. Both the ratio and
        the absolute size must be small. `suspected`.
    Remedy:
        Normalisation layers, residual connections, ReLU instead of sigmoid and tanh, He initialisation.
    Trial it proposes:
        None; the architecture must change.
    Known false positives:
        A front end that is meant to stay as it was; freeze it, then it is not counted.
    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
    """
    networks: dict[str, list[ParameterSeen]] = {}
    for seen in evidence.of(ParameterSeen):
        if _counts(seen, limits):
            networks.setdefault(seen.network, []).append(seen)
    for network, members in networks.items():
        if len(members) < limits.layers:
            continue
        members.sort(key=lambda seen: seen.depth)
        part = max(1, len(members) // 4)
        early = median(seen.gradient_rms for seen in members[:part])
        late = median(seen.gradient_rms for seen in members[-part:])
        if late <= 0 or early >= limits.size or early / late >= limits.ratio:
            continue
        yield Found(
            message=f"The gradient vanishes in {network}: its first weights ({members[0].name}) get {early:.1e} an "
            f"element, its last ({members[-1].name}) {late:.1e}, {late / max(early, 1e-30):.0e} times more.",
            standing=Standing.SUSPECTED,
            location=members[0].where,
            numbers={"early": early, "late": late, "ratio": early / late},
            remedy="Use normalisation or residual connections, ReLU-like activations, and He initialisation.",
        )
