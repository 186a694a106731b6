"""Trials: counterfactual runs. Control against treated, paired seeds, effects with confidence intervals.

What the rest of the package uses is imported lazily, so that importing one room of the trials costs only that room.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "CaseReference": "traindx.trials.reference",
    "Treatment": "traindx.trials.treatment",
    "apply_results": "traindx.trials.outcome",
    "resolve": "traindx.trials.proposals",
    "run_trials": "traindx.trials.runner",
    "score": "traindx.trials.scoring",
    "train": "traindx.trials.training",
    "train_control": "traindx.trials.control",
}

__all__ = [
    "CaseReference",
    "Treatment",
    "apply_results",
    "resolve",
    "run_trials",
    "score",
    "train",
    "train_control",
]

if TYPE_CHECKING:
    from traindx.trials.control import train_control
    from traindx.trials.outcome import apply_results
    from traindx.trials.proposals import resolve
    from traindx.trials.reference import CaseReference
    from traindx.trials.runner import run_trials
    from traindx.trials.scoring import score
    from traindx.trials.training import train
    from traindx.trials.treatment import Treatment


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'traindx.trials' has no attribute {name!r}")
