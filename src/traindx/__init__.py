"""traindx: why does this medical-imaging model not learn, how do you know, and what makes it learn?

The public names below are imported lazily, so ``import traindx`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from traindx.version import __version__

_WHERE = {
    "Case": "traindx.case",
    "Diffusion": "traindx.case",
    "Labels": "traindx.case_parts",
    "Metric": "traindx.case",
    "Normaliser": "traindx.case_parts",
    "Projection": "traindx.case_parts",
    "Authoring": "traindx.case_parts",
    "DataPath": "traindx.case_parts",
    "DataRange": "traindx.case_parts",
    "PrototypeLearning": "traindx.case_parts",
    "Regions": "traindx.case_parts",
    "TrainingState": "traindx.case_parts",
    "Guidance": "traindx.case_parts",
    "Deployment": "traindx.case_parts",
    "FullRun": "traindx.case_parts",
    "Diagnosis": "traindx.diagnosis",
    "Finding": "traindx.finding",
    "Location": "traindx.finding",
    "Severity": "traindx.finding",
    "Standing": "traindx.finding",
    "Verdict": "traindx.finding",
    "examine": "traindx.examination",
    "compare": "traindx.trials.compare",
}

__all__ = [
    "Authoring",
    "Case",
    "DataPath",
    "DataRange",
    "Deployment",
    "Diagnosis",
    "Diffusion",
    "Finding",
    "FullRun",
    "Guidance",
    "Labels",
    "Location",
    "Metric",
    "Normaliser",
    "Projection",
    "PrototypeLearning",
    "Regions",
    "Severity",
    "Standing",
    "TrainingState",
    "Verdict",
    "__version__",
    "compare",
    "examine",
]

if TYPE_CHECKING:
    from traindx.case import Case, Diffusion, Metric
    from traindx.case_parts import (
        Authoring,
        DataPath,
        DataRange,
        Deployment,
        FullRun,
        Guidance,
        Labels,
        Normaliser,
        Projection,
        PrototypeLearning,
        Regions,
        TrainingState,
    )
    from traindx.diagnosis import Diagnosis
    from traindx.examination import examine
    from traindx.finding import Finding, Location, Severity, Standing, Verdict
    from traindx.trials.compare import compare


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'traindx' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext traindx``: from here on ``%%traindx`` watches the cell that it stands on."""
    from traindx.integrations.jupyter import CellMagic

    shell.register_magic_function(CellMagic(shell), "cell", "traindx")


def __dir__() -> list[str]:
    return sorted(__all__)
