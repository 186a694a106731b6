"""Rules about evaluation and metrics, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.evaluation.e801_metric_fails_reference_predictors import metric_fails_reference_predictors
from traindx.rules.evaluation.e802_data_range_wrong import data_range_wrong
from traindx.rules.evaluation.e807_beaten_by_trivial_baseline import beaten_by_trivial_baseline

RULES: tuple[Rule, ...] = (
    metric_fails_reference_predictors,
    data_range_wrong,
    beaten_by_trivial_baseline,
)
