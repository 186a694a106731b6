"""What functions of libraries expect of their callers, where misuse is accepted without a word: the whole table.

An entry says what is expected, what it means where that does not hold, and how many calls decide. How a call is looked
at is written in ``watch/contracts``, one module a family, under the same key; the rule reads both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from traindx.evidence.contracts.base import Contract
from traindx.evidence.contracts.data import DATA
from traindx.evidence.contracts.losses import LOSSES
from traindx.evidence.contracts.models import MODELS
from traindx.evidence.contracts.sequences import SEQUENCES
from traindx.evidence.contracts.training import TRAINING

__all__ = ["CONTRACTS", "Contract"]

CONTRACTS: Mapping[str, Contract] = MappingProxyType(
    {one.key: one for one in (*LOSSES, *SEQUENCES, *TRAINING, *DATA, *MODELS)}
)
"""Every contract by its key."""
