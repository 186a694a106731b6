"""Treatments of a running script, one subject a file; applied by line from outside, never in the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traindx.watch.interventions.treatments.activation import DropActivation
from traindx.watch.interventions.treatments.base import RuntimeTreatment
from traindx.watch.interventions.treatments.clamp import Unclamp
from traindx.watch.interventions.treatments.labels import IgnoreLabel, RescaleLabel
from traindx.watch.interventions.treatments.mode import SetMode
from traindx.watch.interventions.treatments.optimiser import AddParameters, NoClipping, ZeroGradients
from traindx.watch.interventions.treatments.rate import LearningRate
from traindx.watch.interventions.treatments.reference import ReferencePrediction
from traindx.watch.interventions.treatments.renormalise import Renormalise
from traindx.watch.interventions.treatments.term import Term
from traindx.watch.interventions.treatments.workers import SeedWorkers

if TYPE_CHECKING:
    from traindx.watch.interventions.arm import Arm

RUNTIME: Mapping[str, type[RuntimeTreatment]] = {
    "unclamp": Unclamp,
    "drop-activation": DropActivation,
    "reweight-term": Term,
    "drop-term": Term,
    "flip-term": Term,
    "learning-rate": LearningRate,
    "reference-prediction": ReferencePrediction,
    "renormalise": Renormalise,
    "ignore-label": IgnoreLabel,
    "ignore-value": IgnoreLabel,
    "rescale-label": RescaleLabel,
    "set-mode": SetMode,
    "zero-gradients": ZeroGradients,
    "add-parameters": AddParameters,
    "no-clipping": NoClipping,
    "seed-workers": SeedWorkers,
}


def build(fields: Mapping[str, Any], arm: Arm) -> RuntimeTreatment:
    """The treatment that some fields describe."""
    return RUNTIME[str(fields["treatment"])](fields, arm)
