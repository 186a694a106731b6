"""Rules about training dynamics, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.dynamics.t901_no_learning import no_learning
from traindx.rules.dynamics.t902_cannot_overfit_one_batch import cannot_overfit_one_batch
from traindx.rules.dynamics.t903_undertrained import undertrained
from traindx.rules.dynamics.t904_plateau_stuck import plateau_stuck
from traindx.rules.dynamics.t906_not_finite_loss import divergence

RULES: tuple[Rule, ...] = (
    no_learning,
    cannot_overfit_one_batch,
    undertrained,
    plateau_stuck,
    divergence,
)
