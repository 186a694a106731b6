"""What the rules on probed inputs share."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import InputProbed


def by_argument(evidence: Evidence) -> dict[tuple[str, str], list[InputProbed]]:
    """All experiments on one argument of one network; changes that changed nothing are left out."""
    found: dict[tuple[str, str], list[InputProbed]] = {}
    for record in evidence.of(InputProbed):
        if record.differs:
            found.setdefault((record.network, record.argument), []).append(record)
    return found


def never_moves(evidence: Evidence, limit: float) -> Iterator[InputProbed]:
    """For every argument whose change never moved the output, the experiment to show (in training if there is one)."""
    for records in by_argument(evidence).values():
        plain = [one for one in records if one.change in ("other sample", "other values")]
        if plain and all(one.effect <= limit for one in plain):
            yield max(plain, key=lambda one: one.training)


def lost(record: InputProbed) -> str:
    """Where the difference goes, for a message."""
    if not record.read:
        return "; no operation reads it"
    return f"; the difference is lost in {record.lost_in}" if record.lost_in else ""
