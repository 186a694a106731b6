"""Rules about the model and its information path, one file a rule."""

from __future__ import annotations

from traindx.rules.base import Rule
from traindx.rules.model.m201_channel_bottleneck import channel_bottleneck
from traindx.rules.model.m202_token_bottleneck import token_bottleneck
from traindx.rules.model.m210_target_outside_span import target_outside_span

RULES: tuple[Rule, ...] = (
    channel_bottleneck,
    token_bottleneck,
    target_outside_span,
)
