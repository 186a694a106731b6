"""Which findings of a script have a treatment that can be applied while it runs, and which of these are tried."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from traindx.diagnosis import TreatmentResult
from traindx.evidence import Evidence
from traindx.evidence.observed import InputSeen
from traindx.finding import Finding, Proposal, Standing
from traindx.trials.jobs import canonical
from traindx.trials.treatment import Treatment, label

MOST = 4  # treatments in one proof; more would leave two seeds of nothing


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


@dataclass
class RuntimeShortlist:
    """Treatments on trial, most important first.

    Attributes:
        designs: What the design of the trial needs of each, by key.
        fields: What the script's process is told, by key.
        codes: Codes of the findings that proposed it.
        labels: Names in tables.
        not_run: Rows of those that cannot be tried, and why.
    """

    designs: dict[str, Treatment] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    not_run: list[TreatmentResult] = field(default_factory=list)

    @classmethod
    def of(cls, findings: Sequence[Finding], evidence: Evidence, most: int = MOST) -> RuntimeShortlist:
        """What ranked findings propose; refuted ones have been tried before."""
        made = cls()
        every = [proposal for finding in findings for proposal in finding.proposals]
        refused: dict[str, str] = {}
        for finding in findings:
            if finding.standing is Standing.REFUTED:
                continue
            for proposal in finding.proposals:
                key = canonical(proposal)
                codes = made.codes.setdefault(key, [])
                if finding.code not in codes:
                    codes.append(finding.code)
                if key in made.labels:
                    continue
                made.labels[key] = label(proposal, every)
                fields, why = runtime_fields(proposal, finding, evidence)
                if why:
                    refused[key] = why
                elif len(made.designs) >= most:
                    refused[key] = f"only the {most} most important treatments are tried"
                else:
                    made.fields[key] = {**fields, "key": key}
                    made.designs[key] = _design(proposal, fields)
        made.not_run = [
            TreatmentResult(treatment=made.labels[key], codes=tuple(made.codes[key]), note=f"not run: {why}")
            for key, why in refused.items()
        ]
        return made


def runtime_fields(proposal: Proposal, finding: Finding, evidence: Evidence) -> tuple[dict[str, Any], str]:
    """What the script's process must know to apply a proposal, or why it cannot be applied."""
    name, given = proposal.treatment, dict(proposal.parameters)
    if name not in RUNTIME:
        return {}, _ELSEWHERE.get(name, f"a script cannot be given {name!r} while it runs")
    place: dict[str, Any] = {}
    if finding.location is not None and finding.location.line:
        place = {"file": finding.location.file, "line": finding.location.line}
    if name == "renormalise":
        return {"treatment": name, **_channel(given, finding, evidence)}, ""
    if name == "add-parameters":
        return {"treatment": name, **place, **given}, ""
    if not place and not given.get("line"):
        return {}, "the place it is for is not known"
    return {"treatment": name, **place, **given}, ""


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


def _design(proposal: Proposal, fields: Mapping[str, Any]) -> Treatment:
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
        apply=lambda case: case,
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
