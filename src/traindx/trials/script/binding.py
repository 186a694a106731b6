"""Which treatments can be applied to a script while it runs, and what its process must be told for that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from traindx.evidence import Evidence
from traindx.evidence.observed import InputSeen
from traindx.finding import Finding, Proposal
from traindx.trials.jobs import canonical
from traindx.trials.shortlist import Bind
from traindx.trials.treatment import Treatment, TreatmentUnfitError


def _names(text: str) -> frozenset[str]:
    """Words of a text."""
    return frozenset(text.split())


RUNTIME = _names(
    """
    unclamp drop-activation reweight-term drop-term flip-term learning-rate renormalise ignore-label ignore-value
    rescale-label set-mode zero-gradients add-parameters no-clipping seed-workers
    """
)
_ELSEWHERE = {
    "reference-sampler": "it needs to know the noise schedule: describe the sampler in a case",
    "prediction-type": "it needs to know the noise schedule: describe the sampler in a case",
    "time-as-in-training": "it needs to know the network's time argument: describe the sampler in a case",
    "clip-to-data": "it needs to know the sampler: describe it in a case",
    "full-resolution-skip": "it needs to know the noise schedule: describe the model in a case",
}


def binding(evidence: Evidence) -> Bind:
    """Makes the treatments that findings of a script propose."""

    def bind(proposal: Proposal, finding: Finding) -> Treatment:
        fields = runtime_fields(proposal, finding, evidence)
        return _treatment(proposal, {**fields, "key": canonical(proposal)})

    return bind


def runtime_fields(proposal: Proposal, finding: Finding, evidence: Evidence) -> dict[str, Any]:
    """What the script's process must know to apply a proposal.

    Raises:
        TreatmentUnfitError: It cannot be applied.
    """
    name, given = proposal.treatment, dict(proposal.parameters)
    if name not in RUNTIME:
        raise TreatmentUnfitError(_ELSEWHERE.get(name, f"a script cannot be given {name!r} while it runs"))
    place: dict[str, Any] = {}
    if finding.location is not None and finding.location.line:
        place = {"file": finding.location.file, "line": finding.location.line}
    if name == "renormalise":
        return {"treatment": name, **_channel(given, finding, evidence)}
    if name == "add-parameters":
        return {"treatment": name, **place, **given}
    if not place and not given.get("line"):
        raise TreatmentUnfitError("the place it is for is not known")
    return {"treatment": name, **place, **given}


def _channel(given: Mapping[str, Any], finding: Finding, evidence: Evidence) -> dict[str, Any]:
    """Scale and offset that bring the weak channel to the range that the strong one was seen to have."""
    weak, strong = int(given["channel"]), finding.numbers.get("strong_channel")
    for seen in evidence.of(InputSeen):
        if not isinstance(strong, int) or seen.where != finding.location or max(weak, strong) >= len(seen.low):
            continue
        span = seen.high[weak] - seen.low[weak]
        scale = (seen.high[strong] - seen.low[strong]) / span if span > 0 else float(given.get("factor", 1.0))
        offset = seen.low[strong] - scale * seen.low[weak]
        argument = int(seen.argument) if seen.argument.isdigit() else 0
        return {
            "channel": weak,
            "scale": scale,
            "offset": offset,
            "network": seen.network,
            "argument": argument,
        }
    return {"channel": weak, "scale": float(given.get("factor", 1.0)), "offset": 0.0}


def _treatment(proposal: Proposal, fields: Mapping[str, Any]) -> Treatment:
    name = str(fields["treatment"])
    place = f"{os.path.basename(str(fields.get('file', '')))}:{fields.get('line', 0)}" if fields.get("line") else ""
    family = f"{name} {place}"
    if name.endswith("-term"):
        family = f"term {fields.get('term')}"
    elif name == "learning-rate":
        family = f"learning-rate {place} {fields.get('group')}"
    return Treatment(
        name=name,
        title=title(fields, place),
        touches=frozenset({"training", "sampling"}),
        runtime=fields,
        parameters=dict(proposal.parameters),
        family=family,
    )


def title(fields: Mapping[str, Any], place: str) -> str:
    """What a treatment does, in a few words."""
    name = str(fields["treatment"])
    at = f" at {place}" if place else ""
    texts = {
        "unclamp": f"clamp{at} made {'soft' if fields.get('mode') == 'soft' else 'an identity'}",
        "drop-activation": f"activation{at} taken out",
        "drop-term": f"loss term {fields.get('term')!r} dropped",
        "flip-term": f"loss term {fields.get('term')!r} with the other sign",
        "reweight-term": f"loss term {fields.get('term')!r} times {fields.get('factor', 0):.3g}",
        "learning-rate": f"learning rate times {fields.get('factor', 0):.3g}",
        "renormalise": f"channel {fields.get('channel')} brought to the range of the others",
        "ignore-label": f"label {fields.get('value')} left out of the loss{at}",
        "ignore-value": f"label {fields.get('value')} left out of the loss{at}",
        "rescale-label": f"labels divided by {fields.get('value')}",
        "set-mode": f"network called{at} in {fields.get('mode')} mode",
        "zero-gradients": f"gradients cleared before backward{at}",
        "add-parameters": "missing parameters given to the optimiser",
        "no-clipping": f"no gradient clipping{at}",
        "seed-workers": "generators of data loading workers seeded",
    }
    return texts.get(name, name)
