"""Rules about data and normalisation, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.data.d102_window_starves_tissue import window_starves_tissue

RULES: tuple[Rule, ...] = (window_starves_tissue,)
