"""M220 units-alike."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ParameterSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


def _could_differ(one: ParameterSeen, limits: Limits) -> bool:
    used = one.in_optimizer and one.trainable and one.called and one.output_used is not False
    return len(one.shape) > 1 and used and one.gradient_seen + one.gradient_missing >= limits.seen_steps


@rule(
    "M220",
    "units-alike",
    Severity.CRITICAL,
    needs=(ParameterSeen,),
    looked_at=requires(ParameterSeen, _could_differ, otherwise="no layer was seen over enough steps"),
    seen_steps=Threshold(10, "steps that were looked at; a layer that begins at zero differs after the first two"),
)
def units_alike(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """All units of a layer have the same weights, and still have them after many steps.

    What it finds:
        Weights that were all set to zero or to one constant, as biases are; copies of one row.
    Why it stops learning:
        Units that are alike get the same gradient and stay alike: the layer is one unit wide. With zeros in two layers
        in a row nothing moves at all.
    Evidence it needs:
        ParameterSeen (a watched script): weights of four rows or more at the end of the watching.
    How it decides:
        All rows of a weight that an optimiser holds are equal, number by number, after `seen_steps` steps that were
        looked at: `demonstrated`. A last layer or a gate that begins at zero, as in residual and diffusion networks,
        differs by then; a layer whose output nothing uses has another fault.
    Remedy:
        Leave the weights to torch's own initialisation, or draw them (`nn.init.kaiming_normal_`).
        Constants are for biases.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A layer whose units are tied on purpose.
    References:
        Goodfellow et al., Deep Learning, MIT Press 2016, section 8.4: initial parameters must break symmetry.
    """
    by_network: dict[str, list[ParameterSeen]] = {}
    for one in evidence.of(ParameterSeen):
        if one.alike and _could_differ(one, limits):
            by_network.setdefault(one.network, []).append(one)
    for network, alike in by_network.items():
        first = alike[0]
        layer = first.name.rpartition(".")[0]
        more = f" and of {len(alike) - 1} more layers" if len(alike) > 1 else ""
        yield Found(
            message=f"All {first.shape[0]} units of {layer}{more} still have the same weights after "
            f"{first.gradient_seen + first.gradient_missing} steps: units that begin alike get the same gradient and "
            f"stay alike, so {network} has layers one unit wide.",
            standing=Standing.DEMONSTRATED,
            location=first.where or first.network_made,
            numbers={"layers": len(alike), "units": first.shape[0]},
            remedy="Draw the weights at random; torch's own initialisation does.",
        )
